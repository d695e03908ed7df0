"""From prompts to what a model is run on: one or several, filled up to one length, with a source where one is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.utils.rnn import pad_sequence

from tlab.engine import Inputs
from tlab.errors import UnusablePrompt, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from tlab.models import Model

__all__ = ["batch_of", "inputs_of", "tokens_of"]


def inputs_of(model: Model, prompt: str, *, target: str | None = None) -> Inputs:
    """Return what the model is run on for one prompt.

    In an encoder-decoder the prompt is the source that the encoder reads; the decoder begins with its start token and,
    if one is given, the beginning of the target.

    Raises:
        UnusablePrompt: the prompt is no prompt, or a target is given to a model that has no second stack.

    """
    ids = model.to_ids(prompt)[None]
    if model.family != "encoder-decoder":
        if target is not None:
            raise UnusablePrompt(
                f"target unusable: expected none for a model of the family {model.family!r}, got {shown(target)}; "
                f"write it into the prompt"
            )
        return Inputs(ids)
    return Inputs(_decoder_ids(model, target)[None], source=ids)


def batch_of(model: Model, prompts: Sequence[str], *, cut: bool = False) -> tuple[Inputs, list[int]]:
    """Return several prompts as rows of one batch, filled up at their ends, and how many tokens each has.

    Args:
        model: from `load`.
        prompts: the texts.
        cut: whether a prompt that exceeds the context is cut down to it instead of refused.

    Raises:
        UnusablePrompt: one of them is no prompt, or there is none.

    """
    if not prompts:
        raise UnusablePrompt("prompts unusable: expected at least one, got an empty list; write ['The capital of']")
    rows = [model.to_ids(prompt, cut=cut) for prompt in prompts]
    lengths = [len(row) for row in rows]
    ids = pad_sequence(rows, batch_first=True)
    mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    if model.family == "encoder-decoder":
        start = _decoder_ids(model, None)[None].expand(len(rows), -1)
        return Inputs(start, source=ids, source_mask=mask), lengths
    return Inputs(ids, mask=None if len(set(lengths)) == 1 else mask), lengths


def tokens_of(model: Model, ids: Tensor) -> tuple[str, ...]:
    """Return ids as the texts that they stand for.

    Shapes:
        ids: `pos`
    """
    return tuple(model.to_text(int(token)) for token in ids)


def _decoder_ids(model: Model, target: str | None) -> Tensor:
    config = model.hf.config
    start = getattr(config, "decoder_start_token_id", None)
    if start is None:
        start = getattr(model.hf.generation_config, "decoder_start_token_id", None) or config.pad_token_id or 0
    ids = [int(start)]
    if target:
        ids += model.tokenizer(text_target=target, add_special_tokens=False)["input_ids"]
    return torch.tensor(ids, device=model.device)
