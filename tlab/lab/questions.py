"""What the Lab may be asked: every kind of question with its fields, checked one by one, since a question is foreign.

Refuses: answering, and knowing models. What depends on a model (its parts, its tokens) is checked where it is asked.
"""

from __future__ import annotations

import json
import math
import unicodedata
from typing import TYPE_CHECKING, Any

from tlab.errors import UnusablePrompt, UnusableQuestion, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ASKS", "DIALECTS", "MAX_TOKENS", "canonical", "checked_prompt", "checked_question"]

# A page can draw so many, and two cores answer about so many within a reader's patience.
MAX_TOKENS = 256
DIALECTS = ("tlab", "transformer_lens", "nnsight", "torch")
_METHODS = ("zero", "mean", "resample")
_OVER = ("resid_pre", "attn_out", "mlp_out", "head")
_LONGEST_TEXT = 20_000
_LONGEST_NAME = 1000
_MOST_PARTS = 1000
_HIGHEST = 2**31 - 1
_LARGEST_COEF = 10_000.0
_ALLOWED_CONTROLS = "\n\t"


def _refused(field: str, expected: str, got: object, repair: str) -> UnusableQuestion:
    return UnusableQuestion(f"question refused: expected {expected} as {field!r}, got {shown(got)}; {repair}")


def _text(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise _refused(field, "a text", value, "put it in quotes")
    return checked_prompt(value)


def _maybe_text(field: str, value: object) -> str:
    return "" if value == "" else _text(field, value)


def _name(field: str, value: object) -> str:
    if not isinstance(value, str) or not value or len(value) > _LONGEST_NAME:
        raise _refused(field, "a name", value, "take one such as 'smollm2-135m' or 'L23H4'")
    return value


def _names(field: str, value: object) -> list[str]:
    if not isinstance(value, list) or not 0 < len(value) <= _MOST_PARTS:
        raise _refused(field, f"a list of 1 to {_MOST_PARTS} parts", value, "write ['L23H4']")
    return list(dict.fromkeys(_name(field, one) for one in value))


def _count(field: str, value: object) -> int:
    # JavaScript has one kind of number: 3.0 is a whole one there.
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= _HIGHEST:
        raise _refused(field, "a whole number from 0 on", value, "count from 0")
    return number


def _maybe_count(field: str, value: object) -> int | None:
    return None if value is None else _count(field, value)


def _number(field: str, value: object) -> int | float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or abs(value) > _LARGEST_COEF:  # type: ignore[arg-type]
        raise _refused(field, f"a number from −{_LARGEST_COEF:g} to {_LARGEST_COEF:g}", value, "try 4")
    number = float(value)  # type: ignore[arg-type]
    return int(number) if number.is_integer() else number


def _choice(*known: str) -> Callable[[str, object], str]:
    def check(field: str, value: object) -> str:
        if not isinstance(value, str) or value not in known:
            raise _refused(field, f"one of {', '.join(known)}", value, f"try {known[0]!r}")
        return value

    return check


def _about(_field: str, value: object) -> dict[str, Any]:
    question = checked_question(value)
    if question["ask"] == "code":
        raise _refused("about", "a question that is no question for code itself", "code", "ask about an experiment")
    return question


_ASKED: dict[str, Callable[[str, object], Any]] = {"model": _name, "prompt": _text}
_PATCHED: dict[str, Callable[[str, object], Any]] = {**_ASKED, "corrupted": _text}
_FIELDS: dict[str, dict[str, Callable[[str, object], Any]]] = {
    "open": _ASKED,
    "flow": {**_ASKED, "position": _count},
    "part": {**_ASKED, "part": _name, "position": _count},
    "lens": {**_ASKED, "kind": _choice("logit", "tuned")},
    "heads": _ASKED,
    "ablate": {**_ASKED, "parts": _names, "method": _choice(*_METHODS), "seed": _count},
    "head_map": {**_ASKED, "method": _choice(*_METHODS), "seed": _count},
    "patch": {**_PATCHED, "part": _name, "position": _maybe_count},
    "patch_map": {**_PATCHED, "over": _choice(*_OVER)},
    "steer": {**_ASKED, "toward": _text, "away": _maybe_text, "layer": _count, "coef": _number},
    "compare": {**_ASKED, "other": _text},
    "code": {"about": _about, "dialect": _choice(*DIALECTS)},
    "identities": _ASKED,
}
# The type of `code` in the contract is one that was asked of a model, too.
_OPTIONAL = {"code": ("model", "prompt")}

ASKS = tuple(_FIELDS)


def checked_question(given: object) -> dict[str, Any]:
    """Return a question with its fields checked, each as Python's own kind of value.

    Raises:
        UnusableQuestion: it is none, or a field is missing, extra, or of another kind.
        UnusablePrompt: a text in it is empty, or cannot be shown.

    """
    if not isinstance(given, dict) or not all(isinstance(field, str) for field in given):
        raise UnusableQuestion(
            f"question refused: expected an object with a field 'ask', got {shown(given)}; write {{'ask': 'open', …}}"
        )
    ask = given.get("ask")
    if not isinstance(ask, str) or ask not in _FIELDS:
        raise _refused("ask", f"one of {', '.join(_FIELDS)}", ask, "try 'open'")
    fields = _FIELDS[ask]
    missing = [field for field in fields if field not in given]
    if missing:
        raise UnusableQuestion(
            f"question refused: expected {', '.join(map(repr, fields))} in a question of the kind {ask!r}, "
            f"got none as {missing[0]!r}; add it"
        )
    extra = [field for field in given if field not in fields and field != "ask" and field not in _OPTIONAL.get(ask, ())]
    if extra:
        raise UnusableQuestion(
            f"question refused: expected {', '.join(map(repr, fields))} in a question of the kind {ask!r}, "
            f"got {shown(extra[0])} too; leave it out"
        )
    checked = {field: check(field, given[field]) for field, check in fields.items()}
    about = checked.get("about", checked)
    # A question about code is asked of the model and prompt of the experiment that it is about.
    return {"ask": ask, "model": about["model"], "prompt": about["prompt"], **checked}


def checked_prompt(text: str) -> str:
    """Return a text that a reader may have typed.

    Raises:
        UnusablePrompt: it is empty, far too long, or holds control characters.

    """
    if not text:
        raise UnusablePrompt(
            "prompt unusable: expected a text of at least one character, got ''; try 'The capital of France is'"
        )
    if len(text) > _LONGEST_TEXT:
        raise UnusablePrompt(
            f"prompt too long: expected at most {MAX_TOKENS} tokens, got {len(text)} characters; shorten the text"
        )
    controls = [(place, one) for place, one in enumerate(text) if _is_control(one)]
    if controls:
        place, one = controls[0]
        raise UnusablePrompt(
            f"prompt unusable: expected text that can be seen, got the control character U+{ord(one):04X} at "
            f"position {place}; remove it"
        )
    return text


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc" and character not in _ALLOWED_CONTROLS


def canonical(question: Mapping[str, Any]) -> str:
    """Return a question as the text by which a frozen file knows it: its fields in order, without spaces."""
    return json.dumps(question, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
