"""Two prompts that are to be laid over each other, token by token: the clean and the corrupted one of a patch."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlab.errors import UnequalPrompts, UnusablePrompt, shown

if TYPE_CHECKING:
    from torch import Tensor

    from tlab.models import Model

__all__ = ["Pair", "pair_of"]


@dataclass(frozen=True, eq=False)
class Pair:
    """A clean and a corrupted prompt of equal length.

    Args:
        clean: ids.
        corrupted: ids.
        first_difference: the first position at which they differ; their number of tokens if they are the same.

    """

    clean: Tensor
    corrupted: Tensor
    first_difference: int

    @property
    def n_pos(self) -> int:
        """How many tokens each has."""
        return len(self.clean)


def pair_of(model: Model, clean: str, corrupted: str) -> Pair:
    """Return the two prompts' ids.

    Raises:
        UnusablePrompt: one of them is no prompt, or the model is an encoder-decoder.
        UnequalPrompts: they have different numbers of tokens; the message says where they part.

    """
    if model.family == "encoder-decoder":
        raise UnusablePrompt(
            f"prompts unusable: expected a model with one stack, got the encoder-decoder {shown(model.name)}, whose "
            f"prompts another stack reads; patch a decoder or an encoder"
        )
    ids = [model.to_ids(clean), model.to_ids(corrupted)]
    if len(ids[0]) != len(ids[1]):
        raise UnequalPrompts(
            f"prompts unequal: expected as many tokens in both, got {len(ids[0])} and {len(ids[1])}; "
            f"{_parting(model, *ids)}"
        )
    differs = (ids[0] != ids[1]).nonzero()
    return Pair(ids[0], ids[1], int(differs[0]) if len(differs) else len(ids[0]))


def _parting(model: Model, clean: Tensor, corrupted: Tensor) -> str:
    """Say which tokens of the one stand against which of the other where the numbers differ."""
    a, b = clean.tolist(), corrupted.tolist()
    blocks = difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    uneven = [block for block in blocks if block[2] - block[1] != block[4] - block[3]]
    _, from_a, to_a, from_b, to_b = uneven[0]
    first = [model.to_text(token) for token in a[from_a:to_a]]
    second = [model.to_text(token) for token in b[from_b:to_b]]
    return (
        f"at token {from_a} {shown(first)} stands against {shown(second)}: "
        f"replace one by words of as many tokens as the other"
    )
