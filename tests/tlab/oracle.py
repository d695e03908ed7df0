"""What plain Hugging Face says of a zoo's model, by torch's own hooks on module paths read from the modelling files.

It owns the second opinion and imports nothing from tlab, so that an adapter's table is never compared with itself.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from zoo import SPECIMENS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from transformers import PreTrainedModel

__all__ = [
    "Part",
    "Paths",
    "Stack",
    "ablate_attn",
    "ablate_head",
    "ablate_mlp",
    "attentions",
    "contribution",
    "halved_scores",
    "hidden_states",
    "logits",
    "merged_z",
    "module_at",
    "paths",
    "replaced",
    "residuals",
    "stacks",
]

Part = Literal["attn", "cross", "mlp"]
Stack = Literal["decoder", "encoder"]


@dataclass(frozen=True)
class Paths:
    """Where one stack of blocks keeps its parts; every path but `blocks` starts at a block.

    `attn`, `cross` and `mlp` are the modules whose output, times the config's `multiplier` if it has one, is added to
    the residual stream. `attn_proj` takes the heads' merged outputs; it is `attn` itself unless a norm stands behind
    it. `norms` stand behind the additions, in their order. `chain` is `sum` (one stream, with or without norms behind
    the additions) or `through-norms` (what the norm in front of a part gives is the stream that the part adds to).
    A `shared` block is called once a layer.
    """

    blocks: str
    attn: str
    mlp: str
    attn_proj: str = ""
    cross: str | None = None
    norms: tuple[str, ...] = ()
    multiplier: str | None = None
    chain: Literal["sum", "through-norms"] = "sum"
    parallel: bool = False
    shared: bool = False


def stacks(name: str) -> tuple[Stack, ...]:
    """The stacks of an architecture, in the order in which they run."""
    family = SPECIMENS[name].family
    return ("encoder", "decoder") if family == "encoder-decoder" else (family,)


def paths(name: str, stack: Stack | None = None) -> Paths:
    """Where an architecture keeps its parts; of an encoder-decoder the decoder, unless told otherwise."""
    stack = stack or stacks(name)[-1]
    if name in _TWO_STACKS:
        found = _TWO_STACKS[name]
        if stack == "encoder":
            found = replace(found, cross=None, mlp=found.mlp.replace("layer.2", "layer.1"))
            found = replace(found, norms=tuple(norm for norm in found.norms if "encoder_attn" not in norm))
        return replace(found, blocks=found.blocks.format(stack=stack))
    return _ONE_STACK.get(name, _LLAMA)


def logits(hf: PreTrainedModel, ids: Tensor, *, decoder_ids: Tensor | None = None) -> Tensor:
    """The logits [batch, pos, d_vocab] of an untouched run; without `decoder_ids` a decoder sees its start token."""
    found: Tensor = _forward(hf, ids, decoder_ids).logits
    return found


def hidden_states(
    hf: PreTrainedModel, ids: Tensor, *, stack: Stack | None = None, decoder_ids: Tensor | None = None
) -> tuple[Tensor, ...]:
    """What Hugging Face calls hidden states: each block's input, and behind the last block what its last norm gives."""
    return _output(hf, ids, decoder_ids, stack, "hidden_states")


