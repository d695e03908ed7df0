"""Attention layers that do not go through transformers' common attention function: their own, written once more.

Each function takes (tap, normed stream, the block's arguments) and returns what the layer writes to the stream.
Source: the modules of the same name in transformers 5, `models/{bloom,falcon,gptj,gpt_neo,codegen,mpt}`.
"""

from __future__ import annotations

import functools
import importlib
import math
from typing import TYPE_CHECKING, Any

import torch

from tlab.anatomy.attention import attend

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from tlab.anatomy.attention import Tap

__all__ = ["special_attention"]


def special_attention(module: Any) -> Callable[[Tap, Tensor, dict[str, Any]], Tensor] | None:
    """Return the function for a module that needs one, else `None`."""
    kinds = {
        "BloomAttention": _bloom,
        "FalconAttention": _falcon,
        "GPTJAttention": _gptj,
        "CodeGenAttention": _gptj,
        "GPTNeoSelfAttention": _gpt_neo,
        "MptAttention": _mpt,
        "XGLMAttention": _xglm,
    }
    kind = kinds.get(type(module).__name__)
    return None if kind is None else functools.partial(kind, module)


def _merged(z: Tensor) -> Tensor:
    return z.reshape(*z.shape[:2], -1)


def _bloom(module: Any, tap: Tap, stream: Tensor, arguments: dict[str, Any]) -> Tensor:
    query, key, value = module._reshape(module.query_key_value(stream))  # noqa: SLF001
    alibi = arguments["alibi"]
    slopes = alibi.view(-1, module.num_heads, 1, alibi.shape[-1])
    z, _ = attend(
        tap,
        query,
        key,
        value,
        arguments["attention_mask"],
        scaling=module.inv_norm_factor,
        bias=slopes,
        is_upcast=True,
    )
    return module.dense(_merged(z))  # type: ignore[no-any-return]


def _falcon(module: Any, tap: Tap, stream: Tensor, arguments: dict[str, Any]) -> Tensor:
    query, key, value = (
        part.transpose(1, 2)
        for part in module._split_heads(module.query_key_value(stream))  # noqa: SLF001
    )
    alibi, bias = arguments["alibi"], None
    if alibi is None:
        cos, sin = arguments["position_embeddings"]
        rotate = importlib.import_module(type(module).__module__).apply_rotary_pos_emb
        query, key = rotate(query, key, cos, sin)
    else:
        bias = alibi.view(-1, module.num_heads, 1, alibi.shape[-1]) * module.inv_norm_factor
    z, _ = attend(
        tap, query, key, value, arguments["attention_mask"], scaling=1 / math.sqrt(module.head_dim), bias=bias
    )
    return module.dense(_merged(z))  # type: ignore[no-any-return]


def _gptj(module: Any, tap: Tap, stream: Tensor, arguments: dict[str, Any]) -> Tensor:
    if hasattr(module, "qkv_proj"):  # CodeGen
        mp_num = 4
        fused = module.qkv_proj(stream)
        split = fused.reshape(*fused.shape[:-1], mp_num, -1)
        local_dim = module.head_dim * module.num_attention_heads // mp_num
        query, value, key = (
            part.reshape(*stream.shape[:2], module.num_attention_heads, module.head_dim)
            for part in torch.split(split, local_dim, dim=-1)
        )
    else:
        query, key, value = (
            projection(stream).view(*stream.shape[:2], module.num_attention_heads, module.head_dim)
            for projection in (module.q_proj, module.k_proj, module.v_proj)
        )
    rotate = importlib.import_module(type(module).__module__).apply_rotary_pos_emb
    positions = arguments["position_ids"]
    sin, cos = module.embed_positions.to(positions.device)[positions].to(key.dtype).chunk(2, dim=-1)
    turned = []
    for part in (query, key):
        if module.rotary_dim is None:
            turned.append(rotate(part, sin, cos))
        else:
            rotated = rotate(part[..., : module.rotary_dim], sin, cos)
            turned.append(torch.cat([rotated, part[..., module.rotary_dim :]], dim=-1))
    query, key = (part.transpose(1, 2).to(torch.float32) for part in turned)
    z, _ = attend(
        tap,
        query,
        key,
        value.transpose(1, 2),
        arguments["attention_mask"],
        divisor=float(module.scale_attn),
    )
    return module.out_proj(_merged(z))  # type: ignore[no-any-return]


def _gpt_neo(module: Any, tap: Tap, stream: Tensor, arguments: dict[str, Any]) -> Tensor:
    query, key, value = (
        projection(stream).view(*stream.shape[:2], module.num_heads, module.head_dim).transpose(1, 2)
        for projection in (module.q_proj, module.k_proj, module.v_proj)
    )
    n_dest = stream.shape[1]
    n_src = n_dest if tap.past is None else n_dest + tap.past[0].shape[2]
    # Local layers see a window only; the mask that the model hands down is the causal one for all layers.
    window = module.bias[:, :, n_src - n_dest : n_src, :n_src]
    forbidden = torch.zeros_like(window, dtype=torch.float32).masked_fill(~window, torch.finfo(torch.float32).min)
    z, _ = attend(tap, query.float(), key.float(), value, arguments["attention_mask"], scaling=1.0, bias=forbidden)
    return module.out_proj(_merged(z))  # type: ignore[no-any-return]


def _mpt(module: Any, tap: Tap, stream: Tensor, arguments: dict[str, Any]) -> Tensor:
    fused = module.Wqkv(stream)
    if module.clip_qkv:
        fused = fused.clamp(min=-module.clip_qkv, max=module.clip_qkv)
    query, key, value = (
        part.reshape(*stream.shape[:2], module.n_heads, module.head_dim).transpose(1, 2) for part in fused.chunk(3, -1)
    )
    forbidden = arguments["attention_mask"]
    lowest = torch.finfo(query.dtype).min
    mask = torch.zeros(forbidden.shape, dtype=query.dtype, device=query.device).masked_fill(forbidden, lowest)
    slopes = arguments["position_bias"][:, :, -forbidden.shape[-1] :]
    z, _ = attend(tap, query, key, value, mask, scaling=module.softmax_scale, bias=slopes, is_upcast=True)
    return module.out_proj(_merged(z))  # type: ignore[no-any-return]


def _xglm(module: Any, tap: Tap, stream: Tensor, arguments: dict[str, Any]) -> Tensor:
    query, key, value = (
        projection(stream).view(*stream.shape[:2], module.num_heads, module.head_dim).transpose(1, 2)
        for projection in (module.q_proj, module.k_proj, module.v_proj)
    )
    z, _ = attend(tap, query * module.scaling, key, value, arguments["attention_mask"], scaling=1.0)
    return module.out_proj(_merged(z))  # type: ignore[no-any-return]
