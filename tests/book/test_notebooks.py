"""The lessons as plain notebooks."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest

from book.notebooks import main, plain_markdown, to_notebook, write_all

LESSONS = Path(__file__).parents[2] / "lessons"


def test_every_lesson_becomes_a_valid_clean_notebook(tmp_path: Path) -> None:
    written = write_all(tmp_path)
    assert [path.stem for path in written] == sorted(path.stem for path in LESSONS.glob("*.md"))
    for path in written:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert len(code) >= 3
        for cell in code:
            assert cell.outputs == []
            assert cell.execution_count is None
            ast.parse(cell.source)
        prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        for leftover in (":::", "{term}", "{doc}", "{ref}", ":class:", "```{"):
            assert leftover not in prose, f"{leftover} in {path.name}"


def test_code_cells_keep_their_source_letter_by_letter() -> None:
    for path in LESSONS.glob("*.md"):
        text = path.read_text()
        for cell in to_notebook(text).cells:
            if cell.cell_type == "code":
                assert cell.source in text


@pytest.mark.parametrize(
    ("myst", "plain"),
    [
        ("A {term}`residual stream`.", "A residual stream."),
        ("See {doc}`the tour <tour>`.", "See the tour."),
        (":::{dropdown} Look closer\n:color: light\n\nMaths.\n:::", "**Look closer**\n\n\nMaths."),
        ("(label-one)=\n## Title", "## Title"),
        ("`plain code` and $x_1$", "`plain code` and $x_1$"),
    ],
)
def test_myst_becomes_ordinary_markdown(myst: str, plain: str) -> None:
    assert plain_markdown(myst) == plain


def test_a_wrong_call_answers_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    assert capsys.readouterr().err.count("\n") == 1
