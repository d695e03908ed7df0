"""Recognising the parts of one block by the names that model families give them.

Refuses: guessing at numbers. Whether the parts were understood is checked by running the model (`tlab.engine.verify`).
"""

from __future__ import annotations

import inspect
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tlab.anatomy.parts import Attention, Block, Mlp, Projection
from tlab.anatomy.special import special_attention

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

__all__ = ["UnknownLayer", "block_of"]

_ATTENTION = ("self_attn", "attn", "attention", "self_attention")
_OUTPUTS = ("o_proj", "out_proj", "c_proj", "dense", "o", "Wo", "out_lin")
_MLPS = ("mlp", "ffn", "block_sparse_moe", "feed_forward")
# (layer into the neurons, layer out of them)
_PAIRS = (
    ("c_fc", "c_proj"),
    ("fc1", "fc2"),
    ("fc_in", "fc_out"),
    ("dense_h_to_4h", "dense_4h_to_h"),
    ("up_proj", "down_proj"),
    ("wi", "wo"),
    ("lin1", "lin2"),
)
_ACTIVATIONS = ("act_fn", "act", "activation_fn", "activation", "gelu_impl", "intermediate_act_fn")


# The blocks' names of arguments → the names that attention modules have for them.
_SELF = MappingProxyType({"attention_mask": ("attention_mask", "mask")})
_CROSS = MappingProxyType(
    {
        "encoder_hidden_states": ("key_value_states", "encoder_hidden_states"),
        "encoder_attention_mask": ("attention_mask", "mask"),
        "encoder_decoder_position_bias": ("position_bias",),
    }
)


class UnknownLayer(Exception):
    """A block whose parts have names that no known family uses; its text says which part."""


def block_of(layer: Any, *, n_heads: int, is_rotary: bool) -> Block:
    """Return the parts of one of Hugging Face's blocks and how they are wired.

    Raises:
        UnknownLayer: a part was not found.

    """
    kind = type(layer).__name__
    if hasattr(layer, "layer"):  # T5 and its kin
        return _t5_block(layer, n_heads)
    if hasattr(layer, "intermediate") and hasattr(layer, "output"):  # BERT and its kin
        return _bert_block(layer, n_heads)
    attn = _attention(_first(layer, _ATTENTION, "attention", kind), n_heads, is_rotary=is_rotary)
    holder = next((getattr(layer, name) for name in _MLPS if hasattr(layer, name)), None)
    if holder is None and hasattr(layer, "fc1"):
        holder = layer
    mlp = None if holder is None else _mlp(holder)
    cross = None
    if getattr(layer, "encoder_attn", None) is not None:
        cross = _attention(layer.encoder_attn, n_heads, is_rotary=False, renamed=_CROSS)
    norms, is_parallel = _norms(layer, has_mlp=mlp is not None)
    return Block(
        attn=attn,
        mlp=mlp,
        norms=norms,
        cross=cross,
        is_parallel=is_parallel,
        scale=float(getattr(layer, "residual_multiplier", 1.0)),
        adds_to_normed=bool(getattr(layer, "apply_residual_connection_post_layernorm", False)),
    )


def _first(owner: Any, names: tuple[str, ...], part: str, where: str) -> Any:
    for name in names:
        found = getattr(owner, name, None)
        if found is not None:
            return found
    raise UnknownLayer(f"no {part} in {where}")


def _attention(
    module: Any,
    n_heads: int,
    *,
    is_rotary: bool,
    renamed: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
    out: Any = None,
) -> Attention:
    module = getattr(module, "attention", module)  # GPT-Neo wraps it once more
    projects_itself = out is None
    if out is None:
        out = _first(module, _OUTPUTS, "output projection", type(module).__name__)
    d_head = _width(out, "in") // n_heads
    accepted = inspect.signature(type(module).forward).parameters
    return Attention(
        module=module,
        out=out,
        n_heads=n_heads,
        d_head=d_head,
        is_rotary=is_rotary,
        projections=_projections(module, n_heads, d_head) if is_rotary else {},
        call=special_attention(module),
        renamed={name: next((new for new in names if new in accepted), name) for name, names in renamed.items()},
        projects_itself=projects_itself,
        is_cross=renamed is _CROSS,
        # UMT5 computes its relative positions inside, from the number of positions that it is given.
        can_start_late=type(module).__name__ != "UMT5Attention",
    )


