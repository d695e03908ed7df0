"""The pictures of steering: a direction's prompts along it, a steered prediction, and effect and damage by dose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from tlab.views.bars import token_bars
from tlab.views.style import CLEAN, PATCHED, defused, distinct, figure, visible

if TYPE_CHECKING:
    import pandas as pd

    from tlab.results import Result

__all__ = ["draw", "draw_dose", "draw_vector"]

_LONGEST_LABEL = 48
_BAND = "rgba(128,128,128,0.3)"


def draw(result: Result) -> go.Figure:
    """Return paired bars of the next token's probabilities, without and with the vector."""
    shown: Any = result
    title = f"Steered after block {shown.layer} with coefficient {shown.coef:g}"
    return token_bars(result, ("clean", "steered"), title)


def draw_vector(result: Result) -> go.Figure:
    """Return one bar a prompt: how far it lies towards one side of a direction that was made without it."""
    shown: Any = result
    frame = result.to_frame()
    labels = distinct(_label(text) for text in frame["prompt"])
    bars = []
    for side, colour, pattern in (("plus", CLEAN, ""), ("minus", PATCHED, "/")):
        rows = (frame["side"] == side).to_numpy()
        bars.append(
            go.Bar(
                name=side,
                x=frame["projection"][rows].round(3).tolist(),
                y=[label for label, is_row in zip(labels, rows, strict=True) if is_row],
                orientation="h",
                marker={"color": colour, "pattern": {"shape": pattern}},
                hovertemplate=f"{side}: %{{y}}<br>%{{x:.3f}} along the direction<extra></extra>",
            )
        )
    picture = figure(
        bars,
        title=f"Prompts along a direction after block {shown.layer}",
        x="towards minus (below 0) or plus (above 0)",
        y="prompt",
        height=170 + 30 * len(labels),
    )
    picture.update_yaxes(autorange="reversed")
    return picture


def draw_dose(result: Result) -> go.Figure:
    """Return two curves over the coefficient, effect above and damage below, with the random directions as a band."""
    shown: Any = result
    curve = shown.curve
    texts = dict(zip(shown.texts["coef"], shown.texts["continuation"], strict=True))
    traces = []
    for name, axis in (("value", "y"), ("damage_nats", "y2")):
        traces += _band(curve, name, axis)
        traces.append(
            go.Scatter(
                name="vector",
                x=curve["coef"].tolist(),
                y=curve[name].round(4).tolist(),
                yaxis=axis,
                mode="lines+markers",
                line={"color": CLEAN},
                showlegend=axis == "y",
                text=[visible(texts.get(coef, "")) for coef in curve["coef"]],
                hovertemplate="coefficient %{x}: %{y:.3f}<br>%{text}<extra></extra>",
            )
        )
    picture = figure(
        traces,
        title=f"Dose and damage after block {shown.layer}<br><sup>above: {defused(shown.metric)}</sup>",
        x="coefficient",
        y=f"effect ({shown.unit})",
        height=560,
    )
    grid = "rgba(128,128,128,0.25)"
    picture.update_layout(
        yaxis={"domain": [0.5, 1.0]},
        yaxis2={
            "domain": [0.0, 0.4],
            "anchor": "x",
            "title": {"text": "damage (nats a token)", "standoff": 14},
            "gridcolor": grid,
            "automargin": True,
        },
        xaxis={"anchor": "y2"},
    )
    return picture


def _band(curve: pd.DataFrame, name: str, axis: str) -> list[go.Scatter]:
    """Return the least and the most of the random directions, the room between them filled."""
    if f"random_least_{name}" not in curve:
        return []
    common = {"x": curve["coef"].tolist(), "yaxis": axis, "mode": "lines", "line": {"color": _BAND, "dash": "dot"}}
    least = go.Scatter(
        **common, y=curve[f"random_least_{name}"].round(4).tolist(), showlegend=False, hoverinfo="skip", name="least"
    )
    most = go.Scatter(
        **common,
        y=curve[f"random_most_{name}"].round(4).tolist(),
        name="random directions",
        fill="tonexty",
        fillcolor=_BAND,
        showlegend=axis == "y",
        hovertemplate="random directions, up to %{y:.3f}<extra></extra>",
    )
    return [least, most]


def _label(text: str) -> str:
    return visible(text if len(text) <= _LONGEST_LABEL else f"…{text[-_LONGEST_LABEL + 1 :]}")
