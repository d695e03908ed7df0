"""What a reader asks, checked at the door: sizes, types and characters. Knows nothing of answers."""

from __future__ import annotations

import json
import re
import reprlib
from dataclasses import dataclass
from typing import NoReturn

from kb.errors import QuestionError

__all__ = ["MAX_BODY_BYTES", "Question", "clean", "read_question"]

MAX_BODY_BYTES = 32 * 1024
_QUESTION_CHARACTERS = 600
_ANSWER_CHARACTERS = 4_000
_PAGE = re.compile(r"[\w./-]{0,200}", re.ASCII)
# More turns may come, the last ones are kept.
_TURNS_SENT = 50
_TURNS_KEPT = 4


@dataclass(frozen=True)
class Question:
    """What a reader asks: the words, the page (docname) they are on, and earlier turns, oldest first."""

    text: str
    page: str = ""
    history: tuple[tuple[str, str], ...] = ()

    @property
    def previous(self) -> str:
        """The question before, or nothing."""
        return self.history[-1][0] if self.history else ""


def read_question(body: bytes) -> Question:
    """Read a question from the JSON that a browser sent.

    Raises:
        QuestionError: (``question-invalid``) naming the field, what was expected and what came.

    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        _refuse("body", "JSON", body[:40])
    if not isinstance(data, dict):
        _refuse("body", "a JSON object", data)
    page = data.get("page", "")
    if not isinstance(page, str) or not _PAGE.fullmatch(page):
        _refuse("page", "a page's name such as lessons/tour", page)
    turns = data.get("history", [])
    if not isinstance(turns, list) or len(turns) > _TURNS_SENT or not all(isinstance(turn, dict) for turn in turns):
        _refuse("history", f"a list of at most {_TURNS_SENT} objects", turns)
    history = tuple(
        (_text(turn, "question", _QUESTION_CHARACTERS), _text(turn, "answer", _ANSWER_CHARACTERS, may_be_empty=True))
        for turn in turns[-_TURNS_KEPT:]
    )
    return Question(_text(data, "question", _QUESTION_CHARACTERS), page, history)


def clean(text: str) -> str:
    """Replace what is no printable character (NUL, lone surrogates, controls) and shrink blanks."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _text(fields: dict[str, object], name: str, most: int, *, may_be_empty: bool = False) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        _refuse(name, "a string", value)
    text = clean(value)
    if len(text) > most:
        _refuse(name, f"at most {most} characters", f"{len(text)} characters")
    if not text and not may_be_empty:
        _refuse(name, "some words", value)
    return text


def _refuse(where: str, expected: str, got: object) -> NoReturn:
    raise QuestionError(
        f"reading the question: expected {expected}, got {reprlib.repr(got)} at {where}",
        'send {"question": "…", "page": "lessons/tour", "history": []}',
    )
