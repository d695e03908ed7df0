"""The reference pages: what a package offers, read from its `__all__`, its signatures and its docstrings.

`.. public:: tlab.sae` in a page documents every name of `tlab.sae.__all__`; names in its body choose some of them.
Each function is followed by the results that it returns, without the private modules in which those live. Sphinx'
autodoc and napoleon do the work. Refuses: describing anything itself.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import sys
import types
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment
    from sphinx.util.typing import ExtensionMetadata

__all__ = ["PublicNames", "markup", "public_modules", "setup"]

# Verbs make results, so these have no public place of their own: here autodoc finds them under their bare names.
_RESULTS = "results"
_ROOT = "tlab"

_SHORT_SECTION = re.compile(r"^(\s*)(Shapes|Units|Invariants|Cost|Example|Source|See also): +(\S.*)$")
_CODE = re.compile(r"(?<![`\w:])`([^`]+)`(?!`)")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_LOOKS_LIKE_LINK = re.compile(r"(?<=\w)_(?=[\s.,;:)\]]|$)")


class PublicNames(SphinxDirective):
    """`.. public:: MODULE`; names in its body choose from the module's `__all__`, which is taken whole without them."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return what autodoc makes of the names, in the order in which they are given."""
        module = importlib.import_module(self.arguments[0])
        chosen = [name for line in self.content for name in line.split()]
        unknown = sorted(set(chosen) - set(module.__all__))
        if unknown:
            raise self.error(
                f"name unknown: expected names of {module.__name__}.__all__, got {', '.join(unknown)}; take them out"
            )
        lines = [line for name in chosen or module.__all__ for line in _entry(module, name)]
        found = nodes.container()
        self.state.nested_parse(StringList(lines, source=self.get_source_info()[0]), self.content_offset, found)
        return list(found)


def public_modules(root: types.ModuleType) -> list[types.ModuleType]:
    """Return a package and the modules that its `__all__` offers, and theirs."""
    inner = [getattr(root, name) for name in root.__all__]
    return [root, *(found for one in inner if inspect.ismodule(one) for found in public_modules(one))]


def _entry(module: types.ModuleType, name: str) -> list[str]:
    found = getattr(module, name)
    place = f"{module.__name__}.{name}"
    if inspect.ismodule(found):
        return []
    if inspect.isclass(found):
        return _class_entry(place)
    if not callable(found):
        return [f".. autodata:: {place}", ""]
    results = [line for kind in _first_made_by(module, name) for line in _class_entry(_places()[kind])]
    return [f".. autofunction:: {place}", "", *results]


def _class_entry(place: str) -> list[str]:
    return [f".. autoclass:: {place}", "   :members:", "   :member-order: bysource", ""]


@functools.cache
def _places() -> dict[type, str]:
    """Return where each class is documented: a public one under its name, a result where autodoc finds it."""
    found: dict[type, str] = {}
    named = sys.modules[_RESULTS]
    for module in public_modules(importlib.import_module(_ROOT)):
        public = [getattr(module, name) for name in module.__all__]
        found |= {kind: f"{module.__name__}.{kind.__name__}" for kind in public if inspect.isclass(kind)}
        for kind in (kind for name in module.__all__ for kind in _made(module, name)):
            if getattr(named, kind.__name__, kind) is not kind:
                raise ExtensionError(
                    f"results ambiguous: expected one class of each name, got two {kind.__name__}; rename one"
                )
            setattr(named, kind.__name__, kind)
            found[kind] = f"{_RESULTS}.{kind.__name__}"
    return found


def _first_made_by(module: types.ModuleType, name: str) -> list[type]:
    """Return the classes that are documented with this function: results of the module that no earlier one returns."""
    earlier = [kind for other in module.__all__[: module.__all__.index(name)] for kind in _made(module, other)]
    return [kind for kind in _made(module, name) if kind not in earlier]


def _made(module: types.ModuleType, name: str) -> list[type]:
    function = inspect.unwrap(getattr(module, name))
    if not inspect.isfunction(function):
        return []
    inside = sys.modules[function.__module__]
    words = re.findall(r"\w+", str(function.__annotations__.get("return", "")))
    kinds = [getattr(inside, word, None) for word in words]
    return [kind for kind in kinds if inspect.isclass(kind) and _is_result(kind) and _home(kind) is module]


def _is_result(kind: type) -> bool:
    return any(base.__name__ == "Result" for base in kind.__mro__[1:])


