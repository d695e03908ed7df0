"""The picture of a capture: how long the vectors are at each captured site."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from tlab.views.style import CLEAN, figure

if TYPE_CHECKING:
    from tlab.results import Result

__all__ = ["draw"]


def draw(result: Result) -> go.Figure:
    """Return one bar a site: the mean norm of its vectors along the last axis."""
    frame = result.to_frame()
    bars = go.Bar(
        x=frame["site"].tolist(),
        y=frame["mean_norm"].tolist(),
        marker={"color": CLEAN},
        hovertemplate="%{x}<br>mean norm %{y:.2f}<extra></extra>",
    )
    return figure([bars], title="Mean length of the captured vectors", x="site", y="mean norm", height=360)
