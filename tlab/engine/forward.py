"""Running a model block by block, on Hugging Face's own modules, with every site open.

Together with the flow, the only module that touches hooks and turns gradients on and off. What a run captures is a
copy; what it replaces is replaced in that run alone, in its own thread, and leaves nothing behind, also after an
exception. Refuses: meaning. What a run shows is for the experiments to say.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tlab.anatomy.attention import tapped
from tlab.engine.flow import Flow
from tlab.errors import UnusablePrompt
from tlab.sites import check_site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from jaxtyping import Float, Int
    from torch import nn

    from tlab.anatomy.parts import Attention, Block, Mlp, Stack
    from tlab.engine.flow import Edit
    from tlab.models import Model

__all__ = ["Inputs", "Run", "block_pass", "enter", "open_hooks", "read_out", "run", "unembed"]


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a model is run on.

    Args:
        ids: token ids; in an encoder-decoder those of the decoder.
        mask: 1 where there is a token and 0 where a shorter prompt was filled up; `None` if nothing was.
        source: the encoder's ids, in an encoder-decoder.
        source_mask: likewise for the source.

    """

    ids: Int[Tensor, "batch pos"]
    mask: Int[Tensor, "batch pos"] | None = None
    source: Int[Tensor, "batch src_pos"] | None = None
    source_mask: Int[Tensor, "batch src_pos"] | None = None


@dataclass(frozen=True, eq=False)
class Run:
    """What one forward pass gave.

    Args:
        found: the logits, if there are any.
        captured: site → what stood there.

    """

    found: Float[Tensor, "batch pos d_vocab"] | None
    captured: dict[str, Tensor] = field(default_factory=dict)

    @property
    def logits(self) -> Float[Tensor, "batch pos d_vocab"]:
        """The model's scores for the next token at every position that was read.

        Raises:
            UnusablePrompt: the model is an encoder that predicts no tokens, or no logits were asked for.

        """
        if self.found is None:
            raise UnusablePrompt(
                "nothing to predict: expected a model that predicts tokens, got an encoder without such a head; "
                "read its stream with capture, or take a model such as 'smollm2-135m'"
            )
        return self.found


def run(
    model: Model,
    inputs: Inputs | Tensor,
    *,
    sites: Iterable[str] = (),
    edits: Sequence[Edit] = (),
    read: Sequence[int] | None = None,
    is_live: bool = False,
    predicts: bool = True,
) -> Run:
    """Run `model` once, with `edits` applied and `sites` captured.

    A site that is edited is captured as edited.

    Args:
        model: from `load`.
        inputs: the ids, alone or with masks and a source.
        sites: what to capture.
        edits: what to replace, each in all rows of the batch.
        read: positions whose logits are wanted; all by default.
        is_live: keep the graph of gradients, and captured tensors in it.
        predicts: whether logits are wanted at all; if not, the blocks behind the last site are not run.

    Shapes:
        ids: `pos` or `batch pos`

    Raises:
        UnknownSite: a site is none of this model's.
        UnusableEdit: an edit returned something of another shape.

    Cost: one forward pass; memory grows with the captured sites only.

    """
    given = inputs if isinstance(inputs, Inputs) else Inputs(inputs if inputs.dim() > 1 else inputs[None])
    known = model.sites
    wanted = frozenset(check_site(site, known) for site in sites)
    for edit in edits:
        check_site(edit.site, known)
    flow = Flow(wanted=wanted, is_live=is_live)
    flow.add(edits)
    with torch.set_grad_enabled(is_live), open_hooks(model, flow):
        stream, arguments = enter(model, given, flow)
        stack = model.anatomy.decoder
        n_blocks = len(stack.blocks) if predicts else _n_needed(flow, len(stack.blocks))
        for layer, block in enumerate(stack.blocks[:n_blocks]):
            stream = block_pass(block, f"blocks.{layer}", stream, arguments[layer], flow)
        logits = read_out(model, stream, flow, read) if predicts else None
        if not predicts and flow.concerns("ln_final.out"):
            _final(stack, stream, flow)
    return Run(found=logits, captured=flow.captured)


def _n_needed(flow: Flow, n_blocks: int) -> int:
    """Return how many blocks a pass has to run until all its sites are behind it."""
    if flow.concerns("ln_final.out") or flow.concerns("logits"):
        return n_blocks
    layers = [int(site.split(".")[1]) for site in flow.sites if site.startswith("blocks.")]
    return max(layers, default=-1) + 1


