"""The pictures of probes: how well each layer is read beside its control, and what probes say of other prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from tlab.views.style import CLEAN, PATCHED, SCALE, figure, visible

if TYPE_CHECKING:
    from tlab.results import Result

__all__ = ["draw", "draw_reading"]

_BAND = "rgba(72,120,168,0.2)"
_GREY = "rgba(128,128,128,0.9)"
_MOST_ROWS = 60
_LONGEST_LABEL = 40


def draw(result: Result) -> go.Figure:
    """Return accuracy by site with its interval, the control task's accuracy, and the baseline."""
    shown: Any = result
    frame = result.to_frame()
    has_layers = frame["layer"].notna().all() and frame["layer"].is_unique
    places = frame["layer"].astype(int).tolist() if has_layers else frame["site"].tolist()
    high, low = frame["high"].round(4).tolist(), frame["low"].round(4).tolist()
    band = go.Scatter(
        x=[*places, *reversed(places)],
        y=[*high, *reversed(low)],
        fill="toself",
        fillcolor=_BAND,
        line={"color": "rgba(0,0,0,0)"},
        name="95 % interval",
        hoverinfo="skip",
    )
    lines = [
        go.Scatter(
            x=places,
            y=frame[column].round(4).tolist(),
            name=name,
            mode="lines+markers",
            line={"color": colour, "dash": dash},
            marker={"symbol": symbol},
            hovertemplate=f"{name}, %{{x}}: %{{y:.3f}}<extra></extra>",
        )
        for column, name, colour, dash, symbol in (
            ("accuracy", "probe", CLEAN, "solid", "circle"),
            ("control", "control task", PATCHED, "dot", "square"),
        )
    ]
    picture = figure(
        [band, *lines],
        title=f"Linear probes ({shown.method.replace('_', ' ')}), {shown.n_test} held-out prompts",
        x="layer" if has_layers else "site",
        y="accuracy",
        height=380,
    )
    picture.add_hline(
        y=round(shown.baseline, 4),
        line={"color": _GREY, "dash": "dash"},
        annotation_text="commonest label",
        annotation_position="bottom right",
    )
    picture.update_yaxes(range=[0, 1.02])
    return picture


def draw_reading(result: Result) -> go.Figure:
    """Return a heat map of the margins, the winning label written into every field."""
    frame = result.to_frame()
    several = frame["pos"].nunique() > 1
    names = [
        visible(f"{pos} {token}" if several else prompt)
        for prompt, pos, token in zip(frame["prompt"], frame["pos"], frame["token"], strict=True)
    ]
    sites = frame["site"].unique().tolist()
    n_rows = min(_MOST_ROWS, len(frame) // len(sites))
    by_site = [frame[frame["site"] == site].head(n_rows) for site in sites]
    labels = [f"{number}. {name[:_LONGEST_LABEL]}" for number, name in enumerate(names[:n_rows], start=1)]
    heat = go.Heatmap(
        z=[[round(value, 3) for value in row] for row in zip(*(rows["margin"] for rows in by_site), strict=True)],
        x=sites,
        y=labels,
        text=[[visible(str(label)) for label in row] for row in zip(*(rows["label"] for rows in by_site), strict=True)],
        texttemplate="%{text}",
        colorscale=SCALE,
        zmin=0,
        colorbar={"title": {"text": "margin"}},
        hovertemplate="%{y}, %{x}: %{text}, by %{z:.2f}<extra></extra>",
    )
    picture = figure(
        [heat], title="What the probes read", x="site", y="token" if several else "prompt", height=180 + 26 * n_rows
    )
    picture.update_yaxes(autorange="reversed")
    return picture
