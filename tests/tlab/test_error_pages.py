"""Every error code has its entry on the book's error page, and every entry there a code that tlab raises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tlab import errors

_PAGE = Path(__file__).parents[2] / "book" / "errors.md"
_LABEL = re.compile(r"^\((tlab-[a-z-]+)\)=\n+#+ \S", re.MULTILINE)


def _raised() -> set[str]:
    kinds = [getattr(errors, name) for name in errors.__all__]
    return {kind.code for kind in kinds if isinstance(kind, type) and kind is not errors.TlabError}


def test_every_code_has_an_entry_and_every_entry_a_code() -> None:
    labels = _LABEL.findall(_PAGE.read_text(encoding="utf-8"))
    # The root is never raised; an entry for it is welcome and not required.
    assert set(labels) - {errors.TlabError.code} == _raised()
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("code", sorted(_raised()))
def test_every_entry_has_symptom_cause_wrong_right_and_fix(code: str) -> None:
    page = _PAGE.read_text(encoding="utf-8")
    _, _, rest = page.partition(f"({code})=\n")
    entry = re.split(r"^\([a-z-]+\)=$", rest, flags=re.MULTILINE)[0]
    parts = re.findall(r"^\*\*(Symptom|Cause|Wrong|Right|Fix)\b", entry, re.MULTILINE)
    assert parts == ["Symptom", "Cause", "Wrong", "Right", "Fix"]
