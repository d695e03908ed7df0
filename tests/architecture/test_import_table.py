"""Who may import whom: the table of the house style, walked over every import of the packages and of the pages."""

from __future__ import annotations

import ast
import sys
from typing import NamedTuple

import pytest
from source_tree import (
    PACKAGES,
    ROOT,
    Import,
    Source,
    cell_code,
    imports_of,
    loose_files,
    modules,
    pages,
    parsed,
    within,
)


class _Room(NamedTuple):
    """What may be imported in a room: rooms of this project, and foreign packages (`None`: any)."""

    ours: tuple[str, ...]
    foreign: frozenset[str] | None = None
    only_typing: tuple[str, ...] = ()
    only_lazy: tuple[str, ...] = ()


_NOTHING: frozenset[str] = frozenset()

# What looks, changes and compares stands on the engine and knows of a model only what the engine can do with it.
_EXPERIMENTS = _Room(
    (
        "tlab.anatomy",
        "tlab.engine",
        "tlab.errors",
        "tlab.experiments",
        "tlab.learning",
        "tlab.manifest",
        "tlab.metrics",
        "tlab.models",
        "tlab.plain",
        "tlab.precision",
        "tlab.references",
        "tlab.results",
        "tlab.sites",
        "tlab.targets",
    ),
    only_typing=("tlab.anatomy", "tlab.models", "plotly", "jaxtyping"),
    only_lazy=("bertviz",),
)

