"""The one attention function through which every model here runs, so that its inner steps can be read and replaced.

Hugging Face's attention modules compute queries, keys and values and hand them to a function that the configuration
names. Ours does what their eager one does, and shows each step to a tap. Refuses: deciding what to read or replace.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxtyping import Float
    from torch import nn

__all__ = ["NAME", "Tap", "attend", "register", "tapped"]

NAME = "tlab"
_active = threading.local()


class Tap(Protocol):
    """What listens in one attention layer during one call.

    Args:
        past: keys and values of earlier positions that are not computed again, `batch kv_head pos d_head` each.

    """

    past: tuple[Tensor, Tensor] | None

    def at(self, step: str, tensor: Tensor) -> Tensor:
        """Take the tensor of a step (`q k v scores pattern z`) and return what is to stand there."""


def register() -> None:
    """Make the function known to transformers under our own name; calling it again changes nothing."""
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, eager_mask)


@contextmanager
def tapped(tap: Tap) -> Iterator[None]:
    """Let `tap` listen to the attention that this thread computes inside the block."""
    before = getattr(_active, "tap", None)
    _active.tap = tap
    try:
        yield
    finally:
        _active.tap = before


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """Compute attention as the model's own eager function does, shown to the active tap."""
    eager = _eager_of(module)
    tap: Tap | None = getattr(_active, "tap", None)
    if tap is None:  # somebody runs the Hugging Face model by itself
        result: tuple[Tensor, Tensor] = eager(module, query, key, value, attention_mask, **options)
        return result
    sinks = getattr(module, "sinks", None)
    return attend(
        tap,
        query,
        key,
        value,
        attention_mask,
        scaling=options.get("scaling"),
        bias=options.get("position_bias"),
        softcap=options.get("softcap"),
        sinks=sinks,
        is_upcast=_is_upcast(eager, module, query, key, value),
    )


def attend(
    tap: Tap,
    query: Float[Tensor, "batch head dest_pos d_head"],
    key: Float[Tensor, "batch kv_head pos d_head"],
    value: Float[Tensor, "batch kv_head pos d_head"],
    mask: Tensor | None,
    *,
    scaling: float | None = None,
    bias: Tensor | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
    divisor: float | None = None,
    is_upcast: bool = False,
) -> tuple[Float[Tensor, "batch dest_pos head d_head"], Float[Tensor, "batch head dest_pos src_pos"]]:
    """Return what every head read, and its pattern.

    Args:
        tap: sees `q k v scores pattern z`, in this order, and may replace them.
        query: one for each destination position.
        key: one for each source position; several query heads share one in grouped-query attention.
        value: likewise.
        mask: added to the scores; a very negative number where reading is forbidden.
        scaling: what the dot products are multiplied with; `d_head ** -0.5` by default.
        bias: added to the scores (T5's relative positions, BLOOM's slopes).
        softcap: scores are squeezed into ± this (Gemma 2).
        sinks: a learned score a head that takes part in the softmax and is then dropped (GPT-OSS).
        divisor: the dot products are divided by it instead (GPT-J), which rounds otherwise than multiplying.
        is_upcast: whether the softmax runs in float32 whatever the model's dtype, as in many eager functions.

    """
    if len(key) < len(query):  # one source that several rows read
        key, value = (part.expand(len(query), -1, -1, -1) for part in (key, value))
    query = tap.at("q", query.transpose(1, 2)).transpose(1, 2)
    key = tap.at("k", key.transpose(1, 2)).transpose(1, 2)
    value = tap.at("v", value.transpose(1, 2)).transpose(1, 2)
    if tap.past is not None:
        key = torch.cat([tap.past[0].expand(len(key), -1, -1, -1), key], dim=2)
        value = torch.cat([tap.past[1].expand(len(value), -1, -1, -1), value], dim=2)
    batch, n_heads, n_dest, d_head = query.shape
    n_kv, n_src = key.shape[1], key.shape[2]
    scale = d_head**-0.5 if scaling is None else scaling
    # The query heads that share a key are stacked as rows of one product, which spares copying the key for each.
    stacked = query.reshape(batch, n_kv, -1, d_head)
    products = torch.matmul(stacked, key.transpose(2, 3)).view(batch, n_heads, n_dest, n_src)
    scores = products * scale if divisor is None else products / divisor
    if bias is not None:
        scores = scores + bias
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if mask is not None:
        scores = scores + mask[..., :n_src]
    scores = tap.at("scores", scores)
    pattern = tap.at("pattern", _softmax(scores, sinks, is_upcast=is_upcast).to(value.dtype))
    z = torch.matmul(pattern.reshape(batch, n_kv, -1, n_src), value).view(batch, n_heads, n_dest, -1)
    return tap.at("z", z.transpose(1, 2)), pattern


def _softmax(scores: Tensor, sinks: Tensor | None, *, is_upcast: bool) -> Tensor:
    dtype = torch.float32 if is_upcast else scores.dtype
    if sinks is None:
        return torch.softmax(scores, dim=-1, dtype=dtype)
    column = sinks.reshape(1, -1, 1, 1).expand(*scores.shape[:3], 1)
    return torch.softmax(torch.cat([scores, column], dim=-1), dim=-1, dtype=dtype)[..., :-1]


def _eager_of(module: nn.Module) -> Any:
    return sys.modules[type(module).__module__].eager_attention_forward


def _is_upcast(eager: Any, module: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Ask the model's own eager function, once, whether its softmax runs in float32 on float64 numbers too.

    On narrower numbers torch's softmax computes in float32 anyway, so that both give the same.
    """
    if query.dtype != torch.float64:
        return False
    if eager not in _upcasting:
        parts = [part[:1, :, :1].detach() for part in (query, key, value)]
        several = [torch.cat([part, part * 0.5, part * 0.25], dim=2) for part in parts]
        weights = eager(module, *several, None, scaling=1.0)[1]
        _upcasting[eager] = bool((weights.float().double() == weights).all())
    return _upcasting[eager]


# What was asked once: it depends on the function alone.
_upcasting: dict[object, bool] = {}
