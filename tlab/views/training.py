"""The pictures of trainings: a curve with its phase change marked, and the toy model of superposition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from tlab.views.style import CLEAN, PATCHED, figure

if TYPE_CHECKING:
    import pandas as pd

    from tlab.results import Result

__all__ = ["draw", "draw_superposition"]

_QUIET = "rgba(128,128,128,0.75)"
_BAND = "rgba(128,128,128,0.2)"
_DASHES = ("solid", "dot", "dash", "dashdot", "longdash", "longdashdot")
_WIDE_RANGE = 1000


def draw(result: Result) -> go.Figure:
    """Return the watched measure and those of its kind over the steps, with a band where it changes.

    Losses and shares between 0 and 1 are never mixed on one axis: what is drawn has the watched measure's unit.
    """
    shown: Any = result
    frame = result.to_frame()
    names = _of_one_kind(frame, shown.watched)
    traces = [_line(frame, name, names.index(name), is_watched=name == shown.watched) for name in names]
    picture = figure(traces, title=f"Training of {shown.name}", x="step", y=_unit(shown.watched), height=380)
    # The legend names every line, and needs the width beside the title.
    picture.update_layout(title={"x": 0, "y": 0.97}, margin={"t": 80})
    values = frame[names].to_numpy()
    if values.min() > 0 and values.max() > _WIDE_RANGE * values.min():
        picture.update_yaxes(type="log", exponentformat="power")
    change = shown.change
    picture.add_vrect(x0=change.start, x1=change.end, fillcolor=_BAND, line_width=0, layer="below")
    for step in shown.checkpoints:
        picture.add_vline(x=step, line={"color": _QUIET, "width": 1, "dash": "dot"})
    return picture


def draw_superposition(result: Result) -> go.Figure:
    """Return a bar for each feature's length in every model, coloured by the interference that it meets."""
    frame = result.to_frame()
    labels = [f"density {density:g}" for density in frame["density"].unique()]
    height = 1.15
    traces, ticks = [], []
    for index, density in enumerate(frame["density"].unique()):
        rows = frame[frame["density"] == density]
        base = -height * index
        ticks.append(base + 0.5)
        traces.append(
            go.Bar(
                x=rows["feature"].tolist(),
                y=rows["length"].clip(upper=1.1).round(3).tolist(),
                base=base,
                name=labels[index],
                showlegend=False,
                customdata=rows[["length", "interference"]].round(3).to_numpy().tolist(),
                marker={
                    "color": rows["interference"].round(3).tolist(),
                    "colorscale": [[0, CLEAN], [1, PATCHED]],
                    "cmin": 0,
                    "cmax": 1,
                    "showscale": index == 0,
                    "colorbar": {"title": {"text": "interference"}},
                },
                hovertemplate="feature %{x}: length %{customdata[0]}, interference %{customdata[1]}<extra></extra>",
            )
        )
    picture = figure(
        traces,
        title="Superposition: which features have a direction",
        x="feature (most important first)",
        y="length of its direction",
        height=160 + 60 * len(labels),
    )
    picture.update_layout(barmode="overlay")
    picture.update_yaxes(tickvals=ticks, ticktext=labels, zeroline=False)
    return picture


def _line(frame: pd.DataFrame, name: str, index: int, *, is_watched: bool) -> go.Scatter:
    return go.Scatter(
        x=frame["step"].tolist(),
        y=frame[name].tolist(),
        name=name,
        mode="lines",
        line={
            "color": PATCHED if is_watched else CLEAN,
            "width": 3 if is_watched else 1.5,
            "dash": "solid" if is_watched else _DASHES[index % len(_DASHES)],
        },
        hovertemplate=f"{name} at step %{{x}}: %{{y:.4g}}<extra></extra>",
    )


def _of_one_kind(frame: pd.DataFrame, watched: str) -> list[str]:
    """Return the columns that share the watched one's unit, the watched one last: it is drawn on top."""
    others = [name for name in frame.columns if name not in {"step", watched} and _unit(name) == _unit(watched)]
    return [*others, watched]


def _unit(name: str) -> str:
    if "loss" in name:
        return "loss"
    if name.startswith("represented"):
        return "features"
    return "norm" if name.endswith("norm") else "share"