# The longest name that fits a module is its room.
_ROOMS: dict[str, _Room] = {
    "tlab": _Room(
        (
            "tlab.checking",
            "tlab.circuits",
            "tlab.differences",
            "tlab.errors",
            "tlab.exercises",
            "tlab.experiments",
            "tlab.lab",
            "tlab.loading",
            "tlab.metrics",
            "tlab.models",
            "tlab.probe",
            "tlab.results",
            "tlab.sae",
            "tlab.training",
            "tlab.views",
        ),
        _NOTHING,
    ),
    "tlab.__main__": _Room(("tlab.catalogue", "tlab.errors", "tlab.weights"), _NOTHING),
    "tlab.catalogue": _Room((), _NOTHING),
    "tlab.references": _Room((), _NOTHING),
    "tlab.precision": _Room((), frozenset({"torch"})),
    "tlab.errors": _Room((), _NOTHING),
    "tlab.targets": _Room(("tlab.errors",), _NOTHING),
    "tlab.plain": _Room(("tlab.errors",), frozenset({"numpy", "torch"})),
    # Hugging Face's client raises its transport's errors as they are.
    "tlab.hub": _Room(("tlab.errors",), frozenset({"huggingface_hub", "httpx2"})),
    "tlab.weights": _Room(("tlab.catalogue", "tlab.errors")),
    "tlab.memory": _Room(("tlab.errors", "tlab.hub"), frozenset({"torch"})),
    # What a model is made of is found by looking into Hugging Face's modules, and nowhere else.
    "tlab.anatomy": _Room(
        ("tlab.anatomy",), frozenset({"torch", "transformers", "jaxtyping"}), only_typing=("jaxtyping",)
    ),
    "tlab.sites": _Room(("tlab.anatomy", "tlab.errors"), _NOTHING, only_typing=("tlab.anatomy",)),
    "tlab.models": _Room(
        ("tlab.anatomy", "tlab.errors", "tlab.plain", "tlab.sites"),
        frozenset({"torch", "jaxtyping"}),
        only_typing=("jaxtyping", "tlab.anatomy"),
    ),
    "tlab.engine": _Room(
        ("tlab.anatomy", "tlab.engine", "tlab.errors", "tlab.models", "tlab.sites"),
        frozenset({"torch", "jaxtyping"}),
        only_typing=("jaxtyping", "tlab.models"),
    ),
    "tlab.loading": _Room(
        (
            "tlab.anatomy",
            "tlab.catalogue",
            "tlab.engine",
            "tlab.errors",
            "tlab.hub",
            "tlab.memory",
            "tlab.models",
            "tlab.plain",
            "tlab.results",
            "tlab.training",
            "tlab.weights",
        ),
        frozenset({"torch", "transformers", "safetensors", "pandas"}),
        only_lazy=("tlab.training",),
    ),
    # A result shows itself, saves itself and runs again, and importing tlab stays free of plotly: the doors are lazy.
    "tlab.results": _Room(
        ("tlab.archive", "tlab.manifest", "tlab.models", "tlab.replay", "tlab.views"),
        frozenset({"pandas", "plotly"}),
        only_lazy=("tlab.archive", "tlab.replay", "tlab.views"),
        only_typing=("plotly", "tlab.manifest", "tlab.models"),
    ),
    "tlab.manifest": _Room(("tlab.errors", "tlab.models", "tlab.plain", "tlab.results"), _NOTHING),
    "tlab.metrics": _Room(
        ("tlab.errors", "tlab.models", "tlab.plain", "tlab.precision"),
        frozenset({"torch", "jaxtyping"}),
        only_typing=("jaxtyping", "tlab.models"),
    ),
    "tlab.archive": _Room(
        ("tlab.errors", "tlab.manifest", "tlab.metrics", "tlab.results"),
        frozenset({"torch", "numpy", "pandas", "safetensors"}),
    ),
    "tlab.replay": _Room(
        ("tlab.code", "tlab.errors", "tlab.loading", "tlab.manifest", "tlab.models", "tlab.results"),
        frozenset({"torch"}),
        only_lazy=("tlab.code",),
        only_typing=("tlab.models", "tlab.results"),
    ),
    "tlab.code": _Room(
        (
            "tlab.anatomy",
            "tlab.code",
            "tlab.errors",
            "tlab.learning.texts",
            "tlab.manifest",
            "tlab.metrics",
            "tlab.models",
            "tlab.references",
            "tlab.targets",
        ),
        only_typing=("tlab.manifest", "tlab.models"),
    ),
    "tlab.views": _Room(("tlab.results", "tlab.views"), frozenset({"pandas", "plotly", "numpy"})),
    "tlab.views.grid": _Room(("tlab.errors",), _NOTHING),
    "tlab.views.live_figure": _Room(
        ("tlab.errors", "tlab.results"),
        frozenset({"ipywidgets", "plotly", "traitlets"}),
        only_typing=("plotly", "tlab.results"),
        only_lazy=("ipywidgets", "traitlets"),
    ),
    "tlab.experiments": _EXPERIMENTS,
    "tlab.checking": _EXPERIMENTS,
    "tlab.circuits": _EXPERIMENTS._replace(ours=(*_EXPERIMENTS.ours, "tlab.circuits")),
    "tlab.differences": _EXPERIMENTS._replace(
        ours=(*_EXPERIMENTS.ours, "tlab.differences", "tlab.loading", "tlab.replay"), only_typing=()
    ),
    "tlab.learning": _EXPERIMENTS,
    "tlab.probe": _EXPERIMENTS._replace(ours=(*_EXPERIMENTS.ours, "tlab.probe"), only_lazy=()),
    "tlab.sae": _EXPERIMENTS._replace(ours=(*_EXPERIMENTS.ours, "tlab.sae"), only_lazy=()),
    "tlab.training": _Room(("tlab.errors", "tlab.results", "tlab.training", "tlab.weights")),
    "tlab.exercises": _Room(
        (
            "tlab.errors",
            "tlab.exercises",
            "tlab.experiments",
            "tlab.loading",
            "tlab.models",
            "tlab.results",
            "tlab.targets",
        ),
        _NOTHING,
    ),
    # The Lab asks tlab's own verbs, and never the engine.
    "tlab.lab": _Room(
        (
            "tlab.archive",
            "tlab.checking",
            "tlab.code",
            "tlab.errors",
            "tlab.experiments",
            "tlab.lab",
            "tlab.loading",
            "tlab.manifest",
            "tlab.metrics",
            "tlab.models",
            "tlab.replay",
            "tlab.results",
            "tlab.targets",
        ),
        frozenset({"torch", "anywidget", "traitlets", "pandas"}),
        only_typing=("pandas",),
        only_lazy=("anywidget", "traitlets"),
    ),
    "kernel_service": _Room(("kernel_service",)),
    "kb": _Room(("kb",)),
    "book": _Room(("book",)),
    "book.extensions": _Room(
        ("book.extensions", "book.pictures", "kb.documents"),
        frozenset({"sphinx", "docutils", "jupyter_cache", "myst_nb", "myst_parser", "nbformat", "markdown_it", "bs4"}),
    ),
    # What Sphinx highlights with.
    "book.extensions.quiet_code": _Room(("book.extensions",), frozenset({"sphinx", "pygments"})),
}

