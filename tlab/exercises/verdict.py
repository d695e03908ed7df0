"""The judge: looks up an exercise by name, runs its checker, and returns a verdict that a page can show.

Refuses: comparing with a stored solution where the model itself can say whether an answer is right.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from tlab.errors import TlabError, UnknownExercise, shown
from tlab.exercises import ablation

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Verdict", "check", "names"]

_CHECKERS: dict[str, Callable[[object], tuple[bool, str]]] = {
    f"ablation/{name}": checker for name, checker in ablation.CHECKERS.items()
}


@dataclass(frozen=True)
class Verdict:
    """What the judge says of one answer.

    Args:
        exercise: the exercise's name.
        is_correct: whether the answer does what was asked.
        message: why, in a sentence or two, with the numbers of the run.

    """

    exercise: str
    is_correct: bool
    message: str

    def __str__(self) -> str:
        return f"{'✓ Right.' if self.is_correct else '✗ Not yet.'} {self.message}"

    __repr__ = __str__

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:  # noqa: ARG002
        kind = "right" if self.is_correct else "not-yet"
        html = f'<p class="tl-verdict tl-verdict-{kind}" role="status">{escape(str(self))}</p>'
        return {"text/html": html, "text/plain": str(self)}


def names() -> tuple[str, ...]:
    """Return the name of every exercise."""
    return tuple(_CHECKERS)


def check(exercise: str, answer: object) -> Verdict:
    """Judge an answer by what it does in the model.

    Args:
        exercise: e.g. `"ablation/the-head-that-reads-france"`.
        answer: what the exercise asks for; an answer that cannot be read is *not yet* right, never an error.

    Raises:
        UnknownExercise: no exercise has this name.

    """
    if not isinstance(exercise, str) or exercise not in _CHECKERS:
        near = difflib.get_close_matches(str(exercise), _CHECKERS, n=1, cutoff=0)
        raise UnknownExercise(
            f"exercise unknown: expected a name such as {near[0]!r}, got {shown(exercise)}; "
            f"list them with tlab.exercises.names()"
        )
    try:
        is_correct, message = _CHECKERS[exercise](answer)
    except TlabError as error:
        return Verdict(exercise, is_correct=False, message=f"The answer cannot be read: {error}.")
    return Verdict(exercise, is_correct, message)
