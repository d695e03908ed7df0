"""The pictures of sparse autoencoders: training, active features, contexts, losses, and pushed predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from tlab.views.bars import token_bars
from tlab.views.style import CLEAN, PATCHED, SCALE, distinct, figure, visible

if TYPE_CHECKING:
    from tlab.results import Result

__all__ = ["draw_activations", "draw_push", "draw_reading", "draw_reconstruction", "draw_training"]

_SHOWN_FEATURES = 20
_SHOWN_TOKENS = 80
_CONTEXT_CHARACTERS = 24


def draw_training(result: Result) -> go.Figure:
    """Return the unexplained variance along the training, in the batches and on held-out vectors."""
    shown: Any = result
    frame = result.to_frame()
    kinds = (("fvu", "training batch", CLEAN, "dot"), ("held_out_fvu", "held out", PATCHED, "solid"))
    lines = [
        go.Scatter(
            x=frame["step"].tolist(),
            y=frame[column].round(4).tolist(),
            name=name,
            mode="lines",
            line={"color": colour, "dash": dash},
            hovertemplate=f"{name}, step %{{x}}: %{{y:.3f}}<extra></extra>",
        )
        for column, name, colour, dash in kinds
    ]
    picture = figure(
        lines, title=f"Sparse autoencoder of {shown.site}", x="step", y="unexplained share of the variance", height=360
    )
    picture.update_yaxes(rangemode="tozero")
    return picture


def draw_activations(result: Result) -> go.Figure:
    """Return a heat map of the prompt's strongest features, position by position."""
    shown: Any = result
    features = list(shown.strongest(_SHOWN_FEATURES))
    tokens = shown.tokens[:_SHOWN_TOKENS]
    rows = [[round(value, 2) for value in shown.activations[: len(tokens), feature].tolist()] for feature in features]
    heat = go.Heatmap(
        z=rows,
        x=[f"{position} {visible(token)}" for position, token in enumerate(tokens)],
        y=[f"feature {feature}" for feature in features],
        colorscale=SCALE,
        zmin=0,
        colorbar={"title": {"text": "activation"}},
        hovertemplate="%{y} on %{x}: %{z:.2f}<extra></extra>",
    )
    picture = figure(
        [heat],
        title=f"The strongest features of {shown.site}",
        x="pos",
        y="feature",
        height=170 + 20 * max(1, len(features)),
    )
    picture.update_yaxes(autorange="reversed")
    return picture


def draw_reading(result: Result) -> go.Figure:
    """Return one bar for each context, as long as the activation in it, beside the text around."""
    shown: Any = result
    frame = result.to_frame()
    labels = [
        f"…{visible(before[-_CONTEXT_CHARACTERS:])}«{visible(token)}»{visible(after[:_CONTEXT_CHARACTERS])}…"
        for before, token, after in zip(frame["before"], frame["token"], frame["after"], strict=True)
    ]
    labels = distinct(labels)
    bars = []
    for kind, colour, pattern in (("strongest", CLEAN, ""), ("ordinary", PATCHED, "/")):
        is_kind = (frame["kind"] == kind).tolist()
        bars.append(
            go.Bar(
                name=kind,
                x=frame.loc[is_kind, "activation"].round(2).tolist(),
                y=[label for label, is_one in zip(labels, is_kind, strict=True) if is_one],
                orientation="h",
                marker={"color": colour, "pattern": {"shape": pattern}},
                hovertemplate=f"{kind}: %{{x:.1f}}<extra></extra>",
            )
        )
    picture = figure(
        bars,
        title=f"Where feature {shown.feature} of {shown.site} is active",
        x="activation",
        y="context, with the token in «»",
        height=170 + 26 * max(1, len(labels)),
    )
    picture.update_yaxes(autorange="reversed")
    return picture


def draw_reconstruction(result: Result) -> go.Figure:
    """Return one bar for each thing that stood at the site: the model's loss with it."""
    shown: Any = result
    frame = result.to_frame()
    bars = go.Bar(
        x=frame["loss_nats"].round(4).tolist(),
        y=frame["replacement"].tolist(),
        orientation="h",
        marker={"color": [CLEAN, PATCHED, *["rgba(128,128,128,0.75)"] * (len(frame) - 2)]},
        text=[f"{value:.2f}" for value in frame["loss_nats"]],
        hovertemplate="%{y}: %{x:.3f} nats a token<extra></extra>",
    )
    picture = figure(
        [bars],
        title=f"Loss with other vectors in place of {shown.site}",
        x="loss in nats a token",
        y="what stands there",
        height=180 + 34 * len(frame),
    )
    picture.update_yaxes(autorange="reversed")
    return picture


def draw_push(result: Result) -> go.Figure:
    """Return paired bars of the probabilities before and after; the title says how far controls moved them."""
    shown: Any = result
    moved = f"moved by {shown.kl_nats:.3f} nats"
    if shown.controls:
        moved += f", controls by {min(shown.controls.values()):.3f} to {max(shown.controls.values()):.3f}"
    title = f"{visible(shown.title)}<br><sup>{moved}</sup>".replace("␣", " ")
    return token_bars(result, ("clean", "patched"), title, above=80)
