"""The picture of a comparison: how far the streams of two prompts lie apart, layer by layer and pair by pair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from tlab.views.style import SCALE, figure, visible

if TYPE_CHECKING:
    from tlab.results import Result

__all__ = ["draw"]

_MOST_TEXTS = 30


def draw(result: Result) -> go.Figure:
    """Return a heat map of the distances; a pair of different tokens is labelled with both."""
    shown: Any = result
    distances = shown.distance.tolist()
    labels = [
        f"{pair} {visible(shown.a_tokens[i])}"
        + ("" if shown.a_tokens[i] == shown.b_tokens[j] else f" | {visible(shown.b_tokens[j])}")
        for pair, (i, j) in enumerate(shown.pairs)
    ]
    is_written = len(labels) <= _MOST_TEXTS
    heat = go.Heatmap(
        z=[[round(value, 3) for value in row] for row in distances],
        x=labels,
        y=list(range(len(distances))),
        customdata=[[round(value, 3) for value in row] for row in shown.cosine.tolist()],
        text=[[f"{value:.2f}" if is_written else "" for value in row] for row in distances],
        texttemplate="%{text}",
        colorscale=SCALE,
        zmin=0,
        colorbar={"title": {"text": "distance"}},
        hovertemplate="layer %{y}, %{x}: distance %{z:.3f}, cosine %{customdata:.3f}<extra></extra>",
    )
    return figure(
        [heat],
        title="How far the two prompts' streams lie apart",
        x="pair of tokens",
        y="layer (0 is the embedding)",
        height=150 + 19 * len(distances),
    )
