"""The picture of estimated patches: the same map as that of a patch sweep, so that the two can be laid side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlab.views.sweeps import draw_patch

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from tlab.results import Result

__all__ = ["draw"]


def draw(result: Result) -> go.Figure:
    """Return the map of how far each patch is estimated to go from the base run to the other."""
    shown: Any = result
    steps = "1 gradient" if shown.steps == 1 else f"{shown.steps} gradients"
    picture = draw_patch(result)
    picture.update_layout(title={"text": f"{shown.over}: estimated patches ({shown.direction}, {steps})"})
    return picture
