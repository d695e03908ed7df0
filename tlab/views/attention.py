"""The picture of one head's attention pattern: a heat map from source to destination."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from tlab.views.style import SCALE, figure, visible

if TYPE_CHECKING:
    from tlab.results import Result

__all__ = ["draw"]


def draw(result: Result) -> go.Figure:
    """Return the heat map of the shown head; what lies after the reading position is left empty."""
    shown: Any = result
    labels = [f"{position} {visible(token)}" for position, token in enumerate(shown.tokens)]
    rows = [
        [round(weight, 3) if src <= dest else None for src, weight in enumerate(row)]
        for dest, row in enumerate(shown.selected.tolist())
    ]
    heat = go.Heatmap(
        z=rows,
        x=labels,
        y=labels,
        colorscale=SCALE,
        zmin=0,
        zmax=1,
        colorbar={"title": {"text": "weight"}},
        hovertemplate="%{y} reads %{z:.3f} from %{x}<extra></extra>",
    )
    picture = figure(
        [heat],
        title=f"Attention pattern, layer {shown.layer}, head {shown.head}",
        x="src_pos (what is read)",
        y="dest_pos (who reads)",
        height=200 + 26 * len(labels),
    )
    picture.update_yaxes(autorange="reversed")
    return picture