def _projections(module: Any, n_heads: int, d_head: int) -> dict[str, Projection]:
    def whole(tensor: Tensor) -> Tensor:
        return tensor.view(*tensor.shape[:-1], -1, d_head)

    if hasattr(module, "q_proj") and hasattr(module, "k_proj"):
        return {"q": Projection(module.q_proj, whole), "k": Projection(module.k_proj, whole)}
    if hasattr(module, "qkv_proj") and type(module).__name__ != "CodeGenAttention":
        n_query = n_heads * d_head
        n_key = (_width(module.qkv_proj, "out") - n_query) // 2
        return {
            "q": Projection(module.qkv_proj, lambda tensor: whole(tensor[..., :n_query])),
            "k": Projection(module.qkv_proj, lambda tensor: whole(tensor[..., n_query : n_query + n_key])),
        }
    if type(module).__name__ in {"GPTNeoXAttention", "PersimmonAttention"}:

        def part(index: int) -> Callable[[Tensor], Tensor]:
            return lambda tensor: tensor.view(*tensor.shape[:-1], n_heads, 3, d_head)[..., index, :]

        return {"q": Projection(module.query_key_value, part(0)), "k": Projection(module.query_key_value, part(1))}
    return {}


def _mlp(module: Any) -> Mlp:
    act = next((getattr(module, name) for name in _ACTIVATIONS if hasattr(module, name)), None)
    if act is not None:
        for gate, up, down in (("gate_proj", "up_proj", "down_proj"), ("wi_0", "wi_1", "wo")):
            if all(hasattr(module, name) for name in (gate, up, down)):
                pair = _two(getattr(module, gate), getattr(module, up))
                return Mlp(up=pair, act=act, down=getattr(module, down), is_gated=True)
        for fused, down in (("gate_up_proj", "down_proj"), ("Wi", "Wo")):
            if hasattr(module, fused) and hasattr(module, down):
                return Mlp(up=_halves(getattr(module, fused)), act=act, down=getattr(module, down), is_gated=True)
        for up, down in _PAIRS:
            if hasattr(module, up) and hasattr(module, down):
                return Mlp(up=_one(getattr(module, up)), act=act, down=getattr(module, down))
    if getattr(module, "forward", None) is None or hasattr(module, "self_attn"):
        raise UnknownLayer(f"no MLP in {type(module).__name__}")
    return Mlp(up=None, act=None, down=None, whole=module)


def _one(up: nn.Module) -> Callable[[Tensor], tuple[Tensor, Tensor | None]]:
    return lambda stream: (up(stream), None)


def _two(gate: nn.Module, up: nn.Module) -> Callable[[Tensor], tuple[Tensor, Tensor | None]]:
    return lambda stream: (gate(stream), up(stream))


def _halves(fused: nn.Module) -> Callable[[Tensor], tuple[Tensor, Tensor | None]]:
    def up(stream: Tensor) -> tuple[Tensor, Tensor | None]:
        first, second = fused(stream).chunk(2, dim=-1)
        return first, second

    return up


def _norms(layer: Any, *, has_mlp: bool) -> tuple[dict[str, nn.Module], bool]:
    """Return the norms by place, and whether attention and MLP are parallel."""
    have = {name for name, _ in layer.named_children() if getattr(layer, name) is not None}
    for names, places in _NORM_SCHEMES:
        if set(names) <= have:
            norms = {place: getattr(layer, name) for name, place in zip(names, places, strict=True)}
            break
    else:
        if has_mlp and not _without_norms(have):
            raise UnknownLayer(f"no norms in {type(layer).__name__}")
        norms = {}
    if getattr(layer, "encoder_attn_layer_norm", None) is not None and getattr(layer, "encoder_attn", None) is not None:
        norms["cross"] = layer.encoder_attn_layer_norm
    # OPT's setting, and the names of the families that norm after adding.
    is_before = getattr(layer, "do_layer_norm_before", type(layer).__name__ not in _NORM_AFTER)
    if not is_before:
        norms = {f"{place}_sum": norm for place, norm in norms.items()}
    return norms, _is_parallel(layer, norms) and has_mlp


