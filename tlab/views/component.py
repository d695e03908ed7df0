"""The pictures of a closer look: a head's pattern and what it speaks for, an MLP's neurons, a site's vectors."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from tlab.views.style import CLEAN, PATCHED, SCALE, distinct, figure, visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tlab.results import Result

__all__ = ["draw"]

_BARS = 12


def draw(result: Result) -> go.Figure:
    """Return the picture of a `HeadZoom`, `MlpZoom` or `StreamZoom`."""
    shown: Any = result
    pictures = {"HeadZoom": _head, "MlpZoom": _mlp}
    return pictures.get(type(result).__name__, _stream)(shown)


def _head(shown: Any) -> go.Figure:  # noqa: ANN401  views know results by their shape
    """Return the pattern on the left and, where a direct path leads to logits, the tokens on the right."""
    allowed = shown.mask.tolist()
    heat = go.Heatmap(
        z=[
            [round(weight, 3) if allowed[dest][src] else None for src, weight in enumerate(row)]
            for dest, row in enumerate(shown.pattern.tolist())
        ],
        x=_numbered(shown.source_tokens),
        y=_numbered(shown.tokens),
        colorscale=SCALE,
        zmin=0,
        zmax=1,
        showscale=False,
        hovertemplate="%{y} reads %{z:.3f} from %{x}<extra></extra>",
    )
    picture = figure(
        [heat],
        title=f"Head {shown.name} and what it promotes at position {shown.position}",
        x="src_pos (what is read)",
        y="dest_pos (who reads)",
        height=max(420, 200 + 26 * len(shown.tokens)),
    )
    picture.update_yaxes(autorange="reversed")
    if len(shown.effects) == 0:
        return picture
    picture.add_trace(_effects(shown.effects, xaxis="x2", yaxis="y2"))
    picture.update_layout(
        xaxis={"domain": [0, 0.55]},
        xaxis2={"domain": [0.78, 1], "anchor": "y2", "title": {"text": "direct effect (logits)"}},
        yaxis2={"anchor": "x2", "autorange": "reversed", "automargin": True},
        showlegend=False,
    )
    return picture


def _effects(frame: Any, **axes: str) -> go.Bar:  # noqa: ANN401
    """Return tokens as bars, what is promoted above what is suppressed; each label says the sign."""
    values = frame["effect"].round(3).tolist()
    labels = [f"{visible(token)} {value:+.2f}" for token, value in zip(frame["token"], values, strict=True)]
    return go.Bar(
        x=values,
        y=distinct(labels),
        orientation="h",
        marker={"color": [CLEAN if value >= 0 else PATCHED for value in values]},
        hovertemplate="%{y}<extra></extra>",
        **axes,
    )


def _mlp(shown: Any) -> go.Figure:  # noqa: ANN401
    """Return the neurons that write the longest vectors, with what they promote."""
    frame = shown.to_frame().head(_BARS)
    bars = go.Bar(
        x=frame["length"].round(3).tolist(),
        y=[f"N{neuron}" for neuron in frame["neuron"]],
        orientation="h",
        text=[html.escape(words, quote=False) for words in frame["promoted"]],
        customdata=frame[["activation", "answer_effect"]].round(3).to_numpy().tolist(),
        marker={"color": CLEAN},
        hovertemplate="%{y}: length %{x:.2f}, activation %{customdata[0]:+.2f}, "
        "on the answer %{customdata[1]:+.2f}<extra></extra>",
    )
    picture = figure(
        [bars],
        title=f"Neurons of {shown.name} at position {shown.position}",
        x="length of what it writes",
        y="neuron",
        height=180 + 24 * len(frame),
    )
    picture.update_yaxes(autorange="reversed")
    return picture


def _stream(shown: Any) -> go.Figure:  # noqa: ANN401
    """Return the lengths of the vectors at the site: a map where there are heads, else a mark a position."""
    frame = shown.to_frame()
    place = "dest_pos" if "dest_pos" in frame else "pos"
    head = next((name for name in ("head", "kv_head") if name in frame), None)
    labels = _numbered(shown.tokens)
    if head is not None:
        table = frame.pivot_table(index=head, columns=place, values="norm")
        heat = go.Heatmap(
            z=table.round(3).to_numpy().tolist(),
            x=labels,
            y=[f"H{number}" for number in table.index],
            colorscale=SCALE,
            zmin=0,
            colorbar={"title": {"text": "length"}},
            hovertemplate="%{y} at %{x}: length %{z:.3f}<extra></extra>",
        )
        return figure([heat], title=f"Lengths at {shown.site}", x=place, y=head, height=200 + 22 * len(table))
    said = next((name for name in ("top_token", "promoted") if name in frame), None)
    marks = go.Scatter(
        x=labels,
        y=frame["norm"].round(3).tolist(),
        mode="markers" if said is None else "markers+text",
        text=None if said is None else [visible(token) for token in frame[said]],
        textposition="top center",
        marker={"color": CLEAN, "size": 9},
        hovertemplate="%{x}: length %{y:.2f}<extra></extra>",
    )
    picture = figure([marks], title=f"Lengths at {shown.site}", x=place, y="length (logarithmic)", height=400)
    picture.update_yaxes(type="log")
    return picture


def _numbered(tokens: Iterable[str]) -> list[str]:
    return [f"{position} {visible(token)}" for position, token in enumerate(tokens)]
