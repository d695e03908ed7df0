"""The picture of a patch: three runs' probabilities side by side, token by token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlab.views.bars import token_bars

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from tlab.results import Result

__all__ = ["draw"]


def draw(result: Result) -> go.Figure:
    """Return three bars a token: the clean, the corrupted and the patched run."""
    shown: Any = result
    names = ", ".join(shown.targets) or "nothing"
    title = f"{names} patched ({shown.direction}): {100 * shown.share:.0f} % of the way"
    return token_bars(result, ("clean", "corrupted", "patched"), title)
