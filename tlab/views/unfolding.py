"""The picture of an unfolding: what every block wrote at every position, or the lens where one was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from tlab.views import lens
from tlab.views.style import SCALE, figure, visible

if TYPE_CHECKING:
    from tlab.results import Result

__all__ = ["draw"]


def draw(result: Result) -> go.Figure:
    """Return the lens' heat map; without a lens, how much attention and MLP together wrote, for the stream they met."""
    shown: Any = result
    if shown.lens is not None:
        return lens.draw(shown.lens)
    heat = go.Heatmap(
        z=(shown.attn + shown.mlp).tolist(),
        x=[f"{position} {visible(token)}" for position, token in enumerate(shown.tokens)],
        y=list(range(len(shown.attn))),
        customdata=[
            [[round(attn, 3), round(mlp, 3)] for attn, mlp in zip(attns, mlps, strict=True)]
            for attns, mlps in zip(shown.attn.tolist(), shown.mlp.tolist(), strict=True)
        ],
        colorscale=SCALE,
        zmin=0,
        zmax=1,
        colorbar={"title": {"text": "share"}},
        hovertemplate="layer %{y}, %{x}<br>attention %{customdata[0]}, MLP %{customdata[1]}<extra></extra>",
    )
    title = "How much every block writes, for the stream that it meets"
    return figure([heat], title=title, x="pos", y="layer", height=150 + 16 * len(shown.attn))
