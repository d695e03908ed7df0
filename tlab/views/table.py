"""The picture of a result that is a list of facts: its table, drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from tlab.views.style import defused, figure

if TYPE_CHECKING:
    from tlab.results import Result

__all__ = ["draw"]


def draw(result: Result) -> go.Figure:
    """Return the result's table as a picture."""
    frame = result.to_frame()
    cells = [[defused(f"{value:.3g}" if isinstance(value, float) else str(value)) for value in frame[n]] for n in frame]
    table = go.Table(
        header={"values": [f"<b>{defused(str(name))}</b>" for name in frame], "align": "left"},
        cells={"values": cells, "align": "left", "height": 24},
    )
    return figure([table], title=type(result).__name__, x="", y="", height=140 + 26 * len(frame))
