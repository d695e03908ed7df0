"""The project's Python as syntax trees: every module of the packages, every code cell of the pages, and their imports.

Reads text only: nothing that is examined here is imported or run.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("tlab", "kernel_service", "kb", "book")

_CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CELL_OPTIONS = re.compile(r"\A(---\n.*?\n---\n|(:[^\n]*\n)+)", re.DOTALL)


@dataclass(frozen=True)
class Source:
    """One module, or one page's code cells taken together.

    Args:
        name: dotted name of a module; path of a page.
        tree: its syntax.
        n_lines: its length.
        is_package: whether it is a package's `__init__`.

    """

    name: str
    tree: ast.Module
    n_lines: int = 0
    is_package: bool = False


@dataclass(frozen=True)
class Import:
    """One imported module or name.

    Args:
        target: dotted module, as far as it is known to be one.
        name: the name taken from it, if any.
        line: where.
        is_lazy: whether it stands inside a function.
        is_typing: whether only a type checker sees it.

    """

    target: str
    name: str | None
    line: int
    is_lazy: bool = False
    is_typing: bool = False

    @property
    def package(self) -> str:
        """The top-level package."""
        return self.target.split(".")[0]


def parsed(text: str, name: str, *, is_package: bool = False) -> Source:
    """Return a source from text."""
    return Source(name, ast.parse(text), len(text.splitlines()), is_package)


@cache
def modules(*packages: str) -> tuple[Source, ...]:
    """Return every module of the named packages, of all of them by default."""
    found = []
    for package in packages or PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if "node_modules" in parts:
                continue
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            found.append(parsed(path.read_text(encoding="utf-8"), name, is_package=is_package))
    return tuple(found)


@cache
def loose_files() -> tuple[Source, ...]:
    """Return the Python files at the root, in the benchmarks and in the tests, which belong to no package."""
    folders = (ROOT / "benchmarks", ROOT / "tests")
    paths = [*sorted(ROOT.glob("*.py")), *(path for folder in folders for path in sorted(folder.rglob("*.py")))]
    return tuple(parsed(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))) for path in paths)


@cache
def front_end_files() -> dict[str, int]:
    """Return the length of every file of the front end, its tests included, by path; what others wrote is left out."""
    folder = ROOT / "book" / "frontend"
    paths = sorted(path for pattern in ("*.ts", "*.mjs") for path in folder.rglob(pattern))
    own = [path for path in paths if "node_modules" not in path.parts and "dist" not in path.parts]
    return {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in own}


@cache
def pages() -> tuple[Source, ...]:
    """Return every page that has code cells, lessons and chapters alike."""
    found = []
    for path in sorted([*(ROOT / "lessons").rglob("*.md"), *(ROOT / "book").rglob("*.md"), *ROOT.glob("*.md")]):
        if "node_modules" not in path.parts:
            code = cell_code(path.read_text(encoding="utf-8"))
            if code:
                found.append(parsed(code, str(path.relative_to(ROOT))))
    return tuple(found)


def cell_code(text: str) -> str:
    """Return the code of a page's cells, one after the other, without their options."""
    return "\n".join(_CELL_OPTIONS.sub("", cell) for cell in _CELL.findall(text))


def imports_of(source: Source, known: frozenset[str] | None = None) -> list[Import]:
    """Return what a source imports; `from tlab import hub` is the module `tlab.hub` where that is known to be one."""
    modules_known = known if known is not None else _known_modules()
    found: list[Import] = []
    _collect(source.tree.body, source, modules_known, found, is_lazy=False, is_typing=False)
    return found


@cache
def _known_modules() -> frozenset[str]:
    return frozenset(source.name for source in modules())


def _collect(
    nodes: list[ast.stmt],
    source: Source,
    known: frozenset[str],
    found: list[Import],
    *,
    is_lazy: bool,
    is_typing: bool,
) -> None:
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [Import(alias.name, None, node.lineno, is_lazy, is_typing) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, source)
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                target, name = (inner, None) if inner in known else (module, alias.name)
                found.append(Import(target, name, node.lineno, is_lazy, is_typing))
        else:
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            guarded = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            for block in ("body", "orelse", "finalbody", "handlers", "cases"):
                inner_nodes = getattr(node, block, [])
                _collect(
                    inner_nodes if isinstance(inner_nodes, list) else [],
                    source,
                    known,
                    found,
                    is_lazy=is_lazy or is_function,
                    is_typing=is_typing or (guarded and block == "body"),
                )


def _absolute(node: ast.ImportFrom, source: Source) -> str:
    if not node.level:
        return node.module or ""
    parts = source.name.split(".")
    base = parts[: len(parts) - node.level + (1 if source.is_package else 0)]
    return ".".join([*base, *([node.module] if node.module else [])])


def within(name: str, room: str) -> bool:
    """Say whether a dotted name is a room or stands inside it."""
    return name == room or name.startswith(f"{room}.")
