"""The pictures of lenses: the top token for every layer and position, and how far each lens is from the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from tlab.views.style import CLEAN, PATCHED, SCALE, figure, visible

if TYPE_CHECKING:
    import pandas as pd

    from tlab.results import Result

__all__ = ["draw", "draw_both", "draw_training"]

_LONGEST_LABEL = 12
_LINES = {
    "logit lens": {"color": PATCHED, "dash": "dash"},
    "tuned lens": {"color": CLEAN, "dash": "solid"},
    "average prediction": {"color": "grey", "dash": "dot"},
}


def draw(result: Result) -> go.Figure:
    """Return a heat map of the lens' confidence with its top token written into every field."""
    shown: Any = result
    frame = result.to_frame()
    is_followed = shown.followed != shown.target
    values = "followed_probability" if is_followed else "probability"
    tables = {name: _table(frame, name) for name in (values, "followed_rank", "kl_nats")}
    tokens = _table(frame, "top_token")
    heat = go.Heatmap(
        z=tables[values].round(3).to_numpy().tolist(),
        x=[f"{position} {visible(token)}" for position, token in enumerate(shown.tokens)],
        y=[f"{layer}" for layer in tokens.index],
        text=[[visible(token)[:_LONGEST_LABEL] for token in row] for row in tokens.to_numpy().tolist()],
        texttemplate="%{text}",
        customdata=[
            [[rank, round(kl, 2)] for rank, kl in zip(ranks, kls, strict=True)]
            for ranks, kls in zip(
                tables["followed_rank"].to_numpy().tolist(), tables["kl_nats"].to_numpy().tolist(), strict=True
            )
        ],
        colorscale=SCALE,
        zmin=0,
        zmax=1,
        colorbar={"title": {"text": visible(shown.followed) if is_followed else "probability"}},
        hovertemplate=(
            "layer %{y}, after %{x}: %{text}<br>%{z:.3f}<br>"
            f"rank of {visible(shown.followed)}: %{{customdata[0]}}<br>"
            "%{customdata[1]} nats from the end<extra></extra>"
        ),
    )
    how = "the top token after every layer"
    without = "" if shown.uses_final_norm else ", without the final norm (a mistake)"
    picture = figure(
        [heat],
        title=f"{shown.name}{without}: {how}",
        x="pos",
        y="layer (0 is the embedding)",
        height=150 + 19 * len(tokens),
    )
    # Layers may be left out, and stand side by side all the same.
    picture.update_yaxes(type="category")
    return picture


def draw_both(result: Result) -> go.Figure:
    """Return two lines over the layers: how far each lens is from the model's final prediction."""
    shown: Any = result
    frame = result.to_frame()
    here = frame[frame["pos"] == shown.position]
    lines = [_line(name, rows, "kl_nats") for name, rows in here.groupby("lens", sort=False)]
    return figure(
        lines,
        title=f"Two lenses after {visible(shown.tokens[shown.position])}: how far from the model's answer",
        x="layer (0 is the embedding)",
        y="KL divergence from the final prediction (nats)",
        height=420,
    )


def draw_training(result: Result) -> go.Figure:
    """Return a trained lens' error on texts that it was not trained on, layer by layer, beside the plain lens."""
    frame = result.to_frame()
    here = frame[frame["texts"] == frame["texts"].iloc[0]]
    names = {
        "logit_lens_kl_nats": "logit lens",
        "tuned_lens_kl_nats": "tuned lens",
        "average_kl_nats": "average prediction",
    }
    lines = [_line(name, here.rename(columns={column: "kl_nats"}), "kl_nats") for column, name in names.items()]
    return figure(
        lines,
        title="Lenses on texts that were held out",
        x="layer (0 is the embedding)",
        y="KL divergence from the final prediction (nats)",
        height=420,
    )


def _line(name: Any, rows: pd.DataFrame, column: str) -> go.Scatter:  # noqa: ANN401  pandas' group keys
    ordered = rows.sort_values("layer")
    has_tokens = "top_token" in ordered
    return go.Scatter(
        name=str(name),
        x=ordered["layer"].tolist(),
        y=ordered[column].round(4).tolist(),
        mode="lines+markers",
        line=_LINES.get(str(name), {}),
        text=[visible(token) for token in ordered["top_token"]] if has_tokens else None,
        hovertemplate=f"{name}, layer %{{x}}: %{{y:.2f}} nats{' %{text}' if has_tokens else ''}<extra></extra>",
    )


def _table(frame: pd.DataFrame, values: str) -> pd.DataFrame:
    return frame.pivot_table(index="layer", columns="pos", values=values, aggfunc="first")
