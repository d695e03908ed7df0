"""Where Hugging Face's modules stand in each architecture that plain code can be written for: names, no modules.

Refuses: architectures whose code has not been compared with a real run. A guessed path would give code that lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlab.errors import UnknownModel, UnknownOption, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ARCHITECTURES", "Layout", "Names", "layout_of"]


@dataclass(frozen=True)
class Names:
    """What one architecture calls its parts; paths within a block start at the block.

    Args:
        blocks: path of the list of blocks.
        embed: path of the token embedding.
        norm: path of the final norm.
        attn: the attention module.
        out: its output projection; what enters it is all heads' z side by side.
        queries: the projection to queries, within the attention module.
        keys: likewise; the same module as `queries` where one projection makes all three.
        values: likewise.
        ln1: the norm before attention.
        ln2: the norm before the MLP.
        mlp: the MLP.
        pre: the layer whose output enters the activation.
        pre_linear: the layer whose output multiplies it in a gated MLP.
        down: the layer out of the neurons.
        is_transposed: whether weights are stored as `in out` (GPT-2's Conv1D) instead of torch's `out in`.
        is_rms: whether the norms divide by the root mean square and neither centre nor shift.
        epsilon: the norms' attribute for the small number under the root.
        plus_one: whether a norm multiplies with one more than its weight (Gemma).
        output_bias: whether the output projection adds a bias; the configuration's name for it where it says so.
        has_head_norms: whether queries and keys are normed by head behind their projections.
        rotary: path of what turns queries and keys by their positions; `None` where positions are embedded.

    """

    blocks: str = "model.layers"
    embed: str = "model.embed_tokens"
    norm: str = "model.norm"
    attn: str = "self_attn"
    out: str = "self_attn.o_proj"
    queries: str = "q_proj"
    keys: str = "k_proj"
    values: str = "v_proj"
    ln1: str = "input_layernorm"
    ln2: str = "post_attention_layernorm"
    mlp: str = "mlp"
    pre: str = "mlp.gate_proj"
    pre_linear: str | None = "mlp.up_proj"
    down: str = "mlp.down_proj"
    is_transposed: bool = False
    is_rms: bool = True
    epsilon: str = "variance_epsilon"
    plus_one: bool = False
    output_bias: bool | str = False
    has_head_norms: bool = False
    rotary: str | None = "model.rotary_emb"


ARCHITECTURES: dict[str, Names] = {
    "gpt2": Names(
        blocks="transformer.h",
        embed="transformer.wte",
        norm="transformer.ln_f",
        attn="attn",
        out="attn.c_proj",
        queries="c_attn",
        keys="c_attn",
        values="c_attn",
        ln1="ln_1",
        ln2="ln_2",
        pre="mlp.c_fc",
        pre_linear=None,
        down="mlp.c_proj",
        is_transposed=True,
        is_rms=False,
        epsilon="eps",
        output_bias=True,
        rotary=None,
    ),
    "gemma": Names(epsilon="eps", plus_one=True, output_bias="attention_bias"),
    "llama": Names(output_bias="attention_bias"),
    "mistral": Names(),
    "qwen2": Names(),
    "qwen3": Names(output_bias="attention_bias", has_head_norms=True),
    "smollm3": Names(output_bias="attention_bias"),
    "starcoder2": Names(
        pre="mlp.c_fc", pre_linear=None, down="mlp.c_proj", is_rms=False, epsilon="eps", output_bias="use_bias"
    ),
}


@dataclass(frozen=True)
class Layout:
    """One model's names and sizes.

    Args:
        architecture: Hugging Face's `model_type`.
        names: what its parts are called.
        n_layers: number of blocks.
        n_heads: number of query heads in each.
        n_kv_heads: number of key/value heads in each.
        d_head: width of one head.
        d_vocab: number of tokens.
        has_output_bias: whether attention's output projection adds a bias.
        windows: for each layer how many positions its attention sees, its own among them; `None` for all before it.
        is_turned: for each layer whether queries and keys are turned by their positions.
        has_plain_scores: whether scores are products of queries and keys over the root of the head's width.

    """

    architecture: str
    names: Names
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_vocab: int
    has_output_bias: bool
    windows: tuple[int | None, ...] = ()
    is_turned: tuple[bool, ...] = ()
    has_plain_scores: bool = True

    @property
    def is_fused(self) -> bool:
        """Whether one projection makes queries, keys and values."""
        return self.names.queries == self.names.keys


def layout_of(config: Mapping[str, Any]) -> Layout:
    """Return the layout of the model that a Hugging Face configuration describes.

    Raises:
        UnknownOption: it is of an architecture for which no plain code is written.

    """
    architecture = config.get("model_type")
    names = ARCHITECTURES.get(architecture) if isinstance(architecture, str) else None
    if not isinstance(architecture, str) or names is None:
        known = ", ".join(ARCHITECTURES)
        raise UnknownOption(
            f"code refused: expected an architecture among {known}, got {shown(architecture)} at model_type; "
            f"take a model of one of these"
        )
    return _sized(config, architecture, names)


def _sized(config: Mapping[str, Any], architecture: str, names: Names) -> Layout:
    n_heads = _size(config, "num_attention_heads", "n_head")
    width = _size(config, "hidden_size", "n_embd")
    n_layers = _size(config, "num_hidden_layers", "n_layer")
    return Layout(
        architecture=architecture,
        names=names,
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=int(config.get("num_key_value_heads") or n_heads),
        d_head=int(config.get("head_dim") or width // n_heads),
        d_vocab=_size(config, "vocab_size"),
        has_output_bias=names.output_bias is True or bool(config.get(str(names.output_bias), False)),
        windows=_windows(config, n_layers),
        is_turned=_turned(config, n_layers) if names.rotary else (False,) * n_layers,
        has_plain_scores=bool(config.get("scale_attn_weights", True))
        and not config.get("scale_attn_by_inverse_layer_idx", False),
    )


def _windows(config: Mapping[str, Any], n_layers: int) -> tuple[int | None, ...]:
    """Return how far back each layer's attention sees."""
    # Models that can be told not to use their window say layer by layer where they do; the others use it in all.
    width, is_used = config.get("sliding_window"), config.get("use_sliding_window")
    if not isinstance(width, int) or is_used is False:
        return (None,) * n_layers
    kinds = config.get("layer_types") if is_used else None
    return tuple(width if kinds is None or kinds[layer] == "sliding_attention" else None for layer in range(n_layers))


def _turned(config: Mapping[str, Any], n_layers: int) -> tuple[bool, ...]:
    """Return in which layers queries and keys are turned; the configuration's list has a 1 where they are."""
    listed = config.get("no_rope_layers") or (1,) * n_layers
    return tuple(bool(listed[layer]) for layer in range(n_layers))


def _size(config: Mapping[str, Any], *keys: str) -> int:
    for key in keys:
        if isinstance(config.get(key), int):
            return int(config[key])
    raise UnknownModel(
        f"model unreadable: expected a whole number at {keys[0]}, got {shown(config.get(keys[0]))} in its config; "
        f"check what the folder holds"
    )
