"""The picture of a dataflow: how long the stream is along the way, and how much each part adds to it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from tlab.views.style import CLEAN, CORRUPTED, PATCHED, figure, visible

if TYPE_CHECKING:
    import pandas as pd

    from tlab.results import Result

__all__ = ["draw"]

# (kind of step, name in the legend, colour, mark that tells it in grey)
_KINDS = (
    ("attn", "attention", CLEAN, "circle"),
    ("cross", "cross-attention", CORRUPTED, "square"),
    ("mlp", "MLP", PATCHED, "diamond"),
)
_MOST_LABELS = 14
_DRAWN = frozenset({"embed", "attn", "cross", "mlp"})


def draw(result: Result) -> go.Figure:
    """Return marks for what is written, a line for the stream, and the lens' top token wherever it changes."""
    shown: Any = result
    frame = result.to_frame()
    traces: list[Any] = [_marks(frame[frame["kind"] == kind], *rest) for kind, *rest in _KINDS]
    traces = [marks for marks in traces if len(marks.x)]
    stream = frame[frame["stream_norm"].notna() & frame["kind"].isin(_DRAWN)]
    traces.append(
        go.Scatter(
            name="stream",
            x=stream["name"].tolist(),
            y=stream["stream_norm"].round(3).tolist(),
            mode="lines",
            line={"color": "#555555", "dash": "dot"},
            hovertemplate="stream after %{x}: length %{y:.2f}<extra></extra>",
        )
    )
    picture = figure(
        traces,
        title=f"The way of {len(shown.tokens)} tokens, at position {shown.position}",
        x="step",
        y="length (logarithmic)",
        height=440,
    )
    # In the order in which they happen: plotly would put all attention first.
    order = [name for name, kind in zip(frame["name"], frame["kind"], strict=True) if kind in _DRAWN]
    picture.update_xaxes(categoryorder="array", categoryarray=order, tickangle=-60)
    picture.update_yaxes(type="log")
    for number, (name, height, token) in enumerate(_changes(stream)):
        # At two heights: neighbours would lie on each other.
        ay = -22 - 18 * (number % 2)
        picture.add_annotation(
            x=name, y=height, yref="y", text=visible(token), showarrow=True, arrowwidth=1, ax=0, ay=ay
        )
    return picture


def _marks(rows: pd.DataFrame, name: str, colour: str, symbol: str) -> go.Scatter:
    return go.Scatter(
        name=name,
        x=rows["name"].tolist(),
        y=rows["norm"].round(3).tolist(),
        customdata=rows[["relative", "cosine", "shape"]].round(3).to_numpy().tolist(),
        mode="markers",
        marker={"color": colour, "symbol": symbol, "size": 8},
        hovertemplate=(
            "%{x} writes length %{y:.2f}, %{customdata[0]:.2f} times the stream's, cosine %{customdata[1]:.2f} "
            "(%{customdata[2]})<extra></extra>"
        ),
    )


def _changes(stream: pd.DataFrame) -> list[tuple[str, float, str]]:
    """Return the steps after which the lens names another token than before: name, log10 of the length, token."""
    found, before = [], None
    for name, length, token in zip(stream["name"], stream["stream_norm"], stream["top_token"], strict=True):
        if isinstance(token, str) and token != before:
            found.append((str(name), math.log10(length), token))
            before = token
    return found[-_MOST_LABELS:]
