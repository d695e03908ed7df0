"""The reference pages: every public name is there once, under its public name, and the written tables are true.

`python tests/book/test_reference.py` writes the list of verified architectures anew.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import tlab
from benchmarks.served_book import SITE
from book.extensions.api import markup, public_modules
from tlab import sites
from tlab.code.dialects import transformer_lens

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "book" / "reference"

_DIRECTIVE = re.compile(r"^\.\. public:: (\S+)\n((?:\n?   .*\n)*)", re.MULTILINE)
_ROW = re.compile(r"^\| `([\w.]+)` \| .+ \| `([\w ]+)` \| (?:`([\w.]+)`)? ?\|$", re.MULTILINE)
_BEGIN, _END = "% begin\n", "% end\n"


def _listed() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the tests of the library verify, and what they see refused, as their own list has it."""
    place = ROOT / "tests" / "tlab" / "architectures.py"
    spec = importlib.util.spec_from_file_location("architectures", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["architectures"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    every: dict[str, Any] = module.ARCHITECTURES
    refused = {name: every[name] for name in module.REFUSED}
    return {name: one for name, one in every.items() if name not in refused}, refused


def _table(architectures: dict[str, Any], refused: dict[str, Any]) -> str:
    """Return the page's list: one table for each family, one row for each class, and the classes that are refused."""
    parts = []
    for family, title in (("decoder", "Decoders"), ("encoder", "Encoders"), ("encoder-decoder", "Encoder-decoders")):
        kinds: dict[str, list[str]] = {}
        for name, one in architectures.items():
            if one.family == family:
                kinds.setdefault(one.kind, []).append(name)
        rows = []
        for kind in sorted(kinds, key=str.lower):
            traits = sorted({trait for name in kinds[kind] for trait in architectures[name].traits})
            rows.append(f"| `{kind}` | {', '.join(kinds[kind])} | {', '.join(traits)} |\n")
        head = "| class in `transformers` | verified as | what is peculiar |\n|---|---|---|\n"
        parts.append(f"### {title}\n\n{head}{''.join(rows)}")
    kinds_refused = sorted((one.kind for one in refused.values()), key=str.lower)
    said = ", ".join(f"`{kind}`" for kind in kinds_refused)
    parts.append(f"### Refused\n\nThe blocks of these are built otherwise, and `tlab.load` says so: {said}.\n")
    return "\n".join(parts)


def _parts(page: str) -> tuple[str, str, str]:
    before, _, rest = page.partition(_BEGIN)
    inside, _, after = rest.partition(_END)
    assert rest
    assert after or page.endswith(_END)
    return before, inside, after


def test_the_list_of_architectures_is_what_the_tests_verify() -> None:
    _, inside, _ = _parts((PAGES / "models.md").read_text(encoding="utf-8"))
    assert inside.strip() == _table(*_listed()).strip()


def test_no_architecture_is_both_verified_and_refused() -> None:
    verified, refused = _listed()
    _, inside, _ = _parts((PAGES / "models.md").read_text(encoding="utf-8"))
    rows = [line for line in inside.splitlines() if line.startswith("| `")]
    assert len(rows) == len({one.kind for one in verified.values()})
    assert not [one.kind for one in refused.values() if any(f"`{one.kind}`" in row for row in rows)]


def _documented() -> list[str]:
    found = []
    for path in sorted(PAGES.glob("*.md")):
        for place, body in _DIRECTIVE.findall(path.read_text(encoding="utf-8")):
            module = importlib.import_module(place)
            found += [f"{place}.{name}" for name in body.split() or module.__all__]
    return found


def _public(module: ModuleType) -> list[str]:
    return [f"{module.__name__}.{name}" for name in module.__all__ if not inspect.ismodule(getattr(module, name))]


def test_every_public_name_stands_on_exactly_one_reference_page() -> None:
    modules = public_modules(tlab)
    offered = sorted(name for module in modules for name in _public(module))
    inner = {module.__name__ for module in modules}
    assert sorted(name for name in _documented() if name not in inner) == offered


def test_every_reference_page_is_in_the_contents() -> None:
    listed = re.search(r"```\{toctree\}\n:hidden:\n\n(.*?)```", (PAGES / "index.md").read_text(), re.DOTALL)
    assert listed is not None
    assert sorted(listed[1].split()) == sorted(path.stem for path in PAGES.glob("*.md") if path.stem != "index")


def _rows() -> list[tuple[str, str, str]]:
    return _ROW.findall((PAGES / "sites.md").read_text(encoding="utf-8"))


def test_the_table_of_sites_names_every_site_in_order() -> None:
    assert [name for name, *_ in _rows()] == [*sites._BLOCK_SITES, *sites._MODEL_SITES]


@pytest.mark.parametrize("row", _rows(), ids=lambda row: row[0])
def test_a_row_of_the_table_of_sites_has_the_axes_and_the_foreign_name_of_the_site(row: tuple[str, str, str]) -> None:
    name, axes, foreign = row
    is_outside = name in {"embed", "ln_final.out", "logits"}
    assert axes.split() == list(sites.axes_of(name if is_outside else f"blocks.0.{name}"))
    known = {**transformer_lens._HOOKS, **transformer_lens._OUTSIDE}
    if name in known:
        assert foreign == known[name]
    elif foreign:
        # The generated programs name no rotated queries and keys; TransformerLens' own source does.
        spec = importlib.util.find_spec("transformer_lens")
        assert spec is not None
        assert spec.submodule_search_locations
        folder = Path(spec.submodule_search_locations[0]) / "model_bridge"
        hook = foreign.rpartition(".")[2]
        assert any(hook in path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))


@pytest.mark.parametrize(
    ("written", "laid_out"),
    [
        (["Units: logits."], ["Units:", "    Logits."]),
        (
            ["    Cost: one pass,", "        or two.", "", "    x"],
            ["    Cost:", "        One pass,", "        or two.", "", "    x"],
        ),
        (["Cost: one pass,", "or two.", "", "Next."], ["Cost:", "    One pass,", "    or two.", "", "Next."]),
        (["See `load` first."], ["See ``load`` first."]),
        (["All `head`s."], ["All ``head``\\ s."]),
        (["The vector W_ is", "a|b"], ["The vector W\\_ is", "a\\|b"]),
        (["`a_` and `b|c`"], ["``a_`` and ``b|c``"]),
        ([">>> load('x_').name"], [">>> load('x_').name"]),
        (["Args:", "    x: one."], ["Args:", "    x: one."]),
    ],
)
def test_docstrings_become_markup_that_says_the_same(written: list[str], laid_out: list[str]) -> None:
    assert markup(written) == laid_out


def test_the_arguments_of_a_result_are_its_fields() -> None:
    assert markup(["Args:", "    x: one."], fields=True) == ["Fields:", "    x: one."]


def _built(page: str) -> str:
    return (SITE / "book" / "reference" / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("module", public_modules(tlab), ids=lambda module: module.__name__)
def test_every_public_name_has_an_entry_in_the_built_book(module: ModuleType) -> None:
    pages = [_built(path.with_suffix(".html").name) for path in PAGES.glob("*.md")]
    missing = [name for name in _public(module) if not any(f'id="{name}"' in page for page in pages)]
    assert missing == []


@pytest.mark.parametrize("page", sorted(path.stem for path in PAGES.glob("*.md")))
def test_no_built_reference_page_names_a_private_module(page: str) -> None:
    text = re.sub(r"<[^>]+>", "", _built(f"{page}.html"))
    assert re.findall(r"tlab\.(?:experiments|archive|replay|manifest)\b[\w.]*", text) == []


def test_an_error_under_raises_leads_to_its_entry_on_the_page_of_errors() -> None:
    assert 'href="../errors.html#tlab-unknown-target"' in _built("intervening.html")


if __name__ == "__main__":
    target = PAGES / "models.md"
    before, _, after = _parts(target.read_text(encoding="utf-8"))
    target.write_text(f"{before}{_BEGIN}\n{_table(*_listed())}\n{_END}{after}", encoding="utf-8")
