"""Glossary terms in the text: marks the first use of each in every section, and writes the definitions for the browser.

`_static/glossary.js` is a classic script, so that tooltips and the glossary panel work from file:// too.
Refuses: defining anything. What a term means stands in the glossary page alone.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx import addnodes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment
    from sphinx.util.typing import ExtensionMetadata

__all__ = ["Entry", "Glossary", "entries_of", "first_uses", "setup"]

_PAGE = "book/glossary"
_CLASS = "tl-term"
# Papers are named in emphasis, code means itself, and a link inside a link cannot be.
_UNMARKED = (
    nodes.reference,
    nodes.literal,
    nodes.FixedTextElement,
    nodes.title,
    nodes.raw,
    nodes.math,
    nodes.math_block,
    nodes.emphasis,
    nodes.caption,
    nodes.rubric,
    nodes.comment,
    nodes.footnote,
    addnodes.desc,
    addnodes.toctree,
)
# Titles of papers and lists of links: marks would only disturb there.
_UNMARKED_SECTIONS = {"sources", "read-next", "see-also"}


@dataclass(frozen=True)
class Entry:
    """One entry: its names and their ids, its sentence for anyone, and the lesson that shows it."""

    terms: tuple[str, ...]
    ids: tuple[str, ...]
    says: str
    page: str = ""
    title: str = ""


class Glossary:
    """Holds the entries between reading and writing; everything here happens in Sphinx's main process."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def collect(self, app: Sphinx, env: BuildEnvironment) -> list[str]:
        """Read the entries once all pages are read."""
        if _PAGE in env.all_docs:
            self.entries = entries_of(env.get_doctree(_PAGE), env)
        unknown = set(app.config.glossary_marked_by_hand) - {term for entry in self.entries for term in entry.terms}
        if self.entries and unknown:
            raise ValueError(
                f"term unknown: expected terms of {_PAGE}, got {', '.join(sorted(unknown))} "
                "at glossary_marked_by_hand; take them out of conf.py"
            )
        return []

    def mark(self, app: Sphinx, doctree: nodes.document, docname: str) -> None:
        """Make a page's links to terms hoverable, and add one where a section first names a term."""
        if app.builder.format != "html" or docname == _PAGE or not self.entries:
            return
        target = app.builder.get_relative_uri(docname, _PAGE)
        first_uses(doctree, self.entries, target, frozenset(app.config.glossary_marked_by_hand))

    def write(self, app: Sphinx, error: Exception | None) -> None:
        """Write the definitions next to the other scripts."""
        if error is None and app.builder.format == "html":
            data = json.dumps([asdict(entry) for entry in self.entries], ensure_ascii=False, separators=(",", ":"))
            path = Path(app.outdir) / "_static" / "glossary.js"
            path.write_text(f"window.tlGlossary={data};\n", encoding="utf-8")


def entries_of(page: nodes.document, env: BuildEnvironment) -> list[Entry]:
    """Read the entries from the page's definition lists, in alphabetical order."""
    found = []
    for glossary in page.findall(addnodes.glossary):
        for item in glossary.findall(nodes.definition_list_item):
            names = [child for child in item.children if isinstance(child, nodes.term)]
            definition = next(child for child in item.children if isinstance(child, nodes.definition))
            lesson = _lesson(definition, env)
            found.append(
                Entry(
                    terms=tuple(_name(name) for name in names),
                    ids=tuple(name["ids"][0] for name in names),
                    says=" ".join(definition.children[0].astext().split()) if definition.children else "",
                    page=lesson,
                    title=env.titles[lesson].astext() if lesson else "",
                )
            )
    return sorted(found, key=lambda entry: entry.terms[0].lower())


def _name(term: nodes.term) -> str:
    # Sphinx puts the entry for its index into the term.
    return "".join(child.astext() for child in term.children if not isinstance(child, addnodes.index))


def _lesson(definition: nodes.definition, env: BuildEnvironment) -> str:
    targets = (str(link.get("reftarget", "")) for link in definition.findall(addnodes.pending_xref))
    return next((target for target in targets if target in env.all_docs and target != _PAGE), "")


