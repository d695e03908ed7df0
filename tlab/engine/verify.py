"""Whether the parts that were found add up to the model: its own forward pass beside ours, on a few tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from tlab.engine.forward import Inputs, run

if TYPE_CHECKING:
    from tlab.models import Model

__all__ = ["agrees_with_itself", "own_outputs"]

_N_TOKENS = 6
# Of the largest logit, by kind of number; what several orders of summing may differ by.
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.05}


def agrees_with_itself(model: Model) -> float | None:
    """Return `None` if our pass gives the model's own outputs, else by how much they differ at most.

    Cost: two forward passes on six tokens.

    """
    inputs = _inputs(model)
    theirs = own_outputs(model)
    last = f"blocks.{model.n_layers - 1}.resid_post"
    ours = run(model, inputs, sites=() if model.anatomy.unembed else (last,))
    expected = theirs[0]
    found = ours.captured[last] if ours.found is None else ours.found
    difference = float((found - expected).abs().max())
    allowed = _TOLERANCE[model.dtype] * max(1.0, float(expected.abs().max()))
    return None if difference <= allowed else difference


def own_outputs(model: Model) -> Any:  # noqa: ANN401  Hugging Face's own kind of output
    """Return what the model's own forward pass gives for a few tokens, and raise whatever that raises."""
    inputs = _inputs(model)
    given: dict[str, Any] = {"input_ids": inputs.ids}
    if inputs.source is not None:
        given = {"input_ids": inputs.source, "decoder_input_ids": inputs.ids}
    with torch.no_grad():
        return model.hf(**given, use_cache=False) if model.family != "encoder" else model.hf(**given)


def _inputs(model: Model) -> Inputs:
    generator = torch.Generator().manual_seed(0)
    n_tokens = min(_N_TOKENS, model.n_ctx)
    ids = torch.randint(model.d_vocab, (1, n_tokens), generator=generator).to(model.device)
    return Inputs(ids) if model.anatomy.encoder is None else Inputs(ids, source=ids.flip(1))