# A lesson uses the library, and what a reader of it knows already; sliders that ask a kernel are ipywidgets'.
_IN_CELLS = frozenset({"tlab", "torch", "numpy", "pandas", "ipywidgets"})
_FOR_NOBODY = ("tests", "lessons", "conf", "noxfile")


def _room_of(module: str) -> str:
    return max((room for room in _ROOMS if within(module, room)), key=len)


def _is_standard(package: str) -> bool:
    return package in sys.stdlib_module_names


def _violations(source: Source) -> list[str]:
    room = _ROOMS[_room_of(source.name)]
    return [
        f"{source.name}:{one.line} imports {one.target}, {reason}"
        for one in imports_of(source)
        if (reason := _reason_against(one, room))
    ]


def _reason_against(one: Import, room: _Room) -> str | None:
    if one.package in _FOR_NOBODY:
        return "which nobody may"
    if one.package in PACKAGES:
        if not any(within(one.target, ours) for ours in room.ours):
            return "which its room may not"
    elif room.foreign is not None and not _is_standard(one.package) and one.package not in room.foreign:
        return "a foreign package that its room may not use"
    if any(within(one.target, limited) for limited in room.only_typing) and not one.is_typing:
        return "which its room may for types only"
    if any(within(one.target, limited) for limited in room.only_lazy) and not (one.is_lazy or one.is_typing):
        return "which its room may inside a function only"
    return None