def first_uses(page: nodes.document, entries: Iterable[Entry], target: str, by_hand: frozenset[str]) -> None:
    """Mark links to `target` as terms, and turn the first use of every other term in each section into such a link."""
    listed = list(entries)
    by_id = {identifier: entry for entry in listed for identifier in entry.ids}
    names = {name: entry for entry in listed for name in entry.terms if name not in by_hand}
    pattern = _pattern(names)
    for section in _sections(page):
        seen: set[Entry] = set()
        for node in list(_own(section)):
            if isinstance(node, nodes.reference):
                _, _, identifier = str(node.get("refuri", "")).partition(f"{target}#")
                if identifier in by_id:
                    seen.add(by_id[identifier])
                    node["classes"].append(_CLASS)
            elif isinstance(node, nodes.Text) and _may_be_marked(node):
                pieces = list(_marked(str(node), pattern, names, target, seen))
                if len(pieces) > 1 and node.parent is not None:
                    node.parent.replace(node, pieces)


def _sections(page: nodes.document) -> Iterator[nodes.section]:
    """Give the page's own section and those right below it; what is deeper belongs to them."""
    for top in page.findall(nodes.section):
        if isinstance(top.parent, nodes.document):
            yield top
            yield from (child for child in top.children if isinstance(child, nodes.section))


def _own(section: nodes.section) -> Iterator[nodes.Node]:
    is_top = isinstance(section.parent, nodes.document)
    for child in section.children:
        if not (is_top and isinstance(child, nodes.section)):
            yield from child.findall()


def _may_be_marked(text: nodes.Text) -> bool:
    node: nodes.Node | None = text.parent
    while node is not None and not isinstance(node, nodes.document):
        if isinstance(node, _UNMARKED):
            return False
        if isinstance(node, nodes.container) and ("nb_element" in node or "sd-card" in node["classes"]):
            return False
        if isinstance(node, nodes.section) and _UNMARKED_SECTIONS.intersection(node["ids"]):
            return False
        node = node.parent
    return True


def _pattern(names: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(names, key=len, reverse=True)
    words = "|".join(_inflected(name) for name in longest_first) or r"(?!)"
    return re.compile(rf"(?<![\w-])(?:{words})(?![\w-])")


def _inflected(name: str) -> str:
    """Match a term's plural, and a capital at the beginning of a sentence; capitals inside it mean something."""
    first, rest = name[0], name[1:]
    stem = rf"{re.escape(rest[:-1])}(?:y|ies)" if rest.endswith("y") else rf"{re.escape(rest)}(?:e?s)?"
    either = f"[{first}{first.upper()}]" if first.islower() else re.escape(first)
    return either + stem.replace(r"\ ", r"\s+")


def _marked(
    text: str, pattern: re.Pattern[str], names: dict[str, Entry], target: str, seen: set[Entry]
) -> Iterator[nodes.Node]:
    position = 0
    for match in pattern.finditer(text):
        name = _base(match[0], names)
        if name is None or names[name] in seen:
            continue
        entry = names[name]
        seen.add(entry)
        identifier = entry.ids[entry.terms.index(name)]
        yield nodes.Text(text[position : match.start()])
        yield nodes.reference("", match[0], internal=True, refuri=f"{target}#{identifier}", classes=[_CLASS])
        position = match.end()
    yield nodes.Text(text[position:])


def _base(found: str, names: dict[str, Entry]) -> str | None:
    """Return the name of which `found` is a form."""
    text = " ".join(found.split())
    return next((name for name in names if re.fullmatch(_inflected(name), text)), None)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Collect after reading, mark before writing, write at the end."""
    glossary = Glossary()
    app.add_config_value("glossary_marked_by_hand", default=(), rebuild="html", types=frozenset({tuple, list}))
    app.connect("env-updated", glossary.collect)
    app.connect("doctree-resolved", glossary.mark)
    app.connect("build-finished", glossary.write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
