"""Colours and layout that all pictures share; legible in light, dark and grey."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CLEAN", "CORRUPTED", "DIVERGING", "PATCHED", "SCALE", "defused", "distinct", "figure", "visible"]

# Two hues that differ in lightness too, so that they stay apart in grey and for colour-blind readers.
CLEAN = "#4878a8"
PATCHED = "#e08a2c"
CORRUPTED = "#8a6fa8"
SCALE = "Blues"
_LEGEND = 36
# Signed effects: both ends darker than zero. Grey hides the sign, which is why it is written beside.
DIVERGING = [[0.0, "#2166ac"], [0.25, "#92c5de"], [0.5, "#f7f7f7"], [0.75, "#f4a582"], [1.0, "#b2182b"]]


def figure(traces: list[Any], *, title: str, x: str, y: str, height: int) -> go.Figure:
    """Return a figure in the book's layout: named axes, no background of its own, room for long tokens."""
    named = [trace for trace in traces if trace.name and trace.showlegend is not False]
    below = 50 if len(named) < 2 else 50 + _LEGEND  # noqa: PLR2004  plotly shows no legend for one
    return go.Figure(
        data=traces,
        layout={
            "template": "none",
            "title": {"text": title, "font": {"size": 15}, "x": 0.01, "xanchor": "left"},
            "height": height + below - 50,
            "margin": {"l": 90, "r": 20, "t": 50, "b": below},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "xaxis": {"title": {"text": x, "standoff": 12}, "automargin": True, "gridcolor": "rgba(128,128,128,0.25)"},
            "yaxis": {"title": {"text": y, "standoff": 14}, "automargin": True, "gridcolor": "rgba(128,128,128,0.25)"},
            # Below, where it meets no title however narrow the page is.
            "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        },
    )


def distinct(labels: Iterable[str]) -> list[str]:
    """Return labels with a number behind those that look like an earlier one: plotly would merge their bars."""
    seen: Counter[str] = Counter()
    result = []
    for label in labels:
        seen[label] += 1
        result.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return result


def visible(token: str) -> str:
    """Return a token for an axis: spaces and line ends made visible, markup defused."""
    return defused(token.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥"))


def defused(text: str) -> str:
    """Return a text for a label: plotly reads a small set of tags there."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
