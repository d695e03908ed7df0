"""The picture of a prediction: one bar a token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from tlab.views.style import CLEAN, figure, visible

if TYPE_CHECKING:
    from tlab.results import Result

__all__ = ["draw"]


def draw(result: Result) -> go.Figure:
    """Return a bar chart of the likeliest next tokens."""
    frame = result.to_frame()
    bars = go.Bar(
        x=frame["probability"].round(4).tolist(),
        y=[f"{rank}. {visible(token)}" for rank, token in zip(frame["rank"], frame["token"], strict=True)],
        orientation="h",
        marker={"color": CLEAN},
        hovertemplate="%{y}<br>probability %{x:.3f}<extra></extra>",
    )
    picture = figure([bars], title="Likeliest next tokens", x="probability", y="token", height=140 + 26 * len(frame))
    picture.update_yaxes(autorange="reversed")
    picture.update_xaxes(range=[0, 1])
    return picture
