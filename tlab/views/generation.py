"""The picture of a generation: how sure the model was of each token, beside the likeliest other one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from tlab.views.style import CLEAN, PATCHED, figure, visible

if TYPE_CHECKING:
    from tlab.results import Result

__all__ = ["draw"]

_SHOWN_ALTERNATIVES = 3


def draw(result: Result) -> go.Figure:
    """Return one bar a generated token, and a mark for the likeliest token that was not taken."""
    shown: Any = result
    frame = result.to_frame()
    labels = [f"{step} {visible(token)}" for step, token in zip(frame["step"], frame["token"], strict=True)]
    others = [_others(shown, row["step"], row["rank"]) for _, row in frame.iterrows()]
    taken = go.Bar(
        name="taken",
        x=labels,
        y=frame["probability"].round(4).tolist(),
        marker={"color": CLEAN},
        customdata=[
            [rank, "<br>".join(f"{visible(token)} {probability:.3f}" for token, probability in other)]
            for rank, other in zip(frame["rank"], others, strict=True)
        ],
        hovertemplate="%{x}: %{y:.3f}, rank %{customdata[0]}<br>others:<br>%{customdata[1]}<extra></extra>",
    )
    best = go.Scatter(
        name="likeliest other",
        x=labels,
        y=[round(other[0][1], 4) if other else None for other in others],
        mode="markers",
        marker={"color": PATCHED, "symbol": "diamond-open", "size": 9, "line": {"width": 2}},
        text=[visible(other[0][0]) if other else "" for other in others],
        hovertemplate="instead: %{text} %{y:.3f}<extra></extra>",
    )
    picture = figure(
        [taken, best],
        title="How sure the model was of each token",
        x="step and token",
        y="probability",
        height=380,
    )
    picture.update_yaxes(range=[0, 1])
    return picture


def _others(shown: Any, step: int, taken_rank: int) -> list[tuple[str, float]]:  # noqa: ANN401  known by its shape
    rows = shown.alternatives[(shown.alternatives["step"] == step) & (shown.alternatives["rank"] != taken_rank)]
    found = [(str(other), float(p)) for other, p in zip(rows["token"], rows["probability"], strict=True)]
    return found[:_SHOWN_ALTERNATIVES]
