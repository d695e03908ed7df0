"""The pictures of an attribution: the largest parts as bars beside their control, or heads as a map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from tlab.views.style import CLEAN, DIVERGING, PATCHED, figure, visible

if TYPE_CHECKING:
    from tlab.results import Result

__all__ = ["draw"]

_BARS = 20
_WRITTEN_FROM = 0.2


def draw(result: Result) -> go.Figure:
    """Return a map of heads and MLPs where the model was cut into heads, else bars."""
    shown: Any = result
    return _map(shown) if shown.by == "head" else _bars(shown)


def _bars(shown: Any) -> go.Figure:  # noqa: ANN401  views know results by their shape
    """Return the parts with the largest effects; each label says the sign."""
    rows = shown.top(_BARS)
    labels = [f"{part} {effect:+.2f}" for part, effect in zip(rows["part"], rows["effect"], strict=True)]
    effects = go.Bar(
        name="effect",
        x=rows["effect"].round(4).tolist(),
        y=labels,
        orientation="h",
        marker={"color": CLEAN},
        hovertemplate="%{y}<extra></extra>",
    )
    traces: list[Any] = [effects]
    if shown.n_controls:
        traces.append(
            go.Scatter(
                name="random pairs" if shown.against else "random tokens",
                x=rows["control_mean"].round(4).tolist(),
                y=labels,
                error_x={"array": rows["control_std"].round(4).tolist(), "color": PATCHED},
                mode="markers",
                marker={"color": PATCHED, "symbol": "diamond"},
                hovertemplate="%{y}, control: %{x:+.3f}<extra></extra>",
            )
        )
    picture = figure(
        traces,
        title=_title(shown),
        x="direct effect (logits)",
        y="part",
        height=170 + 22 * len(rows),
    )
    picture.update_yaxes(autorange="reversed")
    return picture


def _map(shown: Any) -> go.Figure:  # noqa: ANN401
    """Return layers downwards, heads to the right, the layer's MLP last."""
    grid = shown.grid().tolist()
    frame = shown.to_frame()
    mlps = frame[frame["kind"] == "mlp"].set_index("layer")["effect"]
    values = [[*row, float(mlps.get(layer, 0.0))] for layer, row in enumerate(grid)]
    largest = max(abs(value) for row in values for value in row) or 1.0
    heat = go.Heatmap(
        z=[[round(value, 4) for value in row] for row in values],
        x=[*(f"H{head}" for head in range(len(grid[0]))), "mlp"],
        y=[f"L{layer}" for layer in range(len(values))],
        text=[[f"{value:+.1f}" if abs(value) >= _WRITTEN_FROM * largest else "" for value in row] for row in values],
        texttemplate="%{text}",
        colorscale=DIVERGING,
        zmin=-largest,
        zmax=largest,
        colorbar={"title": {"text": "logits"}},
        hovertemplate="%{y} %{x}: %{z:+.3f}<extra></extra>",
    )
    picture = figure(
        [heat],
        title=_title(shown),
        x="head, and the layer's MLP",
        y="layer",
        height=150 + 19 * len(values),
    )
    picture.update_yaxes(autorange="reversed")
    return picture


def _title(shown: Any) -> str:  # noqa: ANN401
    target, against = visible(shown.target), visible(shown.against)
    return f"Direct effects on the logit of {target}" + (f", less that of {against}" if against else "")
