"""The pictures of sweeps: a map with one field for every part or place that was ablated or patched."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from tlab.views.style import DIVERGING, defused, figure, visible

if TYPE_CHECKING:
    from tlab.results import Result

__all__ = ["draw_ablation", "draw_patch", "field_map"]

# A sign is written into a field only where the effect is this share of the largest.
_MARKED = 0.1


def draw_ablation(result: Result) -> go.Figure:
    """Return the map of what each part's ablation changes."""
    shown: Any = result
    n_columns = shown.values.shape[1]
    columns = [f"head {head}" for head in range(n_columns)] if shown.over == "heads" else [shown.over]
    return field_map(
        shown.changes.tolist(),
        x=columns,
        y=[str(layer) for layer in range(shown.values.shape[0])],
        title=f"{shown.over} ablated one at a time ({shown.method})",
        x_title="head" if shown.over == "heads" else "",
        unit=f"change of the {defused(shown.metric)}",
    )


def draw_patch(result: Result) -> go.Figure:
    """Return the map of how far each patch goes from the base run to the other."""
    shown: Any = result
    return field_map(
        shown.shares.tolist(),
        x=[f"{column} {visible(shown.tokens[column])}" if shown.tokens else str(column) for column in shown.columns],
        y=[str(row) for row in shown.rows],
        title=f"{shown.over} patched one at a time ({shown.direction})",
        x_title=shown.column_axis,
        unit="share of the way (0 base run, 1 other run)",
        limit=1.0,
    )


def field_map(
    rows: list[list[float]],
    *,
    x: list[str],
    y: list[str],
    title: str,
    x_title: str,
    unit: str,
    limit: float | None = None,
) -> go.Figure:
    """Return a heat map of signed effects: two colours around a light zero, and the sign in the field.

    Args:
        rows: one list a layer; not a number where nothing was measured.
        x: labels of the columns.
        y: labels of the rows, from layer 0.
        title: of the picture.
        x_title: of the columns' axis.
        unit: of the numbers, for the scale and for hovering.
        limit: where the colours end; by default at the largest effect.

    """
    known = [abs(value) for row in rows for value in row if not math.isnan(value)]
    end = limit or max(known, default=1.0) or 1.0
    signs = [[_sign(value, end) for value in row] for row in rows]
    heat = go.Heatmap(
        z=[[None if math.isnan(value) else round(value, 4) for value in row] for row in rows],
        x=x,
        y=y,
        text=signs,
        texttemplate="%{text}",
        colorscale=DIVERGING,
        zmin=-end,
        zmax=end,
        zmid=0,
        colorbar={"title": {"text": unit.split(" (", maxsplit=1)[0], "side": "right"}},
        hovertemplate=f"layer %{{y}}, %{{x}}<br>%{{z:.3f}} {unit}<extra></extra>",
    )
    return figure([heat], title=title, x=x_title, y="layer", height=180 + 17 * len(rows))


def _sign(value: float, end: float) -> str:
    if math.isnan(value) or abs(value) < _MARKED * end:
        return ""
    return "+" if value > 0 else "−"