def _home(kind: type) -> types.ModuleType | None:
    """Return the public module that a result belongs to; `None` if it is public itself."""
    modules = public_modules(importlib.import_module(_ROOT))
    if any(getattr(module, name) is kind for module in modules for name in module.__all__):
        return None
    around = [module for module in modules if f"{kind.__module__}.".startswith(f"{module.__name__}.")]
    return max(around, key=lambda module: len(module.__name__), default=None)


def markup(lines: Iterable[str], *, fields: bool = False) -> list[str]:
    """Return a docstring's lines as reStructuredText: code as code, and short sections as sections.

    Docstrings here are written as Markdown is: code in single backticks.

    Args:
        lines: of the docstring.
        fields: whether the arguments are those of a result, which nobody makes by hand.

    """
    out: list[str] = []
    going_on: str | None = None
    for line in lines:
        short = _SHORT_SECTION.match(line)
        if short:
            going_on = short[1]
            out += [f"{going_on}{short[2]}:", f"{going_on}    {_inline(short[3][0].upper() + short[3][1:])}"]
        elif going_on is not None and line.strip() and not line.startswith(f"{going_on} "):
            out.append(f"{going_on}    {_inline(line.strip())}")
        elif fields and line.strip() == "Args:":
            out.append(line.replace("Args", "Fields"))
        else:
            going_on = going_on if line.strip() else None
            out.append(line if line.lstrip().startswith((">>>", "...")) else _inline(line))
    return out


def _inline(line: str) -> str:
    parts = _CODE.split(line)  # every second part was code
    for index in range(0, len(parts), 2):
        parts[index] = _LOOKS_LIKE_LINK.sub(r"\\_", parts[index].replace("|", r"\|"))
    for index in range(1, len(parts), 2):
        parts[index] = f"``{parts[index]}``" + ("\\ " if parts[index + 1][:1].isalnum() else "")
    return "".join(parts)


def _mark_up(_app: Sphinx, what: str, _name: str, found: Any, _options: object, lines: list[str]) -> None:  # noqa: ANN401  autodoc's event
    lines[:] = markup(lines, fields=what == "class" and _is_result(found))
    if what in {"attribute", "data", "property"}:
        # Napoleon would take what stands before a colon in the first line for a type; a comment has none.
        lines[:0] = ["..", ""]


def _sign(
    _app: Sphinx,
    what: str,
    _name: str,
    found: Any,  # noqa: ANN401  autodoc's event
    _options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str, str] | None:
    """Leave a class without its constructor, since functions make its objects, and tell classes of one name apart."""
    if not signature:
        return None
    if what == "class":
        return ("", "")
    inside = sys.modules.get(getattr(found, "__module__", ""))

    def with_place(word: re.Match[str]) -> str:
        kind = getattr(inside, word[0], None)
        return _places().get(kind, word[0]) if inspect.isclass(kind) else word[0]

    return (signature, re.sub(r"\w+", with_place, returns or ""))


def _bare_results(_app: Sphinx, domain: str, _kind: str, content: addnodes.desc_content) -> None:
    if domain != "py":
        return
    for prefix in list(content.parent.findall(addnodes.desc_addname)):
        if prefix.astext() == f"{_RESULTS}.":
            prefix.parent.remove(prefix)


def _resolve(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Link an error to its section on the page of errors, and a bare class name to its entry."""
    if node.get("refdomain") != "py":
        return None
    name = node["reftarget"].rpartition(".")[2]
    # By its name and not by its class: pages are written in a process that has not imported the library.
    label = f"{_ROOT}-{_HUMP.sub('-', name).lower()}"
    labels = env.domains.standard_domain.anonlabels
    if label in labels:
        page, anchor = labels[label]
        return make_refnode(app.builder, node["refdoc"], page, anchor, content, name)
    entries = env.domains.python_domain.objects
    for place in (f"{_RESULTS}.{name}", f"{_ROOT}.{name}"):
        if place in entries:
            entry = entries[place]
            return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, name)
    return None


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directive and what lets autodoc read the house's docstrings."""
    sys.modules.setdefault(_RESULTS, types.ModuleType(_RESULTS, "What the verbs return."))
    app.setup_extension("sphinx.ext.autodoc")
    app.setup_extension("sphinx.ext.napoleon")
    app.add_directive("public", PublicNames)
    # Before napoleon, which turns sections into fields.
    app.connect("autodoc-process-docstring", _mark_up, priority=400)
    app.connect("autodoc-process-signature", _sign)
    app.connect("object-description-transform", _bare_results)
    app.connect("missing-reference", _resolve)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
