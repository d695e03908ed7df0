"""What a transformer is made of, whatever its makers called the parts: blocks, attention, MLP, norms, unembedding.

The descriptions hold Hugging Face's own modules; nothing is copied. Refuses: finding them in a model (`recognise`) and
running them in order (the engine).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

    from tlab.anatomy.attention import Tap
    from tlab.anatomy.entrance import Entrance

__all__ = ["Anatomy", "Attention", "Block", "Mlp", "Projection", "Stack", "Unembed"]


@dataclass(frozen=True, eq=False)
class Projection:
    """Where the queries or keys leave their linear layer, before rotary positions turn them.

    Args:
        module: the linear layer; it may hold queries, keys and values at once.
        cut: from the layer's output `batch pos …` to a view `batch pos head d_head` of the part meant.

    """

    module: nn.Module
    cut: Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Attention:
    """One attention layer.

    Args:
        module: Hugging Face's module.
        out: its output projection.
        n_heads: query heads.
        d_head: width of a head.
        is_rotary: whether queries and keys are turned by their position after they are projected.
        projections: `q` and `k` before that turn, where they can be told apart.
        call: from (tap, normed stream, arguments) to what the layer writes, for modules that transformers' common
            attention function does not reach; `None` for the others.
        renamed: the block's name of an argument → the module's.
        is_cross: whether it reads from another stack.
        projects_itself: whether `module` applies `out`.
        can_start_late: whether it can be given the later positions alone, with the earlier ones' keys and values.

    """

    module: nn.Module
    out: nn.Module
    n_heads: int
    d_head: int
    is_rotary: bool = False
    projections: Mapping[str, Projection] = field(default_factory=dict)
    call: Callable[[Tap, Tensor, dict[str, Any]], Tensor] | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    is_cross: bool = False
    projects_itself: bool = True
    can_start_late: bool = True

    @property
    def W_O(self) -> Tensor:  # noqa: N802  the papers' name
        """Each head's way back to the stream, `head d_head d_model`."""
        return _input_first(self.out).reshape(self.n_heads, self.d_head, -1)

    @property
    def b_O(self) -> Tensor | None:  # noqa: N802
        """What the output projection adds whatever the heads say, `d_model`."""
        bias: Tensor | None = getattr(self.out, "bias", None)
        return bias


@dataclass(frozen=True, eq=False)
class Mlp:
    """One MLP.

    Args:
        up: from the normed stream to the neurons' pre-activations `pre`, and the linear gate partner or `None`.
        act: the activation function.
        down: from the neurons back to the stream.
        whole: the module as a whole, for those whose neurons cannot be told apart (mixtures of experts); the three
            above are then `None`.

    """

    up: Callable[[Tensor], tuple[Tensor, Tensor | None]] | None
    act: Callable[[Tensor], Tensor] | None
    down: nn.Module | None
    is_gated: bool = False
    whole: nn.Module | None = None

    @property
    def W_out(self) -> Tensor | None:  # noqa: N802
        """What each neuron writes, `d_mlp d_model`; `None` if the neurons cannot be told apart."""
        return None if self.down is None else _input_first(self.down)


@dataclass(frozen=True, eq=False)
class Block:
    """One layer and how its parts are wired.

    Args:
        attn: self-attention.
        mlp: `None` in attention-only models.
        cross: attention to the encoder, in the decoder of an encoder-decoder.
        norms: by place. `attn`, `cross`, `mlp` stand before a part; `attn_post`, … on its output before it joins
            the stream (sandwich norms); `attn_sum`, … on the stream after that (post-norm models).
        is_parallel: whether attention and MLP both read the block's input.
        scale: what each output is multiplied with before it joins the stream.
        adds_to_normed: whether outputs are added to the normed stream instead of the stream (a variant of BLOOM).

    """

    attn: Attention
    mlp: Mlp | None
    norms: Mapping[str, nn.Module]
    cross: Attention | None = None
    is_parallel: bool = False
    scale: float = 1.0
    adds_to_normed: bool = False


@dataclass(frozen=True, eq=False)
class Stack:
    """Blocks in a row, and the module that leads to them.

    Args:
        entrance: embeds ids and makes the masks and positions that the blocks are called with.
        blocks: in order.
        final_norm: after the last block; `None` in post-norm models.
        is_causal: whether a position reads only itself and earlier ones.
        project: from the final norm to the width that the unembedding reads (OPT-350m), else `None`.

    """

    entrance: Entrance
    blocks: tuple[Block, ...]
    final_norm: nn.Module | None
    is_causal: bool
    project: nn.Module | None = None


@dataclass(frozen=True, eq=False)
class Unembed:
    """From the last stream to logits.

    Args:
        head: the module, or modules in a row as one function.
        linear: its last linear layer.
        is_linear: whether the head is nothing but that layer.
        scale: the logits are multiplied with it (Cohere, Granite) …
        input_scale: … or the stream before it (T5).
        softcap: … and squeezed into ± this (Gemma 2).
        bias: added at the end (BART).

    """

    head: Callable[[Tensor], Tensor]
    linear: nn.Module
    is_linear: bool = True
    scale: float = 1.0
    input_scale: float = 1.0
    softcap: float | None = None
    bias: Tensor | None = None

    def __call__(self, stream: Tensor) -> Tensor:
        """Return the logits of a normed stream."""
        logits = self.head(stream * self.input_scale if self.input_scale != 1 else stream)
        if self.scale != 1:
            logits = logits * self.scale
        if self.softcap is not None:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        return logits if self.bias is None else logits + self.bias


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A whole model.

    Args:
        family: `decoder`, `encoder` or `encoder-decoder`.
        decoder: the stack that predicts; an encoder's only stack.
        encoder: the stack that reads the source, in an encoder-decoder.
        embed: the token embedding.
        unembed: `None` in encoders without a head that predicts tokens.

    """

    family: str
    decoder: Stack
    embed: nn.Module
    unembed: Unembed | None
    encoder: Stack | None = None


def _input_first(linear: nn.Module) -> Tensor:
    """Return a linear layer's weight as `input output`, also for GPT-2's transposed kind."""
    weight: Tensor = linear.weight  # type: ignore[assignment]
    return weight if type(linear).__name__ == "Conv1D" else weight.T
