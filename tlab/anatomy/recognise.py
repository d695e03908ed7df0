"""Finding the parts of a Hugging Face model: its stacks of blocks, its embedding, its way to logits.

Refuses: models whose parts it does not find; it says which part was missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from tlab.anatomy.attention import NAME, register
from tlab.anatomy.entrance import Entrance
from tlab.anatomy.layers import UnknownLayer, block_of
from tlab.anatomy.parts import Anatomy, Stack, Unembed

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

__all__ = ["adopt", "anatomy_of"]

_LISTS = ("layers", "h", "blocks", "block", "layer")
_FINAL_NORMS = (
    "norm",
    "LayerNorm",
    "ln_f",
    "final_layernorm",
    "final_layer_norm",
    "layer_norm",
    "norm_f",
    "final_norm",
)
# Families with rotary positions that keep them inside the attention module.
_ROTARY_INSIDE = frozenset({"gptj", "codegen"})


def adopt(hf: Any) -> None:
    """Let the model's attention run through our function; by itself it gives the same numbers as before."""
    register()
    for module in hf.modules():
        config = getattr(module, "config", None)
        if config is not None and getattr(config, "_attn_implementation", None) != NAME:
            # transformers offers no public setter that would take the name of somebody's own function.
            config._attn_implementation = NAME  # noqa: SLF001


def anatomy_of(hf: Any) -> Anatomy:
    """Return the parts of a model.

    Raises:
        UnknownLayer: a part was not found.

    """
    config = hf.config
    if config.is_encoder_decoder:
        base = hf.model if hasattr(hf, "model") else hf
        encoder = _stack(base.encoder, config, is_causal=False)
        decoder = _stack(base.decoder, config, is_causal=True)
        return Anatomy("encoder-decoder", decoder, base.decoder.get_input_embeddings(), _unembed(hf, config), encoder)
    base = hf.base_model
    base = getattr(base, "decoder", None) or base  # OPT's decoder lies one deeper
    is_encoder = not _predicts_next(hf)
    stack = _stack(base, config, is_causal=not is_encoder)
    family = "encoder" if is_encoder else "decoder"
    return Anatomy(family, stack, base.get_input_embeddings(), _unembed(hf, config))


def _predicts_next(hf: Any) -> bool:
    kind = type(hf).__name__
    return kind.endswith(("ForCausalLM", "LMHeadModel")) and not getattr(hf.config, "is_bidirectional", False)


def _stack(entrance: Any, config: Any, *, is_causal: bool) -> Stack:
    path = _path_to_blocks(entrance)
    owner: Any = entrance
    for name in path[:-1]:
        owner = getattr(owner, name)
    layers = getattr(owner, path[-1])
    is_rotary = hasattr(entrance, "rotary_emb") or config.model_type in _ROTARY_INSIDE
    if config.model_type == "falcon":
        is_rotary = not config.alibi
    n_heads = _n_heads(entrance, config)
    blocks = tuple(block_of(layer, n_heads=n_heads, is_rotary=is_rotary) for layer in layers)
    post_norm = any(place.endswith("_sum") for place in blocks[0].norms)
    final = None if post_norm else _final_norm(owner, entrance)
    return Stack(Entrance(entrance, path), blocks, final, is_causal, getattr(owner, "project_out", None))


def _final_norm(*owners: Any) -> Any:
    found = (getattr(owner, name, None) for owner in owners for name in _FINAL_NORMS)
    return next((norm for norm in found if norm is not None), None)


def _path_to_blocks(entrance: Any) -> tuple[str, ...]:
    for inner in ((), ("encoder",), ("transformer",), ("decoder",)):
        owner: Any = entrance
        for name in inner:
            owner = getattr(owner, name, None)
        for name in _LISTS:
            if isinstance(getattr(owner, name, None), nn.ModuleList):
                return (*inner, name)
    raise UnknownLayer(f"no list of blocks in {type(entrance).__name__}")


def _n_heads(entrance: Any, config: Any) -> int:
    is_decoder = config.is_encoder_decoder and getattr(entrance, "is_decoder", "Decoder" in type(entrance).__name__)
    for name in (("decoder_attention_heads",) if is_decoder else ()) + ("num_attention_heads", "num_heads"):
        found = getattr(config, name, None)
        if found is not None:
            return int(found)
    raise UnknownLayer(f"no number of heads in {type(config).__name__}")


def _unembed(hf: Any, config: Any) -> Unembed | None:
    linear = hf.get_output_embeddings()
    if linear is None:
        return None
    scale = float(getattr(config, "logit_scale", None) or 1.0) / float(getattr(config, "logits_scaling", None) or 1.0)
    softcap = getattr(config, "final_logit_softcapping", None)
    head, is_linear = _head(hf, linear)
    input_scale = 1.0
    if getattr(config, "scale_decoder_outputs", config.model_type == "umt5" and config.tie_word_embeddings):
        input_scale = float(config.d_model) ** -0.5
    return Unembed(
        head=head,
        linear=linear,
        is_linear=is_linear,
        scale=scale,
        input_scale=input_scale,
        softcap=softcap,
        bias=getattr(hf, "final_logits_bias", None),
    )


def _head(hf: Any, linear: Any) -> tuple[Callable[[Tensor], Tensor], bool]:
    """Return what leads from the last stream to logits, and whether it is one linear layer."""
    for name in ("cls", "lm_head", "predictions"):
        module = getattr(hf, name, None)
        if module is not None and module is not linear:
            return module, False
    if hasattr(hf, "vocab_projector"):  # DistilBERT
        return lambda x: linear(hf.vocab_layer_norm(hf.activation(hf.vocab_transform(x)))), False
    if hasattr(hf, "generator_predictions"):  # ELECTRA
        return lambda x: linear(hf.generator_predictions(x)), False
    if hasattr(hf, "head") and hasattr(hf, "decoder"):  # ModernBERT
        return lambda x: linear(hf.head(x)), False
    return linear, True
