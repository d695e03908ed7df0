"""Reads and checks the knowledge base's documents: front matter, headings, sources. No database, no Sphinx.

A document is a MyST page of the book. Its front matter says what it is; this module refuses one that says it wrongly.
"""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import yaml

from kb import prose
from kb.errors import DocumentError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CATEGORIES", "Document", "Source", "read_document", "read_documents"]

CATEGORIES = (
    "Transformer concepts",
    "Using the Lab",
    "Guided experiments",
    "Interpreting results",
    "Troubleshooting",
    "Mechanistic interpretability research",
)
_KEYS = ("id", "title", "one_liner", "category", "tags", "related", "sources")
_SOURCE_KEYS = {"authors", "title", "year"}
_SOURCE_LINKS = ("arxiv", "doi", "url")
_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_LINK_SHAPES = {
    "arxiv": re.compile(r"\d{4}\.\d{4,5}"),
    "doi": re.compile(r"10\.\d{4,9}/\S+"),
    "url": re.compile(r"https://\S+"),
}
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
_FRONT_MATTER_BYTES = 8_192
_ONE_LINER_CHARACTERS = 200
_EARLIEST_YEAR = 1900
# The section that lists the sources for the reader; front matter and page must name the same works.
SOURCES_SECTION = "Sources"


@dataclass(frozen=True)
class Source:
    """A published work that a document rests on; `link` is its address."""

    authors: str
    title: str
    year: int
    link: str


@dataclass(frozen=True)
class Document:
    """One document of the knowledge base, checked.

    Invariants: `id` is the file's stem; `title` is the page's only top heading; anchors within it are unique.
    """

    id: str
    title: str
    one_liner: str
    category: str
    tags: tuple[str, ...]
    related: tuple[str, ...]
    sources: tuple[Source, ...]
    sections: tuple[prose.Section, ...]


def read_documents(folder: Path) -> list[Document]:
    """Read all documents of a folder, sorted by id, and check that what they call related exists.

    Raises:
        DocumentError: (``document-invalid``) for the first rule that a page breaks.

    """
    documents = [read_document(path) for path in sorted(folder.glob("*.md"))]
    known = {document.id for document in documents}
    for document in documents:
        for other in document.related:
            if other not in known:
                _fail(folder / f"{document.id}.md", "related", f"an id among {', '.join(sorted(known))}", other)
    return documents


