"""Finds the passages that fit a question: repairs its spelling, adds what came before, and asks the store once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kb.spelling import Spelling

if TYPE_CHECKING:
    from kb.encoder import Encoder
    from kb.store import Found, Store

__all__ = ["Retrieval", "Retriever"]

_LIMIT = 8
# In standard deviations of the score. A boost helps "what is this?" and harms other questions when it exceeds 2, so
# the large one is kept for questions that point at the page.
_POINTING_BOOST = 2.0
_PAGE_BOOST = 0.3
# Share of the previous question in a follow-up's vector: measured, 0.5 found the right passage where the bare question
# missed it in four of ten cases.
_PREVIOUS_SHARE = 0.5

_POINTING = re.compile(r"\b(?:this|these|here|above|below)\b", re.IGNORECASE)
_FOLLOWING = re.compile(
    r"^(?:and|but|so|then|why|how come|what about|how about|really|for example|more|again)\b"
    r"|\b(?:it|its|that|those|they|them|their|ones?|same|instead|too|also)\b",
    re.IGNORECASE,
)
# A question of at most so many words after another one is read as continuing it.
_SHORT_QUESTION_WORDS = 4


@dataclass(frozen=True)
class Retrieval:
    """What was asked, as it was understood, and the passages found for it, best first."""

    question: str
    found: list[Found]


class Retriever:
    """Answers *where in the book is this?*; safe to call from several threads.

    Args:
        store: the index.
        encoder: makes the question's vector; must be the one that made the index's.

    """

    def __init__(self, store: Store, encoder: Encoder) -> None:
        self._store = store
        self._encoder = encoder
        self._spelling: tuple[int, Spelling] | None = None

    def find(self, question: str, *, page: str = "", previous: str = "") -> Retrieval:
        """Search the corpus.

        Args:
            question: what the reader typed.
            page: docname of the page the reader is on; its passages are favoured.
            previous: the reader's previous question, mixed in if this one continues it.

        Raises:
            StoreUnavailable: (``database-unavailable``) when the database does not answer.

        """
        spelling = self._current_spelling()
        asked = spelling.repair(question)
        text = asked
        (vector,) = self._encoder.embed([asked])
        if previous and _continues(question):
            earlier = spelling.repair(previous)
            (before,) = self._encoder.embed([earlier])
            vector = [now + _PREVIOUS_SHARE * then for now, then in zip(vector, before, strict=True)]
            text = f"{asked} {earlier}"
        boost = _POINTING_BOOST if _POINTING.search(question) else _PAGE_BOOST
        found = self._store.search(vector=vector, text=text, page=page, boost=boost, limit=_LIMIT)
        return Retrieval(asked, found)

    def _current_spelling(self) -> Spelling:
        """Learn the corpus's words again whenever the index has changed."""
        revision = self._store.revision()
        if self._spelling is None or self._spelling[0] != revision:
            self._spelling = (revision, Spelling(self._store.vocabulary(), self._encoder.ordinary_words))
        return self._spelling[1]


def _continues(question: str) -> bool:
    return len(question.split()) <= _SHORT_QUESTION_WORDS or bool(_FOLLOWING.search(question))
