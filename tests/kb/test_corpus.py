"""Passages are the same every time, and each link that the chat gives leads to an id in the built page."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from kb.answers import link
from kb.corpus import gather

if TYPE_CHECKING:
    from pathlib import Path

GLOSSARY = """# Glossary

```{glossary}
:sorted:

Residual stream
stream
  The vector at each position that **every** part reads from.
  It is a [sum](x.md).

softmax (row-wise)
  Turns numbers into probabilities. See {term}`Residual stream`.

`d_model`
  The length of the stream's vectors.
```
"""

CONF = """extensions = ["myst_nb"]
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
html_theme = "basic"
"""


def test_the_same_files_give_the_same_passages(book_root: Path) -> None:
    once, twice = gather(book_root), gather(book_root)
    assert [passage.digest for passage in once] == [passage.digest for passage in twice]
    assert len({passage.digest for passage in once}) == len(once)
    assert all(passage.sentences for passage in once)


def test_a_changed_word_changes_the_digest_of_its_passage_alone(tmp_path: Path, book_root: Path) -> None:
    shutil.copytree(book_root / "kb" / "documents", tmp_path / "kb" / "documents")
    before = {passage.digest for passage in gather(tmp_path)}
    path = tmp_path / "kb" / "documents" / "self-attention.md"
    path.write_text(path.read_text("utf-8").replace("Twice the text", "Double the text"), "utf-8")
    after = {passage.digest for passage in gather(tmp_path)}
    assert len(after - before) == 1
    assert len(before - after) == 1


def test_glossary_terms_become_passages(tmp_path: Path) -> None:
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "glossary.md").write_text(GLOSSARY, "utf-8")
    found = {passage.section: passage for passage in gather(tmp_path)}
    assert list(found) == ["Residual stream, stream", "softmax (row-wise)", "`d_model`"]
    assert found["Residual stream, stream"].anchor == "term-Residual-stream"
    assert found["Residual stream, stream"].sentences == (
        "The vector at each position that every part reads from.",
        "It is a sum.",
    )


def test_exercises_and_solutions_are_not_in_the_corpus(tmp_path: Path) -> None:
    (tmp_path / "lessons").mkdir()
    lesson = "# L\n\nThe prose that may be quoted.\n\n## Exercises\n\nThe exercise text is not quoted here.\n\n"
    lesson += "## After\n\n```{dropdown} Solution\nThe solution text is not quoted here.\n```\n"
    (tmp_path / "lessons" / "l.md").write_text(lesson, "utf-8")
    assert [passage.sentences for passage in gather(tmp_path)] == [("The prose that may be quoted.",)]


def test_every_link_of_the_corpus_leads_to_an_id_that_sphinx_writes(tmp_path: Path, book_root: Path) -> None:
    source = tmp_path / "source"
    for folder in ("kb/documents", "lessons", "book"):
        (source / folder).mkdir(parents=True)
        for path in (book_root / folder).glob("*.md"):
            shutil.copy(path, source / folder)
    # Two pages beside the real ones: duplicate and numbered headings, and a glossary with awkward terms.
    (source / "lessons" / "odd.md").write_text(
        "# 1. Odd *page*\n\nIt has some words here.\n\n## The `x` of $y_i$: why?\n\nIt has more words here.\n\n"
        "## Same\n\nThe first of the two here.\n\n## Same\n\nThe second of the two here.\n",
        "utf-8",
    )
    if not (source / "book" / "glossary.md").exists():
        (source / "book" / "glossary.md").write_text(GLOSSARY, "utf-8")
    (source / "conf.py").write_text(CONF, "utf-8")
    (source / "index.md").write_text("# Index\n\n```{toctree}\n:glob:\n\n*/*\n*/*/*\n```\n", "utf-8")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-Q", str(source), str(tmp_path / "html")]
    subprocess.run(command, check=True, timeout=120)
    links = {link(passage.page, passage.anchor) for passage in gather(source)}
    assert len(links) > 30
    for address in sorted(links):
        page, _, anchor = address.partition("#")
        html = (tmp_path / "html" / page).read_text("utf-8")
        assert not anchor or re.search(rf'\bid="{re.escape(anchor)}"', html), address
