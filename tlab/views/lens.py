"""The picture of a logit lens: layers upwards, positions to the right, the top token in each field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from tlab.views.style import SCALE, figure, visible

if TYPE_CHECKING:
    from tlab.results import Result

__all__ = ["draw"]

_LONGEST_LABEL = 12


def draw(result: Result) -> go.Figure:
    """Return a heat map of the lens' confidence with its top token written into every field."""
    shown: Any = result
    frame = result.to_frame()
    probabilities = frame.pivot_table(index="layer", columns="pos", values="probability").round(3)
    tokens = frame.pivot_table(index="layer", columns="pos", values="top_token", aggfunc="first")
    heat = go.Heatmap(
        z=probabilities.to_numpy().tolist(),
        x=[f"{position} {visible(token)}" for position, token in enumerate(shown.tokens)],
        y=probabilities.index.tolist(),
        text=[[visible(token)[:_LONGEST_LABEL] for token in row] for row in tokens.to_numpy().tolist()],
        texttemplate="%{text}",
        colorscale=SCALE,
        zmin=0,
        zmax=1,
        colorbar={"title": {"text": "probability"}},
        hovertemplate="layer %{y}, after %{x}: %{text} with %{z:.3f}<extra></extra>",
    )
    return figure(
        [heat],
        title="Logit lens: the top token after every layer",
        x="pos",
        y="layer (0 is the embedding)",
        height=150 + 19 * len(probabilities),
    )
