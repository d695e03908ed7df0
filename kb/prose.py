"""Turns MyST markdown into sections of plain sentences with the ids that Sphinx gives them. Reads no files.

Code cells, figures, tables of contents and hidden solutions are left out: what remains is prose that may be quoted.
Inline code keeps its backticks, since the chat shows them; all other markup is gone and formulas are readable text.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt
from mdit_py_plugins.colon_fence import colon_fence_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.front_matter import front_matter_plugin
from mdit_py_plugins.myst_blocks import myst_block_plugin
from mdit_py_plugins.myst_role import myst_role_plugin

from kb.formulas import readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from markdown_it.token import Token

__all__ = ["Section", "contains_html", "directives", "section_id", "sections", "sentences", "term_id", "unmarked"]

# Directives whose body is prose of the page. Everything else (code, figures, solutions in dropdowns) stays out.
_PROSE_DIRECTIVES = {"admonition", "attention", "caution", "danger", "hint", "important", "note", "tip", "warning"}
_DIRECTIVE = re.compile(r"\{([\w:-]+)\}\s*(.*)")
_ROLE_WITH_TARGET = re.compile(r"^(.*?)\s*<[^<>]*>$", re.DOTALL)
# A full stop after these ends no sentence.
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|cf|vs|al|etc|Fig|fig|Eq|eq|No|ca|approx)|\b[A-Z])\.$")
_SENTENCE_END = re.compile(r"""(?<=[.!?])["')\]]*\s+(?=["'(\[`]*[A-Z0-9`])""")


@dataclass
class Section:
    """A heading and the paragraphs below it, down to the next heading of any level.

    `anchor` is the id in the built page, or empty where Sphinx would number a heading that occurs twice.
    """

    level: int
    title: str
    anchor: str
    paragraphs: list[str] = field(default_factory=list)


def sections(markdown: str) -> list[Section]:
    """Split a page at its headings, in order; text before the first heading belongs to none and is dropped."""
    found: list[Section] = []
    taken: set[str] = set()
    tokens = _parser().parse(markdown)
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            heading = tokens[index + 1]
            anchor = section_id(_plain(heading, formula=str))
            found.append(Section(int(token.tag[1]), _plain(heading), "" if anchor in taken else anchor))
            taken.add(anchor)
        elif found and not (token.type == "inline" and tokens[index - 1].type == "heading_open"):
            found[-1].paragraphs += _paragraphs(token, tokens[index - 1])
    return found


def directives(markdown: str, name: str) -> list[str]:
    """Give the bodies of all directives of one name, at the top level of a page."""
    bodies = []
    for token in _parser().parse(markdown):
        match = _directive(token)
        if match and match[1] == name:
            bodies.append(token.content)
    return bodies


def contains_html(markdown: str) -> bool:
    """Say whether a page holds raw HTML."""
    tokens = _parser().parse(markdown)
    return any(
        part.type in {"html_block", "html_inline"} for token in tokens for part in (token, *(token.children or ()))
    )


def sentences(paragraph: str) -> list[str]:
    """Split a paragraph after full stops that end a sentence; a lead-in with a colon stays with what follows."""
    found: list[str] = []
    start = 0
    for match in _SENTENCE_END.finditer(paragraph):
        head = paragraph[start : match.start()].rstrip("\"')]")
        if not _ABBREVIATION.search(head):
            found.append(paragraph[start : match.end()].strip())
            start = match.end()
    return [sentence for sentence in (*found, paragraph[start:].strip()) if sentence]


def unmarked(text: str) -> str:
    """Take the backticks off, for models and word counts that do not know them."""
    return text.replace("`", "")


def section_id(title: str) -> str:
    """Make the id that docutils gives a section of this title; a test compares the two."""
    return re.sub(r"^[-0-9]+|-+$", "", re.sub(r"[^a-z0-9]+", "-", _ascii(title.lower())))


def term_id(term: str) -> str:
    """Make the id that Sphinx gives a glossary term; unlike a section's it keeps capitals, dots and underscores."""
    return re.sub(r"^[-0-9._]+|-+$", "", re.sub(r"[^a-zA-Z0-9._]+", "-", _ascii(f"term-{term}")))


def _ascii(text: str) -> str:
    letters = text.translate(_LETTERS)
    return " ".join(unicodedata.normalize("NFKD", letters).encode("ascii", "ignore").decode("ascii").split())


# Letters that have no decomposition; docutils writes them so.
_LETTERS = str.maketrans({"ß": "sz", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ħ": "h", "ı": "i", "ł": "l", "ŧ": "t"})


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable("table")
    parser.use(front_matter_plugin).use(dollarmath_plugin).use(myst_role_plugin)
    return parser.use(myst_block_plugin).use(colon_fence_plugin)


def _directive(token: Token) -> re.Match[str] | None:
    return _DIRECTIVE.match(token.info) if token.type in {"fence", "colon_fence"} else None


def _paragraphs(token: Token, before: Token) -> Iterator[str]:
    if token.type == "inline" and before.type == "paragraph_open":
        text = _plain(token)
        if text:
            yield text
    match = _directive(token)
    if match and match[1] in _PROSE_DIRECTIVES:
        inside = sections(f"# x\n\n{_without_options(token.content)}")
        yield from (paragraph for section in inside for paragraph in section.paragraphs)


def _without_options(body: str) -> str:
    return re.sub(r"\A(?:\s*:[\w-]+:.*\n)*", "", body)


def _plain(inline: Token, *, formula: Callable[[str], str] = readable) -> str:
    return " ".join("".join(_pieces(inline.children or [], formula)).split())


def _pieces(tokens: Sequence[Token], formula: Callable[[str], str]) -> Iterator[str]:
    for token in tokens:
        if token.type == "text":
            yield token.content
        elif token.type in {"softbreak", "hardbreak"}:
            yield " "
        elif token.type == "code_inline":
            yield f"`{token.content}`"
        elif token.type in {"math_inline", "math_inline_double"}:
            yield formula(token.content)
        elif token.type == "myst_role":
            target = _ROLE_WITH_TARGET.match(token.content)
            yield target[1] if target else token.content
