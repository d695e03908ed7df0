"""`attention`: where each head looks. A heat map of one head, and bertviz' head view of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from tlab.engine import run
from tlab.errors import UnknownTarget, shown
from tlab.results import HtmlView, Result, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float
    from plotly.graph_objects import Figure

    from tlab.models import Model

__all__ = ["AttentionResult", "attention"]


@dataclass(frozen=True, eq=False, repr=False)
class AttentionResult(Result):
    """The attention patterns of a run; shown for one layer and head.

    Args:
        tokens: the prompt, token by token.
        pattern: how much each destination position reads from each source position; rows sum to 1.
        layer: the layer that `plot` and `explain` show.
        head: the head that they show.

    """

    tokens: tuple[str, ...]
    pattern: Float[Tensor, "layer head dest_pos src_pos"]
    layer: int
    head: int

    @property
    def selected(self) -> Float[Tensor, "dest_pos src_pos"]:
        """The pattern of the shown head."""
        return self.pattern[self.layer, self.head]

    def to_frame(self) -> pd.DataFrame:
        """Return `layer head dest_pos dest_token src_pos src_token weight` for the shown head."""
        n_pos = len(self.tokens)
        return pd.DataFrame(
            {
                "layer": self.layer,
                "head": self.head,
                "dest_pos": dest,
                "dest_token": self.tokens[dest],
                "src_pos": src,
                "src_token": self.tokens[src],
                "weight": float(self.selected[dest, src]),
            }
            for dest in range(n_pos)
            for src in range(dest + 1)
        )

    def _twin_frame(self) -> pd.DataFrame:
        frame = self.to_frame().sort_values("weight", ascending=False).round(3)
        return frame[["dest_token", "src_token", "weight"]]

    def explain(self) -> str:
        """Say what the last token reads most in the shown head."""
        row = self.selected[-1]
        src = int(row.argmax())
        sentence = (
            f"In layer {self.layer}, head {self.head}, the last token {self.tokens[-1]!r} reads most from "
            f"{self.tokens[src]!r} at position {src} ({percent(float(row[src]))} of its attention)."
        )
        if len(self.tokens) == 1:
            return sentence
        sink = percent(float(self.selected[1:, 0].mean()))
        return f"{sentence} On average the later tokens spend {sink} on the first token."

    def heatmap(self, layer: int, head: int) -> Figure:
        """Return the heat map of another head of the same run.

        Raises:
            UnknownTarget: the model has no such head.

        """
        return self.at(layer, head).plot()

    def at(self, layer: int, head: int) -> AttentionResult:
        """Return the same run, showing another head.

        Raises:
            UnknownTarget: the model has no such head.

        """
        _check_head(layer, head, self.pattern.shape[0], self.pattern.shape[1])
        return AttentionResult(tokens=self.tokens, pattern=self.pattern, layer=layer, head=head)

    def head_view(self, *, layers: Sequence[int] | None = None) -> HtmlView:
        """Return bertviz' head view: lines between tokens, a colour a head.

        Args:
            layers: which layers it offers; all of them by default.

        Source:
            Vig, "A Multiscale Visualization of Attention in the Transformer Model" (2019), arXiv:1906.05714.

        """
        # The one place that touches bertviz; imported here because it is slow to import and rarely needed.
        from bertviz import head_view  # noqa: PLC0415

        shown_layers = tuple(range(self.pattern.shape[0])) if layers is None else tuple(layers)
        for layer in shown_layers or ("none",):
            _check_head(layer, 0, self.pattern.shape[0], self.pattern.shape[1])
        # Two decimals are what a line's opacity can show, and keep the page small.
        rounded = [pattern[None].double().round(decimals=2) for pattern in self.pattern]
        drawing = head_view(
            rounded, list(self.tokens), layer=shown_layers[0], include_layers=list(shown_layers), html_action="return"
        )
        drawn = self if self.layer in shown_layers else self.at(shown_layers[0], 0)
        return HtmlView(html=_without_second_copy(drawing.data), twin=drawn.text())


def _without_second_copy(html: str) -> str:
    """Drop the comment in bertviz' script into which it writes all weights once more, and the decimals of zeros."""
    lines = [line.partition("; // HACK")[0] for line in html.splitlines()]
    return "\n".join(lines).replace(" 0.0,", " 0,").replace(" 0.0]", " 0]")


def attention(model: Model, prompt: str, *, layer: int = 0, head: int = 0) -> AttentionResult:
    """Return how much every position reads from every earlier one, in all heads of all layers.

    Args:
        model: from `load`.
        prompt: the text to run.
        layer: the layer to show first.
        head: the head to show first.

    Invariants:
        Every row of a pattern sums to 1, and no position reads from a later one.

    Raises:
        UnknownTarget: the model has no such head.

    Cost: one forward pass; `layer × head × pos²` numbers.

    """
    _check_head(layer, head, model.n_layers, model.n_heads)
    sites = [f"blocks.{i}.attn.pattern" for i in range(model.n_layers)]
    captured = run(model, model.to_ids(prompt), sites=sites).captured
    pattern = torch.stack([captured[site][0] for site in sites]).float()
    return AttentionResult(tokens=tuple(model.to_tokens(prompt)), pattern=pattern, layer=layer, head=head)


def _is_index(value: object, size: int) -> bool:
    # True is an int to Python, and a mask to torch.
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < size


def _check_head(layer: object, head: object, n_layers: int, n_heads: int) -> None:
    if not (_is_index(layer, n_layers) and _is_index(head, n_heads)):
        raise UnknownTarget(
            f"head unknown: expected a layer from 0 to {n_layers - 1} and a head from 0 to {n_heads - 1}, "
            f"got layer {shown(layer)}, head {shown(head)}; both count from 0"
        )
