"""A text that grows token by token: each step computes the new positions alone, beside the keys and values of the rest.

Refuses: choosing tokens, and meaning. Between two steps nothing of it is left in the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tlab.anatomy.entrance import later
from tlab.engine.flow import Flow
from tlab.engine.forward import Inputs, block_pass, enter, open_hooks, read_out
from tlab.sites import check_site

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jaxtyping import Float, Int

    from tlab.engine.flow import Edit
    from tlab.models import Model

__all__ = ["Decoding", "stop_ids"]


def _no_edits(_start: int, _stop: int) -> Sequence[Edit]:
    return ()


class Decoding:
    """The logits at the end of a text, again and again as the text grows.

    Args:
        model: from `load`.
        inputs: what the text begins with, and an encoder-decoder's source.
        edits: from the first position that a pass computes, and the one behind its last, to that pass' edits. Their
            functions get the positions that the pass computes, and `positions` may name these alone.
        is_incremental: whether a pass may leave out what earlier ones computed. It must not be where an edit would
            see too little: where it mixes positions, or replaces keys or values.

    Invariants:
        Incremental or not, the logits are the same up to rounding. No hook outlives a call.

    """

    def __init__(
        self,
        model: Model,
        inputs: Inputs,
        edits: Callable[[int, int], Sequence[Edit]] = _no_edits,
        *,
        is_incremental: bool = True,
    ) -> None:
        self._model = model
        self._inputs = inputs
        self._edits = edits
        self._blocks = model.anatomy.decoder.blocks
        can_start_late = model.anatomy.decoder.is_causal and all(block.attn.can_start_late for block in self._blocks)
        self._is_incremental = is_incremental and can_start_late
        self._past: dict[str, tuple[Tensor, Tensor]] = {}
        self._n_known = 0
        # What an encoder said of the source: it does not change while the answer grows.
        self._memory: Tensor | None = None

    def next_logits(self, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch d_vocab"]:
        """Return the logits behind the last of `ids`, which begin with what the call before was given.

        Cost: the positions that are new, through all blocks; all positions if the decoding is not incremental.

        """
        start, stop = self._n_known, ids.shape[1]
        flow = Flow(start=start, past=self._past, keeps_past=self._is_incremental)
        for edit in self._edits(start, stop):
            check_site(edit.site, self._model.sites)
            flow.add([edit])
        with torch.no_grad(), open_hooks(self._model, flow):
            stream, arguments = self._enter(ids, flow)
            stream = stream[:, start:]
            for layer, block in enumerate(self._blocks):
                given = later(arguments[layer], start) if start else arguments[layer]
                stream = block_pass(block, f"blocks.{layer}", stream, given, flow)
            # Edits behind the last block count positions from the pass' first one.
            is_edited = flow.concerns("ln_final.out") or flow.concerns("logits")
            logits = read_out(self._model, stream if is_edited else stream[:, -1:], flow)
        self._remember(flow, stop)
        if logits is None:
            self._model.check_predicts()
            raise ValueError("a model that predicts tokens, and no logits")
        return logits[:, -1]

    def _enter(self, ids: Tensor, flow: Flow) -> tuple[Tensor, list[dict[str, object]]]:
        given = self._inputs
        if self._memory is None:
            inputs = Inputs(ids, source=given.source, source_mask=given.source_mask)
            stream, arguments = enter(self._model, inputs, flow)
            if given.source is not None:
                self._memory = arguments[0]["encoder_hidden_states"]
            return stream, arguments
        return self._model.anatomy.decoder.entrance(
            ids, encoder_hidden_states=self._memory, encoder_attention_mask=given.source_mask
        )

    def _remember(self, flow: Flow, stop: int) -> None:
        if not self._is_incremental:
            return
        for layer in range(len(self._blocks)):
            prefix = f"blocks.{layer}.attn"
            new = flow.kept[prefix]
            old = self._past.get(prefix)
            self._past[prefix] = new if old is None else (_joined(old[0], new[0]), _joined(old[1], new[1]))
        self._n_known = stop


def _joined(old: Tensor, new: Tensor) -> Tensor:
    return torch.cat([old, new], dim=2)


def stop_ids(model: Model) -> tuple[int, ...]:
    """Return the tokens with which the model ends a text; models that were given none never end one."""
    for config in (getattr(model.hf, "generation_config", None), model.hf.config):
        found = getattr(config, "eos_token_id", None)
        if found is not None:
            return tuple(found) if isinstance(found, list | tuple) else (int(found),)
    return ()
