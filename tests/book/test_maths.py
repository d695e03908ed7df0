"""Formulas set at build: by the real KaTeX through the real Node, a page's together, and refused with a sentence."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from docutils import nodes

from benchmarks.served_book import SITE
from book.extensions.maths import Formula, FormulaError, Formulas, formula_of, latex_output, set_by_node

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
X = Formula("inline", "x^2")
CONF = """
extensions = ["myst_parser", "book.extensions.maths"]
myst_enable_extensions = ["amsmath", "dollarmath"]
html_static_path = [{dist!r}]
"""


def counting() -> tuple[list[Sequence[Formula]], Formulas]:
    """Formulas that note what was asked of Node together."""
    asked: list[Sequence[Formula]] = []

    def ask(wanted: Sequence[Formula]) -> list[dict[str, str]]:
        asked.append(wanted)
        return set_by_node(wanted)

    return asked, Formulas(ask)


def test_a_page_asks_once_for_all_its_formulas_and_never_again() -> None:
    asked, formulas = counting()
    page = [X, Formula("display", r"\frac{a}{b}"), X]
    formulas.learn("a", page)
    formulas.learn("b", page)
    assert formulas.html("c", X) == formulas.html("a", X)
    assert asked == [[X, Formula("display", r"\frac{a}{b}")]]


def test_a_formula_is_html_for_the_eye_and_mathml_for_the_ear() -> None:
    _, formulas = counting()
    html = formulas.html("a", X)
    assert '<span class="katex-html" aria-hidden="true">' in html
    assert "<msup><mi>x</mi><mn>2</mn></msup>" in html
    assert '<annotation encoding="application/x-tex">x^2</annotation>' in html
    assert "katex-display" in formulas.html("a", Formula("display", "x^2"))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (r"\nosuch{x}", "Undefined control sequence: \\nosuch"),
        (r"\frac{a", "expected '}' at end of input"),
        (r"\href{javascript:a()}{x}", r"got \href, which reaches beyond it"),
        (r"\htmlClass{tl-button}{x}", r"got \htmlClass"),
        (r"\includegraphics{a.png}", r"got \includegraphics"),
        (r"\def\a{\a\a}\a", r"got \def; write out"),
        (r"\hspace{-9999em}x", "at most 100 em"),
        ("{" * 4000 + "}" * 4000, "nested too deeply"),
    ],
)
@pytest.mark.parametrize("kind", ["inline", "display", "output"])
def test_what_cannot_be_set_stops_the_build_and_names_page_and_formula(kind: str, source: str, reason: str) -> None:
    formula = Formula(kind, f"so: ${source}$" if kind == "output" else source)  # type: ignore[arg-type]
    with pytest.raises(FormulaError, match=r"^formula not set: expected TeX that KaTeX can set") as caught:
        Formulas(set_by_node).learn("lessons/a", [X, formula])
    message = str(caught.value)
    assert reason in message
    assert " at page lessons/a (" in message
    assert formula.source[:100] in message
    assert message.count("\n") == 0


def test_all_mistakes_of_a_page_are_named_together() -> None:
    wrong = [Formula("inline", rf"\no{letter}") for letter in "abc"]
    with pytest.raises(FormulaError) as caught:
        Formulas(set_by_node).learn("a", wrong)
    assert [line.split(" got ")[1].split(" at ")[0] for line in str(caught.value).splitlines()] == [
        formula.source for formula in wrong
    ]


def test_without_node_the_build_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_args, **_options: None)
    with pytest.raises(FormulaError, match=r"expected Node on PATH .* nox -s frontend"):
        set_by_node([X])


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (nodes.math("", "x"), Formula("inline", "x")),
        (nodes.math_block("", "x"), Formula("display", "x")),
        (nodes.math_block("", r"a \\ b"), Formula("display", r"\begin{split}a \\ b\end{split}")),
        (nodes.math_block("", "a\n\nb"), Formula("display", r"\begin{gathered}a\\b\end{gathered}")),
        (
            nodes.math_block("", r"\begin{align}a \\ b\end{align}", nowrap=True),
            Formula("display", r"\begin{align}a \\ b\end{align}"),
        ),
        (latex_output("for $x$"), Formula("output", "for $x$")),
    ],
)
def test_sphinx_s_ways_of_writing_formulas(node: nodes.Element, expected: Formula) -> None:
    assert formula_of(node) == expected
    assert "katex" in Formulas(set_by_node).html("a", expected)


def test_a_latex_output_is_text_with_formulas_and_no_markup_of_its_own() -> None:
    html = Formulas(set_by_node).html("a", Formula("output", r"<b>so</b> $x<1$ and \[y\]"))
    assert html.startswith("&#60;b&#62;so&#60;/b&#62; <span ")
    assert html.count('class="katex"') == 2
    assert html.count("katex-display") == 1


def built(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Build a page of its own with Sphinx."""
    (folder / "conf.py").write_text(CONF.format(dist=str(ROOT / "book" / "frontend" / "dist")))
    (folder / "index.md").write_text(text)
    (folder / "plain.md").write_text("---\norphan: true\n---\n\n# No formula\n")
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", str(folder), str(folder / "html")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_built_page_needs_no_script_for_its_formulas(tmp_path: Path) -> None:
    text = (
        "# A title with $y$\n\nWith $x$.\n\n$$z$$ (eq-z)\n\nSee {eq}`eq-z`.\n\n\\begin{align}\na &= b\n\\end{align}\n"
    )
    done = built(tmp_path, text)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "html" / "index.html").read_text()
    assert page.count('class="katex-display"') == 2
    assert re.search(r'<span class="eqno">\(1\)', page)
    assert 'href="_static/vendor/katex/katex.css' in page
    assert "MathJax" not in page
    assert "formulas.js" not in page


def test_a_bad_formula_fails_a_build_that_minds_no_warnings(tmp_path: Path) -> None:
    done = built(tmp_path, "# Title\n\nWith $\\nosuch{x}$.\n")
    assert done.returncode != 0
    assert r"formula not set: expected TeX that KaTeX can set, got \nosuch{x} at page index" in done.stderr


def test_the_book_s_style_sheet_of_formulas_comes_only_where_there_are_some() -> None:
    pages = [path for path in SITE.rglob("*.html") if "_static" not in path.parts]
    with_formulas = {path for path in pages if 'class="katex"' in path.read_text()}
    assert {path for path in pages if "katex.css" in path.read_text()} == with_formulas
    assert SITE / "book" / "glossary.html" in with_formulas
    for path in with_formulas:
        assert "katex-error" not in path.read_text()


def test_the_fonts_are_here_and_in_one_format() -> None:
    style = (SITE / "_static" / "vendor" / "katex" / "katex.css").read_text()
    named = re.findall(r"url\(([^)]*)\)", style)
    assert len(named) >= 15
    assert all((SITE / "_static" / "vendor" / "katex" / name).is_file() for name in named)
    assert {name.rsplit(".", 1)[1] for name in named} == {"woff2"}
