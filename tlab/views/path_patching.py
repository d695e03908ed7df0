"""The pictures of path patching: a path beside its controls, and the map of all senders to the same receivers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from tlab.views.style import CLEAN, CORRUPTED, PATCHED, figure
from tlab.views.sweeps import field_map

if TYPE_CHECKING:
    from tlab.results import Result

__all__ = ["draw", "draw_sweep"]

_KINDS = (("path", PATCHED, "/"), ("all paths", CLEAN, ""), ("control", CORRUPTED, "."))
_LONGEST = 40


def draw(result: Result) -> go.Figure:
    """Return one bar for the path, one for all of the sender's paths, and one for each random sender."""
    shown: Any = result
    frame = result.to_frame()
    bars = []
    for kind, colour, pattern in _KINDS:
        rows = frame[frame["kind"] == kind]
        shares = rows["share"].round(4).tolist()
        bars.append(
            go.Bar(
                name=kind,
                x=shares,
                y=[f"{sender}, all paths" if kind == "all paths" else sender for sender in rows["sender"]],
                orientation="h",
                text=[f"{100 * share:.1f} %" for share in shares],
                textposition="outside",
                marker={"color": colour, "pattern": {"shape": pattern}},
                hovertemplate=f"{kind}: %{{y}} %{{x:.3f}}<extra></extra>",
            )
        )
    picture = figure(
        bars,
        title=f"Paths to {_short(shown.receivers)} ({shown.through}, {shown.direction})",
        x="share of the way (0 base run, 1 other run)",
        y="sender",
        height=170 + 34 * len(frame),
    )
    picture.update_yaxes(autorange="reversed")
    return picture


def draw_sweep(result: Result) -> go.Figure:
    """Return the map of how far the path from every sender goes."""
    shown: Any = result
    embed = result.to_frame().set_index("sender")["share"].get("embed")
    beside = "" if embed is None else f"; embed {100 * embed:+.1f} %"
    return field_map(
        shown.shares.tolist(),
        x=[column if column == "mlp" else f"head {column}" for column in shown.columns],
        y=[str(row) for row in shown.rows],
        title=f"Paths to {_short(shown.receivers)} ({shown.through}, {shown.direction}{beside})",
        x_title="sender",
        unit="share of the way (0 base run, 1 other run)",
    )


def _short(names: tuple[str, ...]) -> str:
    text = ", ".join(names)
    return text if len(text) <= _LONGEST else f"{len(names)} receivers"