def read_document(path: Path) -> Document:
    """Read one document and check it.

    Raises:
        DocumentError: (``document-invalid``) naming the file, the key, what was expected and what stands there.

    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DocumentError(
            f"reading {path.name}: expected UTF-8 text, got byte {error.object[error.start]:#04x} at {error.start}",
            "save the file as UTF-8",
        ) from error
    matter = _front_matter(path, text)
    found = prose.sections(text)
    _check_page(path, text, matter, found)
    return Document(
        id=_slug(path, "id", matter["id"]),
        title=_line(path, "title", matter["title"]),
        one_liner=_line(path, "one_liner", matter["one_liner"]),
        category=_category(path, matter["category"]),
        tags=tuple(_slug(path, "tags", tag) for tag in _list(path, "tags", matter["tags"])),
        related=tuple(_slug(path, "related", other) for other in _list(path, "related", matter["related"])),
        sources=tuple(_source(path, entry, found) for entry in _list(path, "sources", matter["sources"])),
        sections=tuple(found),
    )


def _front_matter(path: Path, text: str) -> dict[str, object]:
    matter = _yaml(path, text)
    if not isinstance(matter, dict):
        _fail(path, "front matter", "keys with values", matter)
    for key in _KEYS:
        if key not in matter:
            _fail(path, "front matter", f"the key {key!r}", "none")
    for key in matter:
        if key not in _KEYS:
            _fail(path, "front matter", f"no keys but {' '.join(_KEYS)}", key)
    return matter


def _yaml(path: Path, text: str) -> object:
    match = _FRONT_MATTER.match(text)
    if match is None:
        _fail(path, "front matter", "YAML between two lines of `---` at the top", text[:40])
    if len(match[1].encode()) > _FRONT_MATTER_BYTES:
        _fail(path, "front matter", f"at most {_FRONT_MATTER_BYTES} bytes", f"{len(match[1].encode())} bytes")
    try:
        # Aliases can make a few lines unfold into gigabytes, and no document needs one.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(match[1], Loader=yaml.SafeLoader)):
            _fail(path, "front matter", "plain values", "a YAML alias")
        loaded: object = yaml.safe_load(match[1])
    except (yaml.YAMLError, ValueError) as error:  # ValueError: such as the date 2024-13-45
        _fail(path, "front matter", "valid YAML", " ".join(str(error).split())[:160])
    return loaded


def _check_page(path: Path, text: str, matter: dict[str, object], found: list[prose.Section]) -> None:
    if matter["id"] != path.stem:
        _fail(path, "id", f"the file's name {path.stem!r}", matter["id"])
    top = [section.title for section in found if section.level == 1]
    if top != [matter["title"]]:
        _fail(path, "headings", f"one top heading, equal to the title {reprlib.repr(matter['title'])}", top)
    for section in found:
        if not section.anchor:
            _fail(path, "headings", "titles that differ and hold Latin letters", section.title)
    if prose.contains_html(text):
        _fail(path, "page", "MyST markdown", "raw HTML")


def _source(path: Path, entry: object, found: list[prose.Section]) -> Source:
    if not isinstance(entry, dict) or not entry.keys() >= _SOURCE_KEYS:
        _fail(path, "sources", "entries with authors, title and year", entry)
    links = [key for key in _SOURCE_LINKS if key in entry]
    if len(links) != 1 or len(entry) != len(_SOURCE_KEYS) + 1:
        _fail(path, "sources", f"authors, title, year and one of {', '.join(_SOURCE_LINKS)}", sorted(map(str, entry)))
    (kind,) = links
    link, year, title = entry[kind], entry["year"], _line(path, "sources title", entry["title"])
    if not isinstance(link, str) or not _LINK_SHAPES[kind].fullmatch(link):
        _fail(path, f"sources {kind}", f"a quoted string like {_LINK_SHAPES[kind].pattern}", link)
    if not isinstance(year, int) or year < _EARLIEST_YEAR:
        _fail(path, "sources year", "a year", year)
    listed = " ".join(part for section in found if section.title == SOURCES_SECTION for part in section.paragraphs)
    if title not in listed or link not in listed:
        _fail(path, "sources", f"each to be listed under the heading {SOURCES_SECTION!r} by title and {kind}", title)
    address = {"arxiv": "https://arxiv.org/abs/", "doi": "https://doi.org/", "url": ""}[kind] + link
    return Source(_line(path, "sources authors", entry["authors"]), title, year, address)


def _category(path: Path, value: object) -> str:
    if value not in CATEGORIES:
        _fail(path, "category", f"one of {', '.join(CATEGORIES)}", value)
    return str(value)


def _slug(path: Path, key: str, value: object) -> str:
    if not isinstance(value, str) or not _SLUG.fullmatch(value):
        _fail(path, key, "lower-case words joined by hyphens", value)
    return value


def _line(path: Path, key: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip() or "\n" in value or len(value) > _ONE_LINER_CHARACTERS:
        _fail(path, key, f"one line of at most {_ONE_LINER_CHARACTERS} characters", value)
    return value


def _list(path: Path, key: str, value: object) -> list[object]:
    if not isinstance(value, list) or not value:
        _fail(path, key, "a list with at least one entry", value)
    return value


def _fail(path: Path, where: str, expected: str, got: object) -> NoReturn:
    raise DocumentError(
        f"checking {path.name}: expected {expected}, got {reprlib.repr(got)} at {where}",
        "see the other files in kb/documents for the form",
    )
