"""`attention`: where each head looks. A heat map of one head, and bertviz' views of all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import torch
from torch import Tensor

from tlab.engine import run
from tlab.errors import UnknownOption, UnknownTarget, shown
from tlab.experiments.foreign_html import neuron_page, standing_alone
from tlab.experiments.prompts import inputs_of, tokens_of
from tlab.manifest import experiment
from tlab.plain import whole
from tlab.precision import precise
from tlab.results import HtmlView, Result, percent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jaxtyping import Float
    from plotly.graph_objects import Figure

    from tlab.anatomy.parts import Stack
    from tlab.models import Model

__all__ = ["AttentionResult", "attention"]

_KINDS = ("self", "cross", "encoder")


@dataclass(frozen=True, eq=False, repr=False)
class AttentionResult(Result):
    """The attention patterns of a run; shown for one layer and head.

    Args:
        tokens: who reads, token by token.
        source_tokens: what is read: the same tokens, or for cross-attention the encoder's.
        pattern: how much each destination position reads from each source position; rows sum to 1.
        queries: as they are multiplied with the keys, after rotary positions.
        keys: likewise; several heads may share one.
        layer: the layer that `plot` and `explain` show.
        head: the head that they show.
        kind: `self`, `cross` or `encoder`.
        is_causal: whether no position reads a later one.

    """

    tokens: tuple[str, ...]
    source_tokens: tuple[str, ...]
    pattern: Float[Tensor, "layer head dest_pos src_pos"]
    queries: Float[Tensor, "layer head dest_pos d_head"]
    keys: Float[Tensor, "layer kv_head src_pos d_head"]
    layer: int
    head: int
    kind: str = "self"
    is_causal: bool = True

    @property
    def selected(self) -> Float[Tensor, "dest_pos src_pos"]:
        """The pattern of the shown head."""
        return self.pattern[self.layer, self.head]

    def to_frame(self) -> pd.DataFrame:
        """Return `layer head dest_pos dest_token src_pos src_token weight` for the shown head."""
        weights = self.selected.tolist()
        return pd.DataFrame(
            {
                "layer": self.layer,
                "head": self.head,
                "dest_pos": dest,
                "dest_token": reader,
                "src_pos": src,
                "src_token": read,
                "weight": weights[dest][src],
            }
            for dest, reader in enumerate(self.tokens)
            for src, read in enumerate(self.source_tokens)
            if src <= dest or not self.is_causal
        )

    def _twin_frame(self) -> pd.DataFrame:
        frame = self.to_frame().sort_values("weight", ascending=False).round(3)
        return frame[["dest_token", "src_token", "weight"]]

    def explain(self) -> str:
        """Say what the last token reads most in the shown head."""
        row = self.selected[-1]
        src = int(row.argmax())
        where = {"self": "", "cross": " of the source", "encoder": ""}[self.kind]
        stack = {"self": "", "cross": "cross-attention ", "encoder": "encoder "}[self.kind]
        sentence = (
            f"In {stack}layer {self.layer}, head {self.head}, the last token {self.tokens[-1]!r} reads most from "
            f"{self.source_tokens[src]!r} at position {src}{where} ({percent(float(row[src]))} of its attention)."
        )
        if len(self.tokens) == 1:
            return sentence
        sink = percent(float(self.selected[1:, 0].mean()))
        return f"{sentence} On average the later tokens spend {sink} on the first token{where}."

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
        return replace(self, layer=layer, head=head)

    def head_view(self, *, layers: Sequence[int] | None = None, from_cdn: bool = False) -> HtmlView:
        """Return bertviz' head view: lines between tokens, a colour a head.

        Args:
            layers: which layers it offers; all of them by default.
            from_cdn: whether the view may fetch require.js, d3 and jQuery from cdnjs.cloudflare.com, which it needs
                outside the book; the book brings its own.

        Source:
            Vig, "A Multiscale Visualization of Attention in the Transformer Model" (2019), arXiv:1906.05714.

        """
        # Here and in the two methods below: the one place that touches bertviz, slow to import and rarely needed.
        from bertviz import head_view  # noqa: PLC0415

        return self._in_html(head_view, layers, from_cdn=from_cdn)

    def model_view(self, *, layers: Sequence[int] | None = None, from_cdn: bool = False) -> HtmlView:
        """Return bertviz' model view: every head of every layer in small, one of them large on a click.

        Args:
            layers: which layers it shows; all of them by default.
            from_cdn: as in `head_view`.

        """
        from bertviz import model_view  # noqa: PLC0415

        return self._in_html(model_view, layers, from_cdn=from_cdn, display_mode="light")

    def neuron_view(self, *, from_cdn: bool = False) -> HtmlView:
        """Return bertviz' neuron view of the shown layer: queries and keys, number by number, and their products.

        Bertviz draws it for models of its own only; here its drawing is given our queries and keys, after rotary
        positions turned them. It divides products by the root of `d_head`; models that scale scores otherwise, or add
        to them (ALiBi, T5), differ in that column, and not in the attention.

        Args:
            from_cdn: as in `head_view`.

        """
        import bertviz.neuron_view  # noqa: PLC0415

        script = Path(bertviz.neuron_view.__file__).with_suffix(".js").read_text(encoding="utf-8")
        n_sharing = self.pattern.shape[1] // self.keys.shape[1]
        data = {
            "attn": self.pattern[self.layer],
            "queries": self.queries[self.layer],
            "keys": self.keys[self.layer].repeat_interleave(n_sharing, dim=0),
        }
        options = {"layer": self.layer, "head": self.head, "bidirectional": not self.is_causal}
        page = neuron_page(script, (self.tokens, self.source_tokens), data, options)
        return HtmlView(html=standing_alone(page, from_cdn=from_cdn), twin=self.text())

    def _in_html(
        self, draw: Callable[..., Any], layers: Sequence[int] | None, *, from_cdn: bool, **options: object
    ) -> HtmlView:
        shown_layers = tuple(range(self.pattern.shape[0])) if layers is None else tuple(layers)
        for layer in shown_layers or ("none",):
            _check_head(layer, 0, self.pattern.shape[0], self.pattern.shape[1])
        # Two decimals are what a line's opacity can show, and keep the page small.
        rounded = [pattern[None].double().round(decimals=2) for pattern in self.pattern]
        given: dict[str, Any] = {"attention": rounded, "tokens": list(self.tokens)}
        if self.kind == "cross":
            given = {
                "cross_attention": rounded,
                "decoder_tokens": list(self.tokens),
                "encoder_tokens": list(self.source_tokens),
            }
        if draw.__name__ == "head_view":
            options["layer"] = shown_layers[0]
        drawing = draw(
            **given, **options, include_layers=list(shown_layers), prettify_tokens=False, html_action="return"
        )
        drawn = self if self.layer in shown_layers else self.at(shown_layers[0], 0)
        return HtmlView(html=standing_alone(drawing.data, from_cdn=from_cdn), twin=drawn.text())


@experiment
def attention(
    model: Model,
    prompt: str,
    *,
    layer: int = 0,
    head: int = 0,
    kind: Literal["self", "cross", "encoder"] = "self",
    target: str | None = None,
) -> AttentionResult:
    """Return how much every position reads from every other, in all heads of all layers.

    Args:
        model: from `load`.
        prompt: the text to run.
        layer: the layer to show first.
        head: the head to show first.
        kind: in an encoder-decoder, which attention: the decoder's to itself, the decoder's to the encoder
            (`cross`), or the encoder's.
        target: in an encoder-decoder, what the decoder has written so far.

    Units: weights from 0 to 1; each row sums to 1.

    Invariants:
        Every row of a pattern sums to 1 (less in models that may attend to nothing, as GPT-OSS), and no position of a
        decoder reads from a later one.

    Raises:
        UnknownTarget: the model has no such head.
        UnknownOption: the model has no such kind of attention.

    Cost: one forward pass; `layer × head × pos²` numbers.

    Source:
        Vaswani et al., "Attention Is All You Need" (2017), arXiv:1706.03762; the head, model and neuron views are those
        of Vig, "A Multiscale Visualization of Attention in the Transformer Model" (2019), arXiv:1906.05714.

    """
    stack, prefix, part = _place(model, kind)
    n_heads = stack.blocks[0].attn.n_heads
    _check_head(layer, head, len(stack.blocks), n_heads)
    inputs = inputs_of(model, prompt, target=target)
    queried, keyed = ("rot_q", "rot_k") if part == "attn" and stack.blocks[0].attn.is_rotary else ("q", "k")
    layers = range(len(stack.blocks))
    sites = [f"{prefix}blocks.{index}.{part}.{step}" for step in ("pattern", queried, keyed) for index in layers]
    captured = run(model, inputs, sites=sites, predicts=False).captured

    def stacked(step: str) -> Tensor:
        found = [captured[f"{prefix}blocks.{index}.{part}.{step}"][0] for index in layers]
        return precise(torch.stack(found)).cpu()

    own = tokens_of(model, inputs.ids[0])
    source = own if inputs.source is None else tokens_of(model, inputs.source[0])
    return AttentionResult(
        tokens=source if kind == "encoder" else own,
        source_tokens=own if kind == "self" else source,
        pattern=stacked("pattern"),
        queries=stacked(queried).transpose(1, 2).contiguous(),
        keys=stacked(keyed).transpose(1, 2).contiguous(),
        layer=layer,
        head=head,
        kind=kind,
        is_causal=stack.is_causal and part == "attn",
    )


def _place(model: Model, kind: object) -> tuple[Stack, str, str]:
    """Return the stack, its sites' prefix, and the attention in a block."""
    anatomy = model.anatomy
    if kind not in _KINDS:
        raise UnknownOption(f"kind refused: expected one of {', '.join(_KINDS)}, got {shown(kind)}; try kind='self'")
    if kind == "encoder" and anatomy.encoder is not None:
        return anatomy.encoder, "encoder.", "attn"
    if kind == "cross" and anatomy.encoder is not None:
        return anatomy.decoder, "", "cross_attn"
    if kind == "cross" or (kind == "encoder" and model.family != "encoder"):
        raise UnknownOption(
            f"kind refused: expected 'self' for a model with a single stack, got {shown(kind)} for the "
            f"{model.family} {shown(model.name)}; leave it out"
        )
    return anatomy.decoder, "", "attn"


def _is_index(value: object, size: int) -> bool:
    number = whole(value)
    return number is not None and 0 <= number < size


def _check_head(layer: object, head: object, n_layers: int, n_heads: int) -> None:
    if not (_is_index(layer, n_layers) and _is_index(head, n_heads)):
        raise UnknownTarget(
            f"head unknown: expected a layer from 0 to {n_layers - 1} and a head from 0 to {n_heads - 1}, "
            f"got layer {shown(layer)}, head {shown(head)}; both count from 0"
        )
