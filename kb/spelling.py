"""Repairs misspelt words of a question against the words of the corpus. Leaves ordinary English words alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

__all__ = ["Spelling"]

_WORD = re.compile(r"[A-Za-z]+")
# Below this length a repair guesses more often than it helps; four letters may only have swapped places ("maks").
_SHORTEST_REPAIRED = 4
_SHORTEST_CHANGED = 5
# From this length on, two slips still leave enough of the word.
_LONG_WORD = 8


class Spelling:
    """Knows the corpus's words; `repair` replaces unknown ones by the nearest.

    A word stays as it is if the corpus has it or if it is ordinary English, since a question about *pasta* must not
    become one about the *past*. Of several candidates at the same distance the most frequent wins.

    Args:
        corpus: the corpus's words in lower case, with their frequencies.
        ordinary: words that are right although the corpus lacks them.

    """

    def __init__(self, corpus: Mapping[str, int], ordinary: Container[str]) -> None:
        self._words = {word: count for word, count in corpus.items() if word.isalpha()}
        self._ordinary = ordinary

    def repair(self, text: str) -> str:
        """Return the text with its misspelt words replaced."""
        return _WORD.sub(lambda match: self._of_word(match[0]), text)

    def _of_word(self, written: str) -> str:
        word = written.lower()
        if len(word) < _SHORTEST_REPAIRED or word in self._words or word in self._ordinary:
            return written
        allowed = 2 if len(word) >= _LONG_WORD else 1
        best = min(
            ((distance, -count, known) for known, count in self._words.items()
             if abs(len(known) - len(word)) <= allowed and len(known) >= _SHORTEST_REPAIRED
             and (distance := slips(word, known, allowed)) <= allowed
             and (len(word) >= _SHORTEST_CHANGED or sorted(word) == sorted(known))),
            default=None,
        )  # fmt: skip
        return best[2] if best else written


def slips(written: str, meant: str, most: int) -> int:
    """Count the letters added, left out, changed or swapped with a neighbour; more than `most` count as `most` + 1."""
    before: list[int] = []
    row = list(range(len(meant) + 1))
    for i, letter in enumerate(written, start=1):
        last, row, older = row, [i], before
        for j, other in enumerate(meant, start=1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == meant[j - 2] and written[i - 2] == other:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        before = last
        if min(row) > most:
            return most + 1
    return min(row[-1], most + 1)
