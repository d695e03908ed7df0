"""What an answer says about itself in words: the verb's own explanation, and what the reader must not conclude from it.

Refuses: numbers, but for how far an identity is from holding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlab.checking import TOLERANCE
from tlab.lab.digits import digits

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

__all__ = ["held", "said"]

_INDIRECT = "A direct effect leaves out what later parts make of it; ablate and patch measure the whole."
_ONE_PROMPT = "This is one prompt: another may show something else."
_CAVEATS: dict[str, tuple[str, ...]] = {
    "open": (
        "The logit lens reads a stream as if it were the last: a reading, not what the model does there.",
        "A long write need not matter for the answer.",
        _INDIRECT,
    ),
    "flow": (
        "A thick line says that much was carried, not that it was used.",
        "What a line carries comes from the stream there, which already holds what other positions brought.",
    ),
    "head": (_INDIRECT,),
    "mlp": (_INDIRECT, "Neurons share their work: one alone rarely stands for a thing that has a name."),
    "stream": ("A lens is a reading, not what the model does there.",),
    "logit lens": (
        "The stream is read as if it were the last: early layers may hold what the unembedding cannot read.",
    ),
    "tuned lens": ("The lens was trained to find the end early: it may name what the model itself does not use yet.",),
    "heads": (
        "The scores are a model's, not this prompt's: they come from random tokens that are said twice.",
        "A score says where a head looks, not what it moves or whether anything depends on it.",
    ),
    "zero": ("Zero is a value that the model never met in training: a part of the effect may be that.",),
    "mean": ("The mean over reference sentences keeps what the part always says.",),
    "resample": ("What is put in its place was drawn at random: another seed gives another number.",),
    "head_map": ("A head with a small effect may still matter: others can stand in for it.",),
    "patch": ("What comes along is enough given the rest of the corrupted run; others may carry it too.", _ONE_PROMPT),
    "patch_map": ("The map shows where the difference is carried, not how it is computed.", _ONE_PROMPT),
    "steer": ("A text that sounds as wished is no proof that the direction means it.",),
    "compare": ("A distance says that something differs, not that it matters for the answer: patch measures that.",),
    "code": ("The program gives the same number up to rounding; it runs by itself, without tlab.",),
    "program": ("The program uses tlab's public names alone.",),
    "identities": (
        "An identity that holds says that the numbers are those of one run; it does not say what they mean.",
    ),
}


def said(kind: str, explain: str) -> dict[str, Any]:
    """Return the two fields that every answer has."""
    return {"explain": explain, "caveats": list(_CAVEATS[kind])}


def held(errors: Mapping[str, float], dtype: torch.dtype) -> list[dict[str, Any]]:
    """Return identities, each with the error that was measured and the one that rounding explains."""
    bound = TOLERANCE[dtype]
    return [
        {"name": name, "error": digits(error), "bound": bound, "holds": bool(error <= bound)}
        for name, error in errors.items()
    ]
