"""The picture of one head's attention pattern: a heat map from source to destination."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from tlab.views.style import SCALE, figure, visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tlab.results import Result

__all__ = ["draw"]

_TITLES = {"self": "Attention pattern", "cross": "Cross-attention pattern", "encoder": "Encoder attention pattern"}


def draw(result: Result) -> go.Figure:
    """Return the heat map of the shown head; what a decoder's position may not read is left empty."""
    shown: Any = result
    rows = [
        [round(weight, 3) if src <= dest or not shown.is_causal else None for src, weight in enumerate(row)]
        for dest, row in enumerate(shown.selected.tolist())
    ]
    heat = go.Heatmap(
        z=rows,
        x=_numbered(shown.source_tokens),
        y=_numbered(shown.tokens),
        colorscale=SCALE,
        zmin=0,
        zmax=1,
        colorbar={"title": {"text": "weight"}},
        hovertemplate="%{y} reads %{z:.3f} from %{x}<extra></extra>",
    )
    picture = figure(
        [heat],
        title=f"{_TITLES[shown.kind]}, layer {shown.layer}, head {shown.head}",
        x="src_pos (what is read)",
        y="dest_pos (who reads)",
        height=200 + 26 * len(rows),
    )
    picture.update_yaxes(autorange="reversed")
    return picture


def _numbered(tokens: Iterable[str]) -> list[str]:
    return [f"{position} {visible(token)}" for position, token in enumerate(tokens)]