def enter(model: Model, inputs: Inputs, flow: Flow) -> tuple[Tensor, list[dict[str, Any]]]:
    """Embed the ids (in an encoder-decoder: run the encoder first); return the stream and each block's arguments."""
    anatomy = model.anatomy
    extra: dict[str, Any] = {}
    if anatomy.encoder is not None:
        if inputs.source is None:
            raise ValueError("an encoder-decoder needs a source")
        stream, arguments = anatomy.encoder.entrance(inputs.source, attention_mask=inputs.source_mask)
        for layer, block in enumerate(anatomy.encoder.blocks):
            stream = block_pass(block, f"encoder.blocks.{layer}", stream, arguments[layer], flow)
        memory = _final(anatomy.encoder, stream, flow, "encoder.")
        extra = {"encoder_hidden_states": memory, "encoder_attention_mask": inputs.source_mask}
    stream, arguments = anatomy.decoder.entrance(inputs.ids, attention_mask=inputs.mask, **extra)
    if flow.is_live and not stream.requires_grad:
        stream = stream.detach().requires_grad_()
    return stream, arguments


def block_pass(block: Block, prefix: str, stream: Tensor, arguments: dict[str, Any], flow: Flow) -> Tensor:
    """Run one block: `batch pos d_model` to the same."""
    norms = block.norms
    stream = flow.at(f"{prefix}.resid_pre", stream)
    normed = _normed(norms, "attn", stream)
    if "attn" in norms:
        normed = flow.at(f"{prefix}.ln1.out", normed)
    attn_out = _attend(block.attn, f"{prefix}.attn", normed, arguments, flow)
    attn_out = flow.at(f"{prefix}.attn.out", _leaving(block, "attn", attn_out))
    if block.is_parallel:
        # One norm for both, or one for each.
        mlp_in = flow.at(f"{prefix}.ln2.out", norms["mlp"](stream)) if "mlp" in norms else normed
        mlp_out = flow.at(f"{prefix}.mlp.out", _leaving(block, "mlp", _think(block.mlp, f"{prefix}.mlp", mlp_in, flow)))
        return flow.at(f"{prefix}.resid_post", stream + attn_out + mlp_out)
    stream = _normed(norms, "attn_sum", (normed if block.adds_to_normed else stream) + attn_out)
    if block.cross is not None:
        reading = _normed(norms, "cross", stream)
        if "cross" in norms:
            reading = flow.at(f"{prefix}.ln_cross.out", reading)
        written = _attend(block.cross, f"{prefix}.cross_attn", reading, arguments, flow)
        written = flow.at(f"{prefix}.cross_attn.out", _leaving(block, "cross", written))
        stream = _normed(norms, "cross_sum", stream + written)
    if block.mlp is not None:
        stream = flow.at(f"{prefix}.resid_mid", stream)
        mlp_in = _normed(norms, "mlp", stream)
        if "mlp" in norms:
            mlp_in = flow.at(f"{prefix}.ln2.out", mlp_in)
        mlp_out = _leaving(block, "mlp", _think(block.mlp, f"{prefix}.mlp", mlp_in, flow))
        base = mlp_in if block.adds_to_normed else stream
        stream = _normed(norms, "mlp_sum", base + flow.at(f"{prefix}.mlp.out", mlp_out))
    return flow.at(f"{prefix}.resid_post", stream)


def read_out(model: Model, stream: Tensor, flow: Flow, read: Sequence[int] | None = None) -> Tensor | None:
    """Turn the last stream into logits, at the positions that are read.

    Positions that nobody reads are left out as early as possible, but not before a site that is read or replaced.
    """
    stack, head = model.anatomy.decoder, model.anatomy.unembed
    chosen = slice(None) if read is None else list(read)
    if not flow.concerns("ln_final.out") and not flow.concerns("logits"):
        stream, chosen = stream[:, chosen], slice(None)
    normed = _final(stack, stream, flow)
    if head is None:
        return None
    if not flow.concerns("logits"):
        return flow.at("logits", head(normed[:, chosen]))
    return flow.at("logits", head(normed))[:, chosen]


