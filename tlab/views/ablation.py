"""The picture of an ablation: the clean run's bar beside the patched run's, token by token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from tlab.views.style import CLEAN, PATCHED, distinct, figure, visible

if TYPE_CHECKING:
    from tlab.results import Result

__all__ = ["draw"]


def draw(result: Result) -> go.Figure:
    """Return paired bars of the probabilities before and after."""
    shown: Any = result
    frame = result.to_frame()
    labels = distinct(visible(token) for token in frame["token"])
    bars = [
        go.Bar(
            name=name,
            x=frame[name].round(4).tolist(),
            y=labels,
            orientation="h",
            marker={"color": colour, "pattern": {"shape": pattern}},
            hovertemplate=f"{name}: %{{y}} %{{x:.3f}}<extra></extra>",
        )
        for name, colour, pattern in (("clean", CLEAN, ""), ("patched", PATCHED, "/"))
    ]
    names = ", ".join(shown.targets) or "nothing"
    picture = figure(
        bars,
        title=f"{names} ablated ({shown.method})",
        x="probability of the next token",
        y="token",
        height=170 + 38 * len(labels),
    )
    picture.update_layout(barmode="group")
    picture.update_yaxes(autorange="reversed")
    picture.update_xaxes(range=[0, 1])
    return picture
