"""The how-to pages: one for each verb, in the frame that all share. The book's build runs what their cells assert."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
from myst_nb.core.read import read_myst_markdown_notebook

import tlab

PAGES = Path(__file__).parents[2] / "book" / "how-to"
NAMES = sorted(path.stem for path in PAGES.glob("*.md") if path.stem != "index")

# Pages about more than one function.
_TOPICS = {"circuits": tlab.circuits, "lab": tlab.lab, "probe": tlab.probe, "sae": tlab.sae, "views": tlab.views}
_FRAME = ("The shortest call", "Read what comes back", "Check that it worked", "A common mistake", "See also")
_LONGEST_CELL = 12
_LONGEST_PAGE = 105  # of which ten are front matter


def _text(name: str) -> str:
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def _cells(text: str) -> list[str]:
    return [cell.source for cell in read_myst_markdown_notebook(text).cells if cell.cell_type == "code"]


def _section(name: str, title: str) -> str:
    return re.split(r"^## ", _text(name).partition(f"## {title}\n")[2], flags=re.MULTILINE)[0]


def _calls(code: str) -> set[str]:
    """Return what is called by its full public name, e.g. `tlab.sae.train`."""
    return {
        name
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call) and (name := ast.unparse(node.func)).startswith("tlab.")
    }


def _verbs() -> list[str]:
    public = [(name, getattr(tlab, name)) for name in tlab.__all__]
    return [
        name for name, found in public if inspect.isfunction(found) and "model" in inspect.signature(found).parameters
    ]


def test_there_are_verbs_to_write_about() -> None:
    assert {"predict", "ablate", "patch_sweep", "steer"} <= set(_verbs())


@pytest.mark.parametrize("verb", _verbs())
def test_every_verb_has_a_page_that_calls_it(verb: str) -> None:
    called = set().union(*map(_calls, _cells(_text(verb))))
    assert f"tlab.{verb}" in called


@pytest.mark.parametrize("topic", _TOPICS)
def test_a_page_about_a_module_calls_or_names_each_of_its_functions(topic: str) -> None:
    module = _TOPICS[topic]
    functions = [name for name in module.__all__ if inspect.isfunction(getattr(module, name))]
    assert [name for name in functions if not re.search(rf"\b{name}\b", _text(topic))] == []


def test_the_page_about_metrics_names_every_kind() -> None:
    assert {kind for kind in tlab.metrics._KINDS if f"- `{kind}(" not in _text("metrics")} == set()


@pytest.mark.parametrize("name", NAMES)
def test_a_page_begins_with_its_goal_and_keeps_the_frame(name: str) -> None:
    text = _text(name)
    assert re.search(rf"^# {name}: .+\n\n\*\*Goal\.\*\* .+\.$", text, re.MULTILINE)
    titles = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert set(_FRAME) <= set(titles)
    assert (titles[0], titles[-1]) == (_FRAME[0], _FRAME[-1])


@pytest.mark.parametrize("name", NAMES)
def test_a_page_asserts_something_about_what_it_computed(name: str) -> None:
    asserted = [
        node for cell in _cells(_text(name)) for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Assert)
    ]
    assert asserted
    assert not [node for node in asserted if isinstance(node.test, ast.Constant)]


@pytest.mark.parametrize("name", NAMES)
def test_a_mistake_is_provoked_and_its_message_leads_to_the_page_of_errors(name: str) -> None:
    mistake = _section(name, "A common mistake")
    if name == "patch_sweep":  # whose mistake has no message: a map of nothing
        assert "isnan().all()" in mistake
        return
    assert "except tlab.TlabError as error:" in mistake
    # Printed outside the `try`: without an error the name is missing, and the build fails.
    assert any(cell.endswith("\nprint(refused)") for cell in _cells(_text(name)))
    assert re.search(r"\{ref\}`tlab-[a-z-]+`", mistake)


@pytest.mark.parametrize("name", NAMES)
def test_pages_and_cells_are_short(name: str) -> None:
    text = _text(name)
    assert len(text.splitlines()) <= _LONGEST_PAGE
    assert max(len(cell.splitlines()) for cell in _cells(text)) <= _LONGEST_CELL
    assert max(len(line) for cell in _cells(text) for line in cell.splitlines()) <= 105


def test_every_page_is_in_the_contents_and_in_the_list() -> None:
    index = _text("index")
    listed = re.search(r"```\{toctree\}\n:hidden:\n\n(.*?)```", index, re.DOTALL)
    assert listed is not None
    assert sorted(listed[1].split()) == NAMES
    assert sorted(re.findall(r"^- \[\w+\]\((\w+)\.md\): .+[.?]$", index, re.MULTILINE)) == NAMES