def unembed(model: Model, stream: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_vocab"]:
    """Read a residual stream as the model reads its last one: final norm, then unembedding."""
    with torch.no_grad():
        logits = read_out(model, stream, Flow())
    if logits is None:
        raise ValueError("this model has no unembedding")
    return logits


def _final(stack: Stack, stream: Tensor, flow: Flow, prefix: str = "") -> Tensor:
    if stack.final_norm is not None:
        stream = flow.at(f"{prefix}ln_final.out", stack.final_norm(stream))
    return stream if stack.project is None else stack.project(stream)


def _normed(norms: Mapping[str, nn.Module], place: str, stream: Tensor) -> Tensor:
    norm = norms.get(place)
    result: Tensor = stream if norm is None else norm(stream)
    return result


def _leaving(block: Block, place: str, written: Tensor) -> Tensor:
    """Return what reaches the stream of what a part wrote: after its own norm and factor, if it has one."""
    norm = block.norms.get(f"{place}_post")
    written = written if norm is None else norm(written)
    return written if block.scale == 1 else written * block.scale


def _think(mlp: Mlp | None, prefix: str, stream: Tensor, flow: Flow) -> Tensor:
    if mlp is None:
        raise ValueError("a parallel block without an MLP")
    if mlp.up is None or mlp.act is None or mlp.down is None:
        written: Any = mlp.whole(stream) if mlp.whole is not None else None
        thought: Tensor = written[0] if isinstance(written, tuple) else written  # experts tell of their routing too
        return thought
    pre, linear = mlp.up(stream)
    post = mlp.act(flow.at(f"{prefix}.pre", pre))
    if linear is not None:
        post = post * flow.at(f"{prefix}.pre_linear", linear)
    return mlp.down(flow.at(f"{prefix}.post", post))  # type: ignore[no-any-return]


@dataclass(eq=False)
class _AttentionTap:
    """Tells the flow about the steps inside one attention layer."""

    flow: Flow
    prefix: str
    steps: dict[str, str]
    past: tuple[Tensor, Tensor] | None = None

    def at(self, step: str, tensor: Tensor) -> Tensor:
        if self.flow.keeps_past and step in {"k", "v"} and not self.prefix.endswith("cross_attn"):
            self._keep(step, tensor.transpose(1, 2))
        site = f"{self.prefix}.{self.steps.get(step, step)}"
        return self.flow.at(site, tensor) if self.flow.concerns(site) else tensor

    def _keep(self, step: str, tensor: Tensor) -> None:
        kept = self.flow.kept.get(self.prefix, (tensor, tensor))
        self.flow.kept[self.prefix] = (tensor, kept[1]) if step == "k" else (kept[0], tensor)


_PLAIN: dict[str, str] = {}
_ROTARY = {"q": "rot_q", "k": "rot_k"}


def _attend(attn: Attention, prefix: str, normed: Tensor, arguments: dict[str, Any], flow: Flow) -> Tensor:
    past = None if attn.is_cross else flow.past.get(prefix)
    tap = _AttentionTap(flow, prefix, _ROTARY if attn.is_rotary else _PLAIN, past)
    if attn.call is not None:
        return attn.call(tap, normed, arguments)
    accepted = _accepted(type(attn.module).forward)
    given = {attn.renamed.get(name, name): value for name, value in arguments.items() if _is_meant(attn, name)}
    if attn.is_cross and not attn.can_start_late:  # UMT5 counts on one source for each row
        given = {name: _for_each_row(value, len(normed)) for name, value in given.items()}
    with tapped(tap):
        written = attn.module(normed, **{name: value for name, value in given.items() if name in accepted})[0]
    # Most modules project the heads' results themselves; BERT's leave it to a neighbour.
    result: Tensor = written if attn.projects_itself else attn.out(written)
    return result


def _for_each_row(value: Any, n_rows: int) -> Any:  # noqa: ANN401  whatever a block is called with
    is_one = isinstance(value, Tensor) and value.dim() > 1 and len(value) == 1
    return value.expand(n_rows, *value.shape[1:]) if is_one else value


def _is_meant(attn: Attention, name: str) -> bool:
    """Tell whether a block's argument is for this attention: cross-attention has a mask of its own."""
    return name in attn.renamed or not (attn.is_cross or name.startswith("encoder_"))


@functools.cache
def _accepted(forward: Callable[..., object]) -> frozenset[str]:
    return frozenset(inspect.signature(forward).parameters)


_open = threading.local()


@contextlib.contextmanager
def open_hooks(model: Model, flow: Flow) -> Iterator[None]:
    """Open the two places that lie inside Hugging Face's modules: the embedding, and projections before rotation.

    The hooks act in this pass only, and only until the block ends.
    """
    handles = []
    outer = getattr(_open, "flow", None)
    _open.flow = flow

    def open_at(module: nn.Module, site: str, cut: Callable[[Tensor], Tensor]) -> None:
        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            # Not another thread's pass, and not one that an edit of this pass has begun.
            if getattr(_open, "flow", None) is not flow:
                return None
            whole = output.clone()
            part = cut(whole)
            part.copy_(flow.at(site, part.clone()))
            return whole

        handles.append(module.register_forward_hook(hook))

    try:
        if flow.concerns("embed"):
            open_at(model.anatomy.embed, "embed", lambda tensor: tensor)
        for prefix, stack in _stacks(model):
            for layer, block in enumerate(stack.blocks):
                for step, projection in block.attn.projections.items():
                    site = f"{prefix}blocks.{layer}.attn.{step}"
                    if flow.concerns(site):
                        open_at(projection.module, site, projection.cut)
        yield
    finally:
        _open.flow = outer
        for handle in handles:
            handle.remove()


def _stacks(model: Model) -> Iterator[tuple[str, Stack]]:
    if model.anatomy.encoder is not None:
        yield "encoder.", model.anatomy.encoder
    yield "", model.anatomy.decoder