def attentions(
    hf: PreTrainedModel,
    ids: Tensor,
    *,
    stack: Stack | None = None,
    cross: bool = False,
    decoder_ids: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Every layer's patterns [batch, head, dest_pos, src_pos]; `cross` gives the decoder's over the encoder."""
    if cross:
        return tuple(_forward(hf, ids, decoder_ids, output_attentions=True).cross_attentions)
    return _output(hf, ids, decoder_ids, stack, "attentions")


def halved_scores(hf: PreTrainedModel, name: str, pattern: Tensor, layer: int) -> Tensor:
    """The pattern that half of the scores behind `pattern` make, in a layer whose scores nobody sees.

    A softmax keeps the ratios of exp(score), so that half of the scores is the root of the pattern, and the rows are
    made to sum to 1 again. A learned sink k takes part in the softmax and is dropped from the pattern. A row then lacks
    1 - sum p = exp(k) / Z of being whole, which makes exp(score) = p exp(k) / (1 - sum p); the sink is not halved.
    """
    parameters = _block(hf, paths(name), layer).named_parameters()
    sinks = [value.detach() for key, value in parameters if key.rpartition(".")[2] == "sinks"]
    if not sinks:
        return pattern.sqrt() / pattern.sqrt().sum(-1, keepdim=True)
    sink = sinks[0].exp().reshape(1, -1, 1, 1)
    exponentials = pattern * sink / (1 - pattern.sum(-1, keepdim=True))
    return exponentials.sqrt() / (exponentials.sqrt().sum(-1, keepdim=True) + sink)


def residuals(
    hf: PreTrainedModel,
    name: str,
    ids: Tensor,
    layer: int,
    *,
    stack: Stack | None = None,
    decoder_ids: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The residual stream [batch, pos, d_model] at a block's input and at its output."""
    where, seen = paths(name, stack), dict[str, Tensor]()
    with (
        _intercepted(hf, where, layer, "", lambda pre: seen.update(pre=pre), before=True),
        _intercepted(hf, where, layer, "", lambda post: seen.update(post=post)),
    ):
        _forward(hf, ids, decoder_ids)
    return seen["pre"], seen["post"]


def contribution(
    hf: PreTrainedModel,
    name: str,
    ids: Tensor,
    layer: int,
    part: Part,
    *,
    stack: Stack | None = None,
    decoder_ids: Tensor | None = None,
) -> Tensor:
    """What a part adds to the residual stream [batch, pos, d_model], behind the part's own norm and multiplier."""
    where, seen = paths(name, stack), dict[str, Tensor]()
    with _intercepted(hf, where, layer, _part(where, part), lambda added: seen.update(added=added)):
        _forward(hf, ids, decoder_ids)
    multiplier = getattr(hf.config, where.multiplier) if where.multiplier else 1.0
    # OPT's MLP sees batch and positions as one axis.
    return seen["added"].reshape(len(ids), -1, seen["added"].shape[-1]) * multiplier


def replaced(
    hf: PreTrainedModel,
    name: str,
    ids: Tensor,
    layer: int,
    part: Part,
    *,
    by: Callable[[Tensor], Tensor],
    stack: Stack | None = None,
    decoder_ids: Tensor | None = None,
) -> Tensor:
    """The logits when a part's module gives `by` of its output [batch, pos, d_model], before any multiplier."""

    def edit(output: Tensor) -> Tensor:
        return by(output.reshape(len(ids), -1, output.shape[-1])).reshape(output.shape)

    where = paths(name, stack)
    with _intercepted(hf, where, layer, _part(where, part), edit):
        return logits(hf, ids, decoder_ids=decoder_ids)


def ablate_attn(hf: PreTrainedModel, name: str, ids: Tensor, layer: int, **where: Any) -> Tensor:  # noqa: ANN401  passed on
    """The logits when a layer's attention adds nothing."""
    return replaced(hf, name, ids, layer, "attn", by=torch.zeros_like, **where)


def ablate_mlp(hf: PreTrainedModel, name: str, ids: Tensor, layer: int, **where: Any) -> Tensor:  # noqa: ANN401  passed on
    """The logits when a layer's MLP adds nothing."""
    return replaced(hf, name, ids, layer, "mlp", by=torch.zeros_like, **where)


def merged_z(
    hf: PreTrainedModel,
    name: str,
    ids: Tensor,
    layer: int,
    *,
    cross: bool = False,
    stack: Stack | None = None,
    decoder_ids: Tensor | None = None,
) -> Tensor:
    """What the heads hand to the output projection [batch, pos, head * d_head], one head after the other."""
    where, seen = paths(name, stack), dict[str, Tensor]()
    with _intercepted(hf, where, layer, _projection(where, cross=cross), lambda z: seen.update(z=z), before=True):
        _forward(hf, ids, decoder_ids)
    return seen["z"].reshape(len(ids), -1, seen["z"].shape[-1])


def ablate_head(
    hf: PreTrainedModel,
    name: str,
    ids: Tensor,
    layer: int,
    head: int,
    *,
    cross: bool = False,
    stack: Stack | None = None,
    decoder_ids: Tensor | None = None,
) -> Tensor:
    """The logits when one head hands nothing to the output projection; the projection's bias stays."""

    def silence(merged: Tensor) -> Tensor:
        merged.view(*merged.shape[:-1], hf.config.num_attention_heads, -1)[..., head, :] = 0.0
        return merged

    where = paths(name, stack)
    with _intercepted(hf, where, layer, _projection(where, cross=cross), silence, before=True):
        return logits(hf, ids, decoder_ids=decoder_ids)


def module_at(hf: PreTrainedModel, name: str, layer: int, path: str, *, stack: Stack | None = None) -> torch.nn.Module:
    """A module of a layer, by one of the paths that `paths` gives."""
    return _block(hf, paths(name, stack), layer).get_submodule(path)


def _part(where: Paths, part: Part) -> str:
    found = {"attn": where.attn, "cross": where.cross, "mlp": where.mlp}[part]
    if found is None:
        raise LookupError(f"the blocks at {where.blocks} have no part {part!r}")
    return found


def _projection(where: Paths, *, cross: bool) -> str:
    # No architecture with cross-attention has a norm between the projection and the stream.
    return _part(where, "cross") if cross else where.attn_proj or where.attn


def _block(hf: PreTrainedModel, where: Paths, layer: int) -> torch.nn.Module:
    return hf.get_submodule(f"{where.blocks}.{0 if where.shared else layer}")


@contextmanager
def _intercepted(
    hf: PreTrainedModel,
    where: Paths,
    layer: int,
    path: str,
    function: Callable[[Tensor], Tensor | None],
    *,
    before: bool = False,
) -> Iterator[None]:
    """Hand a module's input or output of one layer to a function, and put in its place what the function gives back."""
    calls, wanted = count(), layer if where.shared else 0

    def on_output(_module: torch.nn.Module, _arguments: object, output: Any) -> Any:  # noqa: ANN401  a module's own
        if next(calls) != wanted:
            return None
        # A copy: some blocks add to the output in place, and a reading has to stay what it was.
        new = function((output if isinstance(output, Tensor) else output[0]).clone())
        return new if new is None or isinstance(output, Tensor) else (new, *output[1:])

    def on_input(_module: torch.nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:  # noqa: ANN401
        if next(calls) != wanted:
            return None
        new = function((arguments[0] if arguments else options["hidden_states"]).clone())
        if new is None:
            return None
        return ((new, *arguments[1:]), options) if arguments else (arguments, {**options, "hidden_states": new})

    module = _block(hf, where, layer).get_submodule(path)
    if before:
        handle = module.register_forward_pre_hook(on_input, with_kwargs=True)
    else:
        handle = module.register_forward_hook(on_output)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def _forward(hf: PreTrainedModel, ids: Tensor, decoder_ids: Tensor | None, **options: bool) -> Any:  # noqa: ANN401
    if not hf.config.is_encoder_decoder:
        return hf(ids, **options)
    if decoder_ids is None:
        decoder_ids = torch.full((len(ids), 1), hf.config.decoder_start_token_id)
    return hf(ids, decoder_input_ids=decoder_ids, **options)


def _output(
    hf: PreTrainedModel, ids: Tensor, decoder_ids: Tensor | None, stack: Stack | None, what: str
) -> tuple[Tensor, ...]:
    found = _forward(hf, ids, decoder_ids, **{f"output_{what}": True})
    return tuple(found[f"{stack or 'decoder'}_{what}" if hf.config.is_encoder_decoder else what])


_LLAMA = Paths("model.layers", "self_attn.o_proj", "mlp")
_GPT2 = Paths("transformer.h", "attn.c_proj", "mlp")
_GPTJ = Paths("transformer.h", "attn.out_proj", "mlp", parallel=True)
_NEOX = Paths("gpt_neox.layers", "attention.dense", "mlp")
_BLOOM = Paths("transformer.h", "self_attention.dense", "mlp.dense_4h_to_h")
_PHI = Paths("model.layers", "self_attn.dense", "mlp", parallel=True)
_PARALLEL_LLAMA = replace(_LLAMA, parallel=True)
# The norm stands between the projection and the stream, so its output is what is added.
_NORMED = Paths("model.layers", "post_attention_layernorm", "post_feedforward_layernorm", attn_proj="self_attn.o_proj")
_FC = Paths("model.layers", "self_attn.out_proj", "fc2")
_OPT = replace(_FC, blocks="model.decoder.layers")
_BERT = Paths(
    "bert.encoder.layer",
    "attention.output.dense",
    "output.dense",
    norms=("attention.output.LayerNorm", "output.LayerNorm"),
)
_ROBERTA = replace(_BERT, blocks="roberta.encoder.layer")

_ONE_STACK: dict[str, Paths] = {
    "gpt2": _GPT2,
    "gpt2-scaled-by-layer": _GPT2,
    "gpt-bigcode": _GPT2,
    "gpt-bigcode-every-head": _GPT2,
    "openai-gpt": replace(_GPT2, norms=("ln_1", "ln_2")),
    "gpt-neo": replace(_GPT2, attn="attn.attention.out_proj"),
    "gpt-j": _GPTJ,
    "codegen": _GPTJ,
    "gpt-neox": replace(_NEOX, parallel=True),
    "gpt-neox-sequential": _NEOX,
    "opt": _OPT,
    "opt-post-norm": replace(_OPT, norms=("self_attn_layer_norm", "final_layer_norm")),
    "xglm": _FC,
    "biogpt": replace(_FC, blocks="biogpt.layers"),
    "bloom": _BLOOM,
    "bloom-residual-after-norm": replace(
        _BLOOM, norms=("input_layernorm", "post_attention_layernorm"), chain="through-norms"
    ),
    "falcon": replace(_BLOOM, parallel=True),
    "falcon-new": replace(_BLOOM, parallel=True),
    "falcon-2": replace(_BLOOM, parallel=True),
    "falcon-alibi": _BLOOM,
    "mpt": Paths("transformer.blocks", "attn.out_proj", "ffn.down_proj"),
    "phi": _PHI,
    "phi-qk-norm": _PHI,
    "persimmon": replace(_PHI, parallel=False),
    "stablelm-parallel": _PARALLEL_LLAMA,
    "cohere": _PARALLEL_LLAMA,
    "cohere-qk-norm": _PARALLEL_LLAMA,
    "cohere2": _PARALLEL_LLAMA,
    "olmo-2": _NORMED,
    "olmo-3": _NORMED,
    "exaone-4": _NORMED,
    "gemma-2": _NORMED,
    "gemma-3": _NORMED,
    "glm-4": replace(_NORMED, attn="post_self_attn_layernorm", mlp="post_mlp_layernorm"),
    "granite": replace(_LLAMA, multiplier="residual_multiplier"),
    "granite-moe": replace(_LLAMA, mlp="block_sparse_moe", multiplier="residual_multiplier"),
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "roberta-prelayernorm": replace(_BERT, blocks="roberta_prelayernorm.encoder.layer", norms=()),
    "electra": replace(_BERT, blocks="electra.encoder.layer"),
    "deberta-v2": replace(_BERT, blocks="deberta.encoder.layer"),
    "mpnet": Paths(
        "mpnet.encoder.layer",
        "attention.attn.o",
        "output.dense",
        norms=("attention.LayerNorm", "output.LayerNorm"),
    ),
    "distilbert": Paths(
        "distilbert.transformer.layer", "attention.out_lin", "ffn", norms=("sa_layer_norm", "output_layer_norm")
    ),
    "albert": Paths(
        "albert.encoder.albert_layer_groups.0.albert_layers",
        "attention.dense",
        "ffn_output",
        norms=("attention.LayerNorm", "full_layer_layer_norm"),
        shared=True,
    ),
    "modernbert": Paths("model.layers", "attn.Wo", "mlp"),
}

_T5 = Paths("{stack}.block", "layer.0.SelfAttention.o", "layer.2.DenseReluDense", cross="layer.1.EncDecAttention.o")
_BART = Paths("model.{stack}.layers", "self_attn.out_proj", "fc2", cross="encoder_attn.out_proj")
_BART_POST = replace(_BART, norms=("self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm"))

_TWO_STACKS: dict[str, Paths] = {
    **dict.fromkeys(("t5", "t5-gated", "mt5", "umt5"), _T5),
    **dict.fromkeys(("mbart", "pegasus", "m2m-100", "blenderbot"), _BART),
    **dict.fromkeys(("bart", "marian"), _BART_POST),
}
