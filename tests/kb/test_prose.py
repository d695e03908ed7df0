"""Markdown becomes clean sentences, and headings get the ids that Sphinx will give them."""

from __future__ import annotations

import doctest

import pytest
from docutils.nodes import make_id
from hypothesis import given
from hypothesis import strategies as st
from sphinx.util.nodes import _make_id

from kb import formulas, prose

PAGE = r"""---
title: x
---
# A *title* with `code`

**Bold**, a [link](other.md#place), {term}`heads <head>` and $\frac{q \cdot k}{\sqrt{d_\mathrm{head}}}$.
![picture](a.png)

% a comment

```{code-cell} python
secret_code = 1
```

:::{note}
:class: tip
A note with **weight**.
:::

:::{dropdown} Solution
The solution is 42.
:::

## Twice

- First item.
- Second item.

## Twice

More.
"""


@given(st.text(max_size=40))
def test_section_ids_are_those_of_docutils(title: str) -> None:
    assert prose.section_id(title) == make_id(title)


@given(st.text(max_size=40))
def test_term_ids_are_those_of_sphinx(term: str) -> None:
    assert prose.term_id(term) == _make_id(f"term-{term}")


def test_markup_is_gone_and_code_cells_and_solutions_with_it() -> None:
    first, second, third = prose.sections(PAGE)
    assert first == prose.Section(
        1,
        "A title with `code`",
        "a-title-with-code",
        ["Bold, a link, heads and (q · k)/√(d_head).", "A note with weight."],
    )
    assert second.paragraphs == ["First item.", "Second item."]
    assert (second.anchor, third.anchor) == ("twice", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two? Three!", ["One.", "Two?", "Three!"]),
        ("A head, e.g. L3H4, reads. It writes.", ["A head, e.g. L3H4, reads.", "It writes."]),
        ("See Wang et al. 2022 for more. `x` is a name.", ["See Wang et al. 2022 for more.", "`x` is a name."]),
        ("It is 0.77 here. Next.", ["It is 0.77 here.", "Next."]),
        ('He said "so." Then left.', ['He said "so."', "Then left."]),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(text: str, expected: list[str]) -> None:
    assert prose.sentences(text) == expected


@given(st.text(alphabet="aB. ?!)\"'", max_size=60))
def test_splitting_sentences_loses_no_letter(text: str) -> None:
    joined = "".join("".join(prose.sentences(text)).split())
    assert joined == "".join(text.split())


def test_raw_html_is_seen_wherever_it_stands() -> None:
    assert prose.contains_html("a <b>c</b>")
    assert prose.contains_html("<div>\n\ntext\n\n</div>")
    assert not prose.contains_html("a < b and `<div>` and <https://example.org>")


@pytest.mark.parametrize(
    ("latex", "expected"),
    [
        (r"\mathrm{softmax}(QK^\top)", "softmax(QKᵀ)"),
        (r"x_{\mathrm{mid}} = x_\mathrm{pre}", "x_mid = x_pre"),
        (r"\frac{1}{2}", "1/2"),
        (r"\unknown{x} \to y", "unknownx → y"),
    ],
)
def test_formulas_can_be_read(latex: str, expected: str) -> None:
    assert formulas.readable(latex) == expected


def test_the_example_in_the_documentation_is_true() -> None:
    assert doctest.testmod(formulas).failed == 0
