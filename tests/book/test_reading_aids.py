"""Terms, depths and the search's index: what the build makes of a page's text."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from docutils import nodes

from book.extensions.search import excerpt_and_words
from book.extensions.terms import Entry, first_uses
from book.extensions.theme import slimmer

_ENTRIES = [
    Entry(("attention head", "head"), ("term-attention-head", "term-head"), "It looks back."),
    Entry(("attention",), ("term-attention",), "Looking back."),
    Entry(("probability",), ("term-probability",), "A bet."),
    Entry(("MLP",), ("term-MLP",), "Positions alone."),
]


def _page(*sections: list[nodes.Node]) -> nodes.document:
    document = nodes.document(None, None)
    top = nodes.section(ids=["top"])
    document += top
    for number, children in enumerate(sections):
        top += nodes.section("", nodes.title("", "MLP title"), *children, ids=[f"s{number}"])
    return document


def _linked(document: nodes.document) -> list[tuple[str, str]]:
    return [(node.astext(), node["refuri"]) for node in document.findall(nodes.reference) if "refuri" in node]


def _mark(document: nodes.document) -> list[tuple[str, str]]:
    first_uses(document, _ENTRIES, "glossary.html", frozenset({"head"}))
    return _linked(document)


def test_the_first_use_in_each_section_becomes_a_link_and_no_letter_is_lost() -> None:
    text = "Attention heads, heads and the MLP: an MLP has no attention. MLPs have probabilities."
    page = _page([nodes.paragraph("", text)], [nodes.paragraph("", "An MLP.")])
    assert _mark(page) == [
        ("Attention heads", "glossary.html#term-attention-head"),
        ("MLP", "glossary.html#term-MLP"),
        ("attention", "glossary.html#term-attention"),
        ("probabilities", "glossary.html#term-probability"),
        ("MLP", "glossary.html#term-MLP"),
    ]
    assert next(iter(page.findall(nodes.paragraph))).astext() == text


def test_a_term_is_a_whole_word_in_its_own_spelling() -> None:
    assert _mark(_page([nodes.paragraph("", "mlp, inattention, attention-only, MLPX, improbability")])) == []


def test_titles_code_papers_and_links_stay_as_they_are() -> None:
    spared = [nodes.literal("", "MLP"), nodes.emphasis("", "MLP"), nodes.reference("", "MLP", refid="x")]
    assert _mark(_page([nodes.paragraph("", "", *spared)])) == []


def test_a_section_of_sources_stays_unmarked() -> None:
    page = _page([nodes.paragraph("", "MLP")])
    next(node for node in page.findall(nodes.section) if node["ids"] == ["s0"])["ids"] = ["sources"]
    assert _mark(page) == []


def test_an_authors_own_link_counts_as_the_first_use_and_can_be_hovered() -> None:
    own = nodes.reference("", "heads", internal=True, refuri="glossary.html#term-head")
    page = _page([nodes.paragraph("", "", own, nodes.Text(" and attention heads"))])
    assert _mark(page) == [("heads", "glossary.html#term-head")]
    assert all("tl-term" in node["classes"] for node in page.findall(nodes.reference))


def test_an_excerpt_is_short_and_every_other_word_is_kept_once() -> None:
    text = "The residual stream is a sum. " * 10 + "Unembedding comes last, unembedding the stream."
    excerpt, words = excerpt_and_words(text)
    assert len(excerpt) <= 152
    assert excerpt.startswith("The residual stream")
    assert words == "unembedding comes last"
    assert excerpt_and_words("") == ("", "")


_CONF = """
extensions = ["myst_nb", "book.extensions.depths", "book.extensions.search", "book.extensions.terms"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
root_doc = "index"
glossary_marked_by_hand = {by_hand!r}
"""
_INDEX = """# Title

:::{look-closer} the *shapes*
Closer text.
:::

:::{research-note}
A note.
:::

:::{margin}
Beside it.
:::

The logit is a number.

```{toctree}
book/glossary
```
"""
_GLOSSARY = """# Glossary

```{glossary}
logit
score
  The score of a token, with "quotes" and </script>.

  More of it: $\\frac{1}{2}$. Shown in [the title](../index.md).
```
"""


def _build(folder: Path, by_hand: list[str]) -> subprocess.CompletedProcess[str]:
    (folder / "book").mkdir(parents=True)
    (folder / "conf.py").write_text(_CONF.format(by_hand=by_hand))
    (folder / "index.md").write_text(_INDEX)
    (folder / "book" / "glossary.md").write_text(_GLOSSARY)
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "-n", str(folder), str(folder / "html")]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    done = _build(folder, ["score"])
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_depths_open_without_scripts_and_notes_stand_in_the_text(built: Path) -> None:
    page = (built / "index.html").read_text()
    assert re.search(r'<details class="tl-depth tl-depth-closer">\s*<summary>Look closer: the <em>shapes</em>', page)
    assert re.search(r'<details class="tl-depth tl-depth-research">\s*<summary>Research note</summary>', page)
    assert re.search(r'<div class="tl-margin" role="note">\s*<p>Beside it', page)


def test_definitions_and_index_are_written_as_classic_scripts(built: Path) -> None:
    glossary = (built / "_static" / "glossary.js").read_text()
    assert glossary.startswith("window.tlGlossary=[{")
    assert '"terms":["logit","score"]' in glossary
    assert '"page":"index","title":"Title"' in glossary
    index = (built / "_static" / "search-index.js").read_text()
    assert '["term","book/glossary","term-logit","logit, score"' in index
    assert "frac" not in index, "formulas are left out"
    assert 'href="book/glossary.html#term-logit">logit</a>' in (built / "index.html").read_text()


def test_there_is_no_second_search(built: Path) -> None:
    assert not (built / "searchindex.js").exists()
    assert not re.search(r"<script[^>]*(doctools|sphinx_highlight|searchtools)", (built / "index.html").read_text())


def test_a_word_to_be_marked_by_hand_has_to_be_a_term(tmp_path: Path) -> None:
    done = _build(tmp_path / "page", ["scroe"])
    assert done.returncode != 0
    assert "term unknown: expected terms of book/glossary, got scroe" in done.stderr


def test_the_theme_loses_the_names_of_icons_and_nothing_else() -> None:
    icons = '.fa-a,.fa-b-2{--fa:"\\e005"}.fa-q{--fa:"\\""}@font-face{font-family:Font Awesome\\ 7 Free;src:url(x)}'
    kept = ".fa-solid:before{content:var(--fa)}@font-face{font-family:Other;src:url(y)}.fa-lg{font-size:1.25em}"
    assert slimmer(f"{kept}{icons}a{{}}/*# sourceMappingURL=x.map */") == f"{kept}a{{}}"
