"""The picture of a patch: three runs' probabilities side by side, token by token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from tlab.views.style import CLEAN, CORRUPTED, PATCHED, distinct, figure, visible

if TYPE_CHECKING:
    from tlab.results import Result

__all__ = ["draw"]

_RUNS = (("clean", CLEAN, ""), ("corrupted", CORRUPTED, "."), ("patched", PATCHED, "/"))


def draw(result: Result) -> go.Figure:
    """Return three bars a token: the clean, the corrupted and the patched run."""
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
        for name, colour, pattern in _RUNS
    ]
    names = ", ".join(shown.targets) or "nothing"
    picture = figure(
        bars,
        title=f"{names} patched ({shown.direction}): {100 * shown.share:.0f} % of the way",
        x="probability of the next token",
        y="token",
        height=170 + 46 * len(labels),
    )
    picture.update_layout(barmode="group")
    picture.update_yaxes(autorange="reversed")
    picture.update_xaxes(range=[0, 1])
    return picture