def _private_imports(source: Source) -> list[str]:
    own = source.name.split(".", maxsplit=1)[0]
    found = []
    for one in imports_of(source):
        if one.package == own or one.package not in PACKAGES:
            continue
        private = [part for part in (*one.target.split("."), one.name or "") if _is_private(part)]
        if private:
            found.append(f"{source.name}:{one.line} takes {private[0]} from {one.package}")
    return found


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _page_violations(page: Source, public: frozenset[str]) -> list[str]:
    found = []
    for one in imports_of(page):
        if one.package not in _IN_CELLS and not _is_standard(one.package):
            found.append(f"{page.name} imports {one.target}")
        if one.package == "tlab" and (one.target != "tlab" or (one.name is not None and one.name not in public)):
            found.append(f"{page.name} takes {one.name or one.target} out of tlab's inside")
    for node in ast.walk(page.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "tlab":
            found += [] if node.attr in public else [f"{page.name} uses tlab.{node.attr}, which is not public"]
    return found


def _public_names() -> frozenset[str]:
    (package,) = (source for source in modules("tlab") if source.name == "tlab")
    for node in package.tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return frozenset(ast.literal_eval(node.value))
    raise AssertionError("tlab has no __all__")


@pytest.mark.parametrize("room", _ROOMS)
def test_a_room_imports_only_what_the_table_allows(room: str) -> None:
    assert [line for source in modules() if _room_of(source.name) == room for line in _violations(source)] == []


def test_every_room_of_the_table_exists() -> None:
    names = {source.name for source in modules()}
    assert [room for room in _ROOMS if room not in names] == []


def test_every_module_of_tlab_has_a_row_in_the_table() -> None:
    without = [source.name for source in modules("tlab") if source.name != "tlab" and _room_of(source.name) == "tlab"]
    assert without == []


def test_nobody_imports_another_packages_private_names() -> None:
    everything = [*modules(), *pages(), *loose_root_files()]
    assert [line for source in everything for line in _private_imports(source)] == []


def loose_root_files() -> list[Source]:
    """Return the Python files at the root: a test may look inside, these may not."""
    return [source for source in loose_files() if "/" not in source.name]


def test_pages_use_the_public_names_of_tlab_only() -> None:
    assert len(pages()) > 0
    assert [line for page in pages() for line in _page_violations(page, _public_names())] == []


def test_every_page_with_cells_was_read() -> None:
    fences = sum(path.read_text(encoding="utf-8").count("\n```{code-cell}") for path in (ROOT / "lessons").glob("*.md"))
    assert fences > 0
    assert {page.name for page in pages()} >= {
        f"lessons/{path.name}" for path in (ROOT / "lessons").glob("*.md") if "```{code-cell}" in path.read_text()
    }


@pytest.mark.parametrize(
    ("module", "code", "said"),
    [
        ("tlab.views.lens", "from tlab.experiments.logit_lens import LensResult", "tlab.experiments.logit_lens, which"),
        ("tlab.views.lens", "from tlab import engine", "tlab.engine, which its room may not"),
        ("tlab.views.lens", "import torch", "torch, a foreign package"),
        ("tlab.engine", "from tlab.results import Result", "tlab.results, which its room may not"),
        ("tlab.engine", "from ..kb import store", "which its room may not"),
        (
            "tlab.results",
            "from tlab.views.drawing import draw",
            "tlab.views.drawing, which its room may inside",
        ),
        ("tlab.experiments.steer", "from tlab.models import Model", "tlab.models, which its room may for types only"),
        ("tlab.experiments.steer", "import bertviz", "bertviz, which its room may inside a function only"),
        ("kernel_service.pool", "import tlab", "tlab, which its room may not"),
        ("kernel_service.pool", "def f():\n    import tlab.models", "tlab.models, which its room may not"),
        ("kernel_service.pool", "try:\n    pass\nexcept OSError:\n    from kb import chat", "kb.chat, which its room"),
        ("kb.store", "from book import offline", "book.offline, which its room may not"),
        ("kb.store", "from kernel_service.pool import KernelPool", "kernel_service.pool, which its room may not"),
        ("book.extensions.page", "from kb.store import Store", "kb.store, which its room may not"),
        ("book.extensions.page", "import requests", "requests, a foreign package"),
        ("book.pdf", "import conf", "conf, which nobody may"),
        ("kb.store", "from tests.kb import samples", "tests.kb, which nobody may"),
    ],
)
def test_the_walk_finds_a_forbidden_import(module: str, code: str, said: str) -> None:
    (line,) = _violations(parsed(code, module))
    assert said in line


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("tlab.results", "def plot():\n    from tlab.views.drawing import draw"),
        ("tlab.experiments.steer", "if TYPE_CHECKING:\n    from tlab.models import Model"),
        ("tlab.engine", "import torch\nfrom tlab.sites import hook_name"),
        ("book.extensions.page", "from kb.documents import read_documents"),
        ("kb.store", "import psycopg, json"),
    ],
)
def test_the_walk_lets_an_allowed_import_pass(module: str, code: str) -> None:
    assert _violations(parsed(code, module)) == []


def test_the_walk_finds_a_private_name_of_another_package() -> None:
    assert _private_imports(parsed("from kb.store import _connect", "book.pdf")) == [
        "book.pdf:1 takes _connect from kb"
    ]
    assert _private_imports(parsed("import kb._store", "book.pdf"))
    assert _private_imports(parsed("from kb.store import _connect", "kb.index")) == []


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("tlab.engine.run(model, ids)", "uses tlab.engine"),
        ("from tlab.engine import run", "takes run out of tlab's inside"),
        ("from tlab import weights", "takes tlab.weights out of tlab's inside"),
        ("import transformers", "imports transformers"),
    ],
)
def test_the_walk_finds_what_a_cell_may_not_use(cell: str, said: str) -> None:
    page = f"# A lesson\n\n```{{code-cell}} ipython3\n---\ntags: [setup]\n---\nimport tlab\n{cell}\n```\n"
    (line,) = _page_violations(parsed(cell_code(page), "lessons/x.md"), _public_names())
    assert said in line


def test_options_of_a_cell_are_no_code() -> None:
    page = "```{code-cell} ipython3\n:tags: [setup]\n:name: x\n\nimport tlab\n```\n\n```{code-cell}\nx = 1\n```\n"
    assert cell_code(page).split() == ["import", "tlab", "x", "=", "1"]
