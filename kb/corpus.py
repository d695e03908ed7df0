"""Gathers what the chat may quote: documents, glossary and lessons, cut into passages of about a paragraph.

The same files always give the same passages with the same digests; nothing here knows of a database.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from kb import prose
from kb.documents import SOURCES_SECTION, read_documents

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["Passage", "gather"]

# Part of every digest: change it when the encoder, or what is made of a passage, changes.
_RECIPE = "all-MiniLM-L6-v2/1"
# Paragraphs are packed up to this length; the encoder reads 256 word pieces, and a shorter passage is sharper.
_PASSAGE_WORDS = 90
# Lists of links, and exercises: what they say is said elsewhere, or is the reader's to find out.
_UNQUOTED_SECTIONS = {SOURCES_SECTION, "Exercises", "Predict", "Read next", "See also"}
# What no answer should be made of: remarks around a cell ("Run this."), questions to the reader, and a glossary
# entry's pointers to sources and lessons.
_SHORTEST_SENTENCE_WORDS = 4
_NO_ANSWER = re.compile(r"\?|^(?:Source|Sources|Shown in)\b")


@dataclass(frozen=True)
class Passage:
    """A few sentences of one section, with the place where a reader finds them.

    `page` is Sphinx's docname, `anchor` the id of the section in the built page (empty: the page as a whole).
    """

    kind: str
    document: str
    page: str
    title: str
    section: str
    anchor: str
    sentences: tuple[str, ...]

    @property
    def heading(self) -> str:
        """Say what the passage is about: the page's title and the section's."""
        return self.title if self.section == self.title else f"{self.title}: {self.section}"

    @property
    def context(self) -> str:
        """Join heading and sentences: the text that is embedded and counted."""
        return prose.unmarked(" ".join((self.heading + ".", *self.sentences)))

    @cached_property
    def digest(self) -> str:
        """Name the passage by its content."""
        fields = [_RECIPE, self.kind, self.document, self.page, self.title, self.section, self.anchor, self.sentences]
        return hashlib.sha256(json.dumps(fields, ensure_ascii=False).encode()).hexdigest()[:32]


def gather(book_root: Path) -> list[Passage]:
    """Read every page of the corpus below the book's root; a glossary or lesson that is not there is left out.

    Raises:
        DocumentError: (``document-invalid``) when a document breaks a rule.

    """
    found: list[Passage] = []
    for document in read_documents(book_root / "kb" / "documents"):
        found += _of_sections(document.sections, "document", document.id, f"kb/documents/{document.id}")
    glossary = book_root / "book" / "glossary.md"
    if glossary.is_file():
        found += _of_glossary(glossary.read_text(encoding="utf-8"))
    for path in sorted((book_root / "lessons").glob("*.md")):
        page = prose.sections(path.read_text(encoding="utf-8"))
        found += _of_sections(page, "lesson", path.stem, f"lessons/{path.stem}")
    return found


def _of_sections(sections: Iterable[prose.Section], kind: str, document: str, page: str) -> Iterator[Passage]:
    title = ""
    for section in sections:
        title = title or section.title
        if section.title not in _UNQUOTED_SECTIONS:
            for packed in _pack(section.paragraphs):
                yield Passage(kind, document, page, title, section.title, section.anchor, packed)


def _pack(paragraphs: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Group whole paragraphs into passages, as many as fit the length."""
    packed: list[str] = []
    for paragraph in paragraphs:
        fresh = [_closed(sentence) for sentence in prose.sentences(paragraph) if _answers(sentence)]
        if packed and _words(packed) + _words(fresh) > _PASSAGE_WORDS:
            yield tuple(packed)
            packed = []
        packed += fresh
    if packed:
        yield tuple(packed)


def _answers(sentence: str) -> bool:
    return len(sentence.split()) >= _SHORTEST_SENTENCE_WORDS and not _NO_ANSWER.search(sentence)


def _closed(sentence: str) -> str:
    """End a sentence that introduces a list or a listing, which a quotation will not show."""
    return sentence[:-1] + "." if sentence.endswith(":") else sentence


def _words(sentences: Iterable[str]) -> int:
    return sum(len(sentence.split()) for sentence in sentences)


_ENTRY = re.compile(r"^(?P<terms>(?:\S.*\n)+)(?P<definition>(?:[ \t]+\S.*(?:\n|\Z)|[ \t]*\n)+)", re.MULTILINE)


def _of_glossary(markdown: str) -> Iterator[Passage]:
    """Read `{glossary}` directives: unindented lines are terms, indented ones their definition."""
    for body in prose.directives(markdown, "glossary"):
        content = re.sub(r"\A(?:\s*:[\w-]+:.*\n)*", "", body)
        for entry in _ENTRY.finditer(content):
            # "term : key" carries a sort key; further terms are synonyms that share the definition.
            terms = [line.split(" : ")[0].strip() for line in entry["terms"].splitlines()]
            definition = re.sub(r"^[ \t]+", "", entry["definition"], flags=re.MULTILINE)
            headings = prose.sections("\n\n".join([*(f"# {term}" for term in terms), definition]))
            names = [heading.title for heading in headings]
            anchor = prose.term_id(names[0])
            for packed in _pack([" ".join(headings[-1].paragraphs)]):
                yield Passage("glossary", "glossary", "book/glossary", "Glossary", ", ".join(names), anchor, packed)
