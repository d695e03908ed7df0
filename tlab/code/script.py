"""Putting a program together: chunks of lines, each with the comment that says why it is there; imports come first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Chunk", "text_of"]


@dataclass(frozen=True)
class Chunk:
    """Lines that belong together.

    Args:
        comment: what a student should know before reading them; may be empty.
        lines: Python at the outermost level.

    """

    comment: str
    lines: Sequence[str]


def text_of(chunks: Iterable[Chunk]) -> str:
    """Return the program: imports in one place, two empty lines around functions, one between chunks."""
    imports: list[str] = []
    body: list[str] = []
    for chunk in chunks:
        lines: list[str] = []
        for line in chunk.lines:
            (imports if line.startswith(("import ", "from ")) else lines).append(line)
        if body and lines:
            body.append("")
        body += [*(f"# {line}" for line in chunk.comment.splitlines() if lines), *_trimmed(lines)]
    plain = sorted({line for line in imports if line.startswith("import ")})
    return "\n".join([*plain, *_merged(imports), "", *_spaced(body), ""])


def _trimmed(lines: list[str]) -> list[str]:
    while lines and not lines[0]:
        lines = lines[1:]
    while lines and not lines[-1]:
        lines = lines[:-1]
    return lines


def _merged(imports: Sequence[str]) -> list[str]:
    """Return one `from` line for each module."""
    names: dict[str, set[str]] = {}
    for line in imports:
        if line.startswith("from "):
            module, _, listed = line.removeprefix("from ").partition(" import ")
            names.setdefault(module, set()).update(listed.split(", "))
    return [f"from {module} import {', '.join(sorted(names[module]))}" for module in sorted(names)]


def _spaced(lines: Sequence[str]) -> list[str]:
    """Set functions apart, comments with them, and leave never more than one empty line elsewhere."""
    spaced: list[str] = []
    is_inside = False
    for number, line in enumerate(lines):
        if not line:
            if spaced and spaced[-1] and not is_inside:
                spaced.append("")
            elif is_inside and _ends(lines, number):
                is_inside = False
                spaced += ["", ""]
            elif is_inside:
                spaced.append("")
            continue
        if line.startswith("def "):
            spaced = _with_two_before(spaced)
            is_inside = True
        elif is_inside and not line.startswith(" "):
            is_inside = False
            spaced += ["", ""]
        spaced.append(line)
    return spaced


def _ends(lines: Sequence[str], number: int) -> bool:
    """Say whether the function that the empty line `number` stands in is over."""
    following = next((line for line in lines[number:] if line), "")
    return not following.startswith(" ")


def _with_two_before(lines: list[str]) -> list[str]:
    """Return the lines with two empty ones before the comment that they end with, or at their end."""
    cut = len(lines)
    while cut and lines[cut - 1].startswith("#"):
        cut -= 1
    before = lines[:cut]
    while before and not before[-1]:
        before.pop()
    return [*before, *(["", ""] if before else []), *lines[cut:]]
