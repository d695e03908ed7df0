"""Sets every formula of prose and stored outputs at build, as KaTeX's HTML and MathML: pages need no script for it.

A page's formulas go to Node together, through the script that also sets live ones: both look the same and are held to
the same rules. Refuses: a formula that those rules or KaTeX refuse. The build stops, and names page and formula.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from docutils import nodes
from sphinx.errors import SphinxError
from sphinx.util.math import get_node_equation_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata
    from sphinx.writers.html5 import HTML5Translator

__all__ = ["Formula", "FormulaError", "Formulas", "formula_of", "latex_output", "set_by_node", "setup"]

_SCRIPT = Path(__file__).parents[1] / "frontend" / "bundling" / "set_formulas.mjs"
_STYLE = "vendor/katex/katex.css"
_MARK = 'class="katex'
_CLASSES = "math notranslate nohighlight"
_TIMEOUT_S = 60
_SHOWN_CHARACTERS = 120
_BREAK = r"\\"


class FormulaError(SphinxError):
    """A formula cannot be set."""

    category = "Formula"


class Formula(NamedTuple):
    """What is to be set: a formula without its marks, or a whole LaTeX output with texts and formulas."""

    kind: Literal["inline", "display", "output"]
    source: str


class Formulas:
    """Knows the HTML of every formula met so far, and asks for those of a page together.

    Args:
        ask: answers formulas with `{"html": …}` or `{"problem": …}` each, in their order.

    """

    def __init__(self, ask: Callable[[Sequence[Formula]], list[dict[str, str]]]) -> None:
        self._ask = ask
        self._html: dict[Formula, str] = {}

    def learn(self, page: str, formulas: Iterable[Formula]) -> None:
        """Set what is not known yet.

        Raises:
            FormulaError: formulas that cannot be set, all of the page's together.
        """
        new = [formula for formula in dict.fromkeys(formulas) if formula not in self._html]
        if not new:
            return
        outcomes = dict(zip(new, self._ask(new), strict=True))
        refused = [
            f"formula not set: expected TeX that KaTeX can set, got {_shortened(formula.source)} at page {page} "
            f"({outcome['problem']}); correct the formula"
            for formula, outcome in outcomes.items()
            if "problem" in outcome
        ]
        if refused:
            raise FormulaError("\n".join(refused))
        self._html |= {formula: outcome["html"] for formula, outcome in outcomes.items()}

    def html(self, page: str, formula: Formula) -> str:
        """Give a formula's HTML; those outside the page's own text, as in a table of contents, are set one by one."""
        self.learn(page, [formula])
        return self._html[formula]


def set_by_node(formulas: Sequence[Formula]) -> list[dict[str, str]]:
    """Set formulas with the front end's script.

    Raises:
        FormulaError: Node is missing or failed.
    """
    command = [_node(), str(_SCRIPT)]
    asked = json.dumps([formula._asdict() for formula in formulas])
    done = subprocess.run(command, input=asked, capture_output=True, encoding="utf-8", timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        raise FormulaError(
            f"formulas not set: expected {_SCRIPT.name} to answer, got exit status {done.returncode} "
            f"({done.stderr.strip()[-300:]}); build the front end with: nox -s frontend"
        )
    answer: list[dict[str, str]] = json.loads(done.stdout)
    return answer


def _node() -> str:
    """Find Node as the front end's build does: its wheel is only installed where the system's does not serve."""
    beside = shutil.which("node", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("node")
    if not found:
        raise FormulaError(
            "formulas not set: expected Node on PATH or beside Python, got none; build the front end with: "
            "nox -s frontend"
        )
    return found


def latex_output(source: str) -> nodes.math_block:
    """Return the node of a LaTeX output, whose texts and formulas are told apart only when it is set."""
    return nodes.math_block(
        source, source, classes=["output", "text_latex", "tl-latex"], nowrap=True, number=None, tl_output=True
    )


def formula_of(node: nodes.Element) -> Formula:
    """Return what is to be set for a node."""
    source = node.astext()
    if isinstance(node, nodes.math):
        return Formula("inline", source)
    if node.get("tl_output"):
        return Formula("output", source)
    if node.get("no-wrap", node.get("nowrap", False)):
        return Formula("display", source)
    # Sphinx lets an author write equations as paragraphs, and the lines of one without an environment.
    equations = [f"\\begin{{split}}{part}\\end{{split}}" if _BREAK in part else part for part in _paragraphs(source)]
    if len(equations) > 1:
        return Formula("display", f"\\begin{{gathered}}{_BREAK.join(equations)}\\end{{gathered}}")
    return Formula("display", equations[0] if equations else "")


def _paragraphs(source: str) -> list[str]:
    return [part.strip() for part in source.split("\n\n") if part.strip()]


def _shortened(source: str) -> str:
    text = " ".join(source.split())
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _visitors(
    formulas: Formulas,
) -> tuple[Callable[[HTML5Translator, nodes.math], None], Callable[[HTML5Translator, nodes.math_block], None]]:
    def visit_inline(self: HTML5Translator, node: nodes.math) -> None:
        html = formulas.html(self.builder.current_docname, formula_of(node))
        self.body.append(f"{self.starttag(node, 'span', '', CLASS=_CLASSES)}{html}</span>")
        raise nodes.SkipNode

    def visit_block(self: HTML5Translator, node: nodes.math_block) -> None:
        html = formulas.html(self.builder.current_docname, formula_of(node))
        # An output holds its formulas one by one, and they are marked inside it.
        self.body.append(self.starttag(node, "div", CLASS="" if node.get("tl_output") else _CLASSES))
        if node.get("number"):
            self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
            self.add_permalink_ref(node, "Link to this equation")
            self.body.append("</span>")
        self.body.append(f"{html}</div>\n")
        raise nodes.SkipNode

    return visit_inline, visit_block


def setup(app: Sphinx) -> ExtensionMetadata:
    """Take the place of Sphinx's MathJax, which leaves formulas to the reader's browser."""
    formulas = Formulas(set_by_node)

    def learn(app: Sphinx, doctree: nodes.document, page: str) -> None:
        if app.builder.format == "html":
            formulas.learn(page, map(formula_of, doctree.findall(_is_formula)))

    def style(
        app: Sphinx, _page: str, _template: str, context: dict[str, object], _doctree: nodes.document | None
    ) -> None:
        titles = (title for node in app.env.titles.values() for title in node.findall(nodes.math))
        if _MARK in str(context.get("body", "")) or any(titles):
            app.add_css_file(_STYLE)

    inline, block = _visitors(formulas)
    app.add_html_math_renderer("katex", inline_renderers=(inline, None), block_renderers=(block, None))
    app.connect("doctree-resolved", learn)
    app.connect("html-page-context", style)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _is_formula(node: nodes.Node) -> bool:
    return isinstance(node, nodes.math | nodes.math_block)
