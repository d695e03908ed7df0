"""The pictures of knockouts: the prediction before and after, and the metric by the window's layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from tlab.views.bars import token_bars
from tlab.views.style import CLEAN, CORRUPTED, PATCHED, defused, figure, visible

if TYPE_CHECKING:
    from tlab.results import Result

__all__ = ["draw", "draw_sweep"]


def draw(result: Result) -> go.Figure:
    """Return paired bars of the probabilities before and after."""
    shown: Any = result
    sources, ends = (sorted({edge[side] for edge in shown.edges}) for side in (0, 1))
    title = f"{_tokens(ends, shown.tokens)} kept from reading {_tokens(sources, shown.tokens)}"
    return token_bars(result, ("clean", "patched"), title)


def draw_sweep(result: Result) -> go.Figure:
    """Return the metric by the window's middle layer, with the controls and the clean run beside."""
    shown: Any = result
    layers = list(range(len(shown.values)))
    lines = [
        go.Scatter(
            name=f"other source {' '.join(map(str, sources))}",
            x=layers,
            y=[round(value, 4) for value in values.tolist()],
            mode="lines",
            line={"color": CORRUPTED, "width": 1, "dash": "dot"},
        )
        for sources, values in zip(shown.control_sources, shown.control_values, strict=True)
    ]
    lines.append(
        go.Scatter(
            name="knockout",
            x=layers,
            y=[round(value, 4) for value in shown.values.tolist()],
            mode="lines+markers",
            line={"color": PATCHED, "width": 2},
        )
    )
    picture = figure(
        lines,
        title=f"{_tokens(shown.destination, shown.tokens)} kept from reading {_tokens(shown.source, shown.tokens)}",
        x=f"layer (middle of a window of {shown.window})",
        y=defused(shown.metric),
        height=380,
    )
    picture.add_hline(y=shown.clean_value, line={"color": CLEAN, "dash": "dash"}, annotation={"text": "clean run"})
    return picture


def _tokens(positions: list[int] | tuple[int, ...], tokens: tuple[str, ...]) -> str:
    return ", ".join(f"{position} {visible(tokens[position])}" for position in positions) or "nothing"
