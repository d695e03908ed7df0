"""The vectors that a model has at a site while it reads texts.

They are made piece by piece and handed on in loads of bounded size, so that texts of any length fit into memory.
Refuses: learning from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from tlab.engine import run
from tlab.plain import whole_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxtyping import Bool, Float, Int
    from torch import Tensor

    from tlab.models import Model

__all__ = ["LONGEST_FACTOR", "checked_context", "is_ordinary", "loads", "pieces_of", "vectors_at"]

LONGEST_FACTOR = 10.0
# Of UTF-8: no tokenizer makes more tokens of a text than it has bytes.
_BYTES_A_CHARACTER = 4
_USUAL_CONTEXT = 128
_MARKS = 2  # an encoder's own, before and behind the text


def checked_context(model: Model, context: int | None) -> int:
    """Return how many tokens to read at once: by default 128, or as many as the model can.

    Raises:
        UnknownOption: fewer than two, or more than the model can.

    """
    usual = min(_USUAL_CONTEXT, model.n_ctx)
    return usual if context is None else whole_number("context", context, 2, model.n_ctx, f"try context={usual}")


def pieces_of(model: Model, texts: Sequence[str], context: int) -> Iterator[Int[Tensor, " pos"]]:
    """Yield the texts' token ids in pieces of at most `context` tokens, each of which is run by itself.

    Pieces of a single token are left out: all that stands there is the first position.

    Raises:
        UnusablePrompt: one of them is no text, or is empty.

    """
    longest = max(1, (model.n_ctx - _MARKS) // _BYTES_A_CHARACTER)
    for text in texts:
        for part in _parts(text, longest):
            ids = model.to_ids(part)
            cuts = (ids[at : at + context] for at in range(0, len(ids), context))
            yield from (piece for piece in cuts if len(piece) > 1)


def _parts(text: str, longest: int) -> Iterator[str]:
    """Cut a text that may exceed the model's context, between words where there are any."""
    while len(text) > longest:
        cut = text.rfind(" ", longest // 2, longest)
        cut = longest if cut < 0 else cut
        yield text[:cut]
        text = text[cut:]
    yield text


def vectors_at(model: Model, ids: Int[Tensor, " pos"], site: str) -> Float[Tensor, "pos width"]:
    """Return what stands at the site, in float32 on the CPU; the model is run up to there and no further."""
    captured = run(model, ids, sites=[site], predicts=False).captured[site]
    return captured[0].to("cpu", torch.float32)


def is_ordinary(vectors: Float[Tensor, "pos width"], skip: int, longest: float | None = None) -> Bool[Tensor, " pos"]:
    """Tell which positions hold ordinary vectors: not among the first `skip`, and not many times longer than the rest.

    Args:
        vectors: of one piece of text, from its first position on.
        skip: how many positions to leave out at its beginning.
        longest: the length beyond which a vector counts as a massive activation; by default ten times the median.

    Source:
        Sun et al., "Massive Activations in Large Language Models" (2024), arXiv:2402.17762.

    """
    lengths = vectors.float().norm(dim=-1)
    later = torch.arange(len(lengths), device=lengths.device) >= skip
    if longest is None:
        ordinary = lengths[later] if bool(later.any()) else lengths
        longest = LONGEST_FACTOR * float(ordinary.median())
    return cast("Tensor", later & (lengths <= longest))


def loads(
    model: Model, pieces: Sequence[Tensor], site: str, *, skip: int, longest: float | None, size: int
) -> Iterator[Float[Tensor, "row width"]]:
    """Yield the ordinary vectors of all pieces, in loads of `size` rows and a last one that may be smaller."""
    waiting: list[Tensor] = []
    n_waiting = 0
    for ids in pieces:
        vectors = vectors_at(model, ids, site)
        vectors = vectors[is_ordinary(vectors, skip, longest)]
        waiting.append(vectors)
        n_waiting += len(vectors)
        while n_waiting >= size:
            joined = torch.cat(waiting)
            yield joined[:size]
            waiting = [joined[size:].clone()]
            n_waiting = len(waiting[0])
    if n_waiting:
        yield torch.cat(waiting)