def _without_norms(have: set[str]) -> bool:
    return not any("norm" in name or name.startswith("ln") for name in have)


def _is_parallel(layer: Any, norms: dict[str, nn.Module]) -> bool:
    for owner in (layer, getattr(layer, "config", None)):
        for name in ("use_parallel_residual", "parallel_attn"):
            stated = getattr(owner, name, None)
            if stated is not None:
                return bool(stated) or bool(getattr(owner, "new_decoder_architecture", False))
    # One norm before both, and none between them.
    return set(norms) == {"attn"}


# The first scheme whose names are all there holds: longer ones stand first.
_NORM_SCHEMES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (
        ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"),
        ("attn", "attn_post", "mlp", "mlp_post"),
    ),
    (
        ("input_layernorm", "post_self_attn_layernorm", "post_attention_layernorm", "post_mlp_layernorm"),
        ("attn", "attn_post", "mlp", "mlp_post"),
    ),
    (("input_layernorm", "pre_feedforward_layernorm"), ("attn", "mlp")),
    (("post_attention_layernorm", "post_feedforward_layernorm"), ("attn_post", "mlp_post")),
    (("input_layernorm", "post_attention_layernorm"), ("attn", "mlp")),
    (("attention_layernorm", "feedforward_layernorm"), ("attn", "mlp")),
    (("ln_attn", "ln_mlp"), ("attn", "mlp")),
    (("ln_1", "ln_2"), ("attn", "mlp")),
    (("ln1", "ln2"), ("attn", "mlp")),
    (("norm_1", "norm_2"), ("attn", "mlp")),
    (("attn_norm", "mlp_norm"), ("attn", "mlp")),
    (("self_attn_layer_norm", "final_layer_norm"), ("attn", "mlp")),
    (("sa_layer_norm", "output_layer_norm"), ("attn", "mlp")),
    (("input_layernorm",), ("attn",)),
    (("ln_1",), ("attn",)),
    (("ln1",), ("attn",)),
)
_NORM_AFTER = frozenset(
    {"BartEncoderLayer", "BartDecoderLayer", "MarianEncoderLayer", "MarianDecoderLayer", "TransformerBlock"}
)


def _bert_block(layer: Any, n_heads: int) -> Block:
    own = layer.attention
    if not hasattr(own, "self"):
        raise UnknownLayer(f"no self-attention in {type(own).__name__}")
    attn = _attention(own.self, n_heads, is_rotary=False, out=own.output.dense)
    act = layer.intermediate.intermediate_act_fn
    mlp = Mlp(up=_one(layer.intermediate.dense), act=act, down=layer.output.dense)
    if hasattr(own, "LayerNorm"):  # the variant that norms before
        norms = {"attn": own.LayerNorm, "mlp": layer.intermediate.LayerNorm}
    else:
        norms = {"attn_sum": own.output.LayerNorm, "mlp_sum": layer.output.LayerNorm}
    return Block(attn=attn, mlp=mlp, norms=norms)


def _t5_block(layer: Any, n_heads: int) -> Block:
    parts = list(layer.layer)
    attn = _attention(parts[0].SelfAttention, n_heads, is_rotary=False, renamed=_SELF)
    feed = parts[-1]
    norms = {"attn": parts[0].layer_norm, "mlp": feed.layer_norm}
    cross = None
    if hasattr(parts[1], "EncDecAttention"):
        cross = _attention(parts[1].EncDecAttention, n_heads, is_rotary=False, renamed=_CROSS)
        norms["cross"] = parts[1].layer_norm
    return Block(attn=attn, mlp=_mlp(feed.DenseReluDense), norms=norms, cross=cross)


def _width(linear: Any, side: str) -> int:
    rows, columns = linear.weight.shape
    is_input_first = type(linear).__name__ == "Conv1D"
    return int(rows if (side == "in") == is_input_first else columns)
