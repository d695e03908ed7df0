"""How a program gets its steering vector: made of two kinds of prompts again, or written out number by number."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tlab.code.dialects.dialect import Keep, Place, indented
from tlab.code.recipes.pieces import ids_line
from tlab.code.request import Request
from tlab.code.script import Chunk
from tlab.errors import UnknownOption, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlab.code.dialects.dialect import Dialect

__all__ = ["difference", "texts_of", "vector_chunks"]

_FARTHEST = 1_000_000


def difference(plus: Sequence[str], minus: Sequence[str], layer: int, position: object, say: Dialect) -> list[Chunk]:
    """Write how a vector is made of the streams after a layer."""
    at = -1 if position is None else position
    if at != "mean" and (not isinstance(at, int) or isinstance(at, bool) or abs(at) > _FARTHEST):
        raise UnknownOption(f"position refused: expected a number or 'mean', got {shown(position)}; try position=-1")
    where = "at all positions but the first" if at == "mean" else f"at position {at}"
    keep = [Keep("stream", Place("resid_post", str(layer)))]
    read = (
        ["later = stream[0, 1:] if stream.shape[1] > 1 else stream[0]", "streams.append(later.mean(0))"]
        if at == "mean"
        else [f"streams.append(stream[0, {at}])"]
    )
    return [
        Chunk(
            f"The stream after layer {layer} {where}, averaged over prompts.",
            [
                "def mean_stream(prompts):",
                "    streams = []",
                "    for prompt in prompts:",
                *indented([ids_line("ids", "prompt", say), *say.run("", "ids", keep=keep), *read], 2),
                "    return torch.stack(streams).mean(0)",
                "",
                f"plus = {list(plus)!r}",
                f"minus = {list(minus)!r}",
                "vector = mean_stream(plus) - mean_stream(minus)",
                "table = vector",
            ],
        )
    ]


def vector_chunks(ask: Request, say: Dialect) -> list[Chunk]:
    """Write how the vector is made, where that is known, and its numbers where it is not."""
    value: Any = ask.value("vector")
    if getattr(value, "source", None) == "activations":
        plus, minus = texts_of("vector", value.plus), texts_of("vector", value.minus)
        layer = Request({"layer": value.layer}, ask.layout).layer()
        return difference(plus, minus, layer, value.position, say)
    value = getattr(value, "vector", value)
    numbers = value.flatten().tolist() if hasattr(value, "flatten") else value
    is_flat = isinstance(numbers, list | tuple) and all(isinstance(number, int | float) for number in numbers)
    if not is_flat or not numbers or not all(math.isfinite(number) for number in numbers):
        raise UnknownOption(
            f"vector refused: expected one finite number a dimension, got {shown(value)}; see steering_vector()"
        )
    written = [float(f"{number:.9g}") for number in numbers]
    return [Chunk("The vector, one number a dimension.", [f"vector = torch.tensor({written!r})"])]


def texts_of(name: str, texts: object) -> list[str]:
    """Return one text or several as a list.

    Raises:
        UnknownOption: there is none, or something else.

    """
    listed = [texts] if isinstance(texts, str) else list(texts) if isinstance(texts, list | tuple) else []
    if not listed or not all(isinstance(text, str) and text for text in listed):
        raise UnknownOption(f"{name} refused: expected a text or a list of texts, got {shown(texts)}; write 'I love'")
    return listed
