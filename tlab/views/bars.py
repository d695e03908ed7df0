"""Bars side by side: the next token's probability in several runs of one prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from tlab.views.style import CLEAN, CORRUPTED, PATCHED, distinct, figure, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlab.results import Result

__all__ = ["token_bars"]

_LOOKS = {"clean": (CLEAN, ""), "corrupted": (CORRUPTED, "."), "patched": (PATCHED, "/"), "steered": (PATCHED, "/")}
_ROW, _BAR = 22, 8


def token_bars(result: Result, runs: Sequence[str], title: str, *, above: int = 50) -> go.Figure:
    """Return one bar a run for each token.

    Args:
        result: its table has a column `token` and one for each run.
        runs: of `clean corrupted patched steered`, in the order of the bars.
        title: of the picture.
        above: how many pixels the title takes.

    """
    frame = result.to_frame()
    labels = distinct(visible(token) for token in frame["token"])
    bars = [
        go.Bar(
            name=name,
            x=frame[name].round(4).tolist(),
            y=labels,
            orientation="h",
            marker={"color": _LOOKS[name][0], "pattern": {"shape": _LOOKS[name][1]}},
            hovertemplate=f"{name}: %{{y}} %{{x:.3f}}<extra></extra>",
        )
        for name in runs
    ]
    height = 120 + above + (_ROW + _BAR * len(runs)) * len(labels)
    picture = figure(bars, title=title, x="probability of the next token", y="token", height=height)
    picture.update_layout(barmode="group", margin={"t": above})
    picture.update_yaxes(autorange="reversed")
    picture.update_xaxes(range=[0, 1])
    return picture
