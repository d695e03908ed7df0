"""The picture of an ablation: the clean run's bar beside the patched run's, token by token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlab.views.bars import token_bars

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from tlab.results import Result

__all__ = ["draw"]


def draw(result: Result) -> go.Figure:
    """Return paired bars of the probabilities before and after."""
    shown: Any = result
    names = ", ".join(shown.targets) or "nothing"
    return token_bars(result, ("clean", "patched"), f"{names} ablated ({shown.method})")
