"""The picture of head scores: layers downwards, heads to the right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from tlab.views.style import SCALE, figure

if TYPE_CHECKING:
    from tlab.results import Result

__all__ = ["draw"]

_WRITTEN_FROM = 0.3


def draw(result: Result) -> go.Figure:
    """Return a heat map of the shown score, with the high ones written into their fields."""
    shown: Any = result
    values = shown.scores[shown.shown].tolist()
    controls = shown.controls[shown.shown].tolist()
    is_share = shown.shown != "entropy_nats"
    highest = 1.0 if is_share else max(max(row) for row in values)
    n_layers, n_heads = len(values), len(values[0])
    heat = go.Heatmap(
        z=[[round(value, 3) for value in row] for row in values],
        x=[f"H{head}" for head in range(n_heads)],
        y=[f"L{layer}" for layer in range(n_layers)],
        customdata=[[round(value, 3) for value in row] for row in controls],
        text=[[f"{value:.2f}" if value >= _WRITTEN_FROM * highest else "" for value in row] for row in values],
        texttemplate="%{text}",
        colorscale=SCALE,
        zmin=0,
        zmax=highest,
        colorbar={"title": {"text": "share" if is_share else "nats"}},
        hovertemplate="%{y}%{x}: %{z:.3f} (control %{customdata:.3f})<extra></extra>",
    )
    picture = figure(
        [heat], title=f"Heads on repeated random tokens: {shown.words}", x="head", y="layer", height=150 + 19 * n_layers
    )
    picture.update_yaxes(autorange="reversed")
    return picture
