"""What the search knows: one entry for every section, glossary term, name of the library and error code.

`_static/search-index.js` is a classic script, loaded when a reader first searches, on a server and from file:// alike.
It takes the place of Sphinx's own index, which knows pages only and forgives no slip of the finger.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from docutils import nodes
from sphinx import addnodes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment
    from sphinx.util.typing import ExtensionMetadata

__all__ = ["Found", "entries_of", "excerpt_and_words", "setup"]

_GLOSSARY, _ERRORS = "book/glossary", "book/errors"
# The longest beginning that fits says what kind of page it is.
_KINDS = {
    "lessons/": "lesson",
    "book/how-to/": "how-to",
    "book/reference/": "reference",
    "kb/documents/": "background",
    _GLOSSARY: "term",
    _ERRORS: "error",
    "": "page",
}
_EXCERPT_CHARACTERS = 150
_WORD = re.compile(r"[^\W_][\w'’-]*[^\W_]", re.UNICODE)
# Too frequent to find anything by.
_STOP_WORDS = frozenset(
    """the and for that with this are was from not but its has have you your which what when where how can one all any
    each into than then they them their there here only also more most other such same these those both between after
    before over under while does did been being will would should could may might must about out off own very just even
    so is it in on of to as at by be or an if no do we us our it's too per via""".split()  # noqa: SIM905  a hundred quotes would hide the words
)
_LEFT_OUT = (
    nodes.section,
    nodes.title,
    nodes.literal_block,
    nodes.raw,
    nodes.math_block,
    nodes.comment,
    addnodes.desc,
    addnodes.toctree,
    addnodes.index,
)
_SEARCH_SCRIPTS = ("doctools.js", "sphinx_highlight.js")


class Found(NamedTuple):
    """One entry, in the order in which the script lists it."""

    kind: str
    page: str
    anchor: str
    title: str
    within: str
    excerpt: str
    words: str


def entries_of(env: BuildEnvironment) -> list[Found]:
    """Read every page once more and list what can be found there."""
    found = []
    for page in sorted(env.all_docs):
        doctree, kind = env.get_doctree(page), _kind(page)
        title = env.titles[page].astext()
        if kind == "term":
            found += list(_terms(doctree, page, title))
            continue
        found += list(_sections(doctree, page, kind, title))
        found += list(_names(doctree, page, title))
    return found


def _kind(page: str) -> str:
    return _KINDS[max((start for start in _KINDS if page.startswith(start)), key=len)]


def _sections(doctree: nodes.document, page: str, kind: str, title: str) -> Iterator[Found]:
    for section in doctree.findall(nodes.section):
        heading = section.next_node(nodes.title)
        own = heading.astext() if heading else title
        is_top = isinstance(section.parent, nodes.document)
        excerpt, words = excerpt_and_words(" ".join(_prose(section)))
        yield Found(kind, page, "" if is_top else section["ids"][0], own, "" if is_top else title, excerpt, words)


def _prose(section: nodes.Element) -> Iterator[str]:
    """Give the section's own text, without that of sections, code, and documented names inside it."""
    for child in section.children:
        if isinstance(child, _LEFT_OUT):
            continue
        if isinstance(child, nodes.container) and "nb_element" in child:
            continue
        if isinstance(child, nodes.TextElement):
            yield _plain(child)
        elif isinstance(child, nodes.Element):
            yield from _prose(child)


def _plain(paragraph: nodes.Element) -> str:
    """Give a paragraph's words; formulas that only TeX can read are left out."""
    texts = (
        text for text in paragraph.findall(nodes.Text) if not (isinstance(text.parent, nodes.math) and "\\" in text)
    )
    return " ".join("".join(texts).split())


def _terms(doctree: nodes.document, page: str, title: str) -> Iterator[Found]:
    for item in doctree.findall(nodes.definition_list_item):
        names = [child for child in item.children if isinstance(child, nodes.term)]
        excerpt, words = excerpt_and_words(" ".join(_prose(item.children[-1])))
        own = [child.astext() for name in names for child in name.children if isinstance(child, nodes.Text)]
        yield Found("term", page, names[0]["ids"][0], ", ".join(own), title, excerpt, words)


def _names(doctree: nodes.document, page: str, title: str) -> Iterator[Found]:
    for description in doctree.findall(addnodes.desc):
        for signature in description.findall(addnodes.desc_signature):
            if signature.parent is not description or not signature["ids"]:
                continue
            content = description.next_node(addnodes.desc_content)
            paragraph = content.next_node(nodes.paragraph) if content else None
            says = " ".join(paragraph.astext().split()) if paragraph else ""
            name = str(signature.get("fullname") or signature["ids"][0])
            module = str(signature.get("module") or "")
            shown = f"{module}.{name}" if module.startswith("tlab") else name
            yield Found("api", page, signature["ids"][0], shown, title, _shortened(says), "")


def excerpt_and_words(text: str) -> tuple[str, str]:
    """Return the beginning of a text, and every other word of it once: the order of the rest is found by nobody."""
    excerpt = _shortened(text)
    shown = {word.lower() for word in _WORD.findall(excerpt)}
    rest = dict.fromkeys(word.lower() for word in _WORD.findall(text))
    return excerpt, " ".join(word for word in rest if word not in shown and word not in _STOP_WORDS)


def _shortened(text: str) -> str:
    if len(text) <= _EXCERPT_CHARACTERS:
        return text
    return text[:_EXCERPT_CHARACTERS].rsplit(" ", 1)[0].rstrip(",;:") + " …"


def _no_second_search(app: Sphinx) -> None:
    if app.builder.format == "html":
        app.builder.search = False  # type: ignore[attr-defined]  # no searchindex.js beside ours


def _fewer_scripts(
    _app: Sphinx, _page: str, _template: str, context: dict[str, object], _doctree: nodes.document | None
) -> None:
    """Leave out the scripts that serve Sphinx's search and its keys, which would answer twice."""
    scripts = context.get("script_files")
    if isinstance(scripts, list):
        context["script_files"] = [
            script for script in scripts if not str(getattr(script, "filename", script)).endswith(_SEARCH_SCRIPTS)
        ]


def _write(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        data = json.dumps(entries_of(app.env), ensure_ascii=False, separators=(",", ":"))
        path = Path(app.outdir) / "_static" / "search-index.js"
        path.write_text(f"window.tlSearchIndex={data};\n", encoding="utf-8")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Write the index at the end; take Sphinx's out of the way."""
    app.connect("builder-inited", _no_second_search)
    app.connect("html-page-context", _fewer_scripts, priority=900)
    app.connect("build-finished", _write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
