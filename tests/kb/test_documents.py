"""The five documents follow the rules, and whoever breaks a rule is told which."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from kb import prose
from kb.documents import read_document, read_documents
from kb.errors import DocumentError

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """---
id: page
title: A page
one_liner: It says something.
category: Transformer concepts
tags: [one]
related: [page]
sources:
  - authors: Vaswani et al.
    title: Attention Is All You Need
    year: 2017
    arxiv: "1706.03762"
---

# A page

Some text.

## Sources

- Vaswani et al. (2017), *Attention Is All You Need*, arXiv:1706.03762.
"""


def test_the_documents_are_valid_and_of_a_readable_length(book_root: Path) -> None:
    documents = read_documents(book_root / "kb" / "documents")
    assert {document.id for document in documents} >= {
        "what-a-transformer-is",
        "self-attention",
        "residual-stream-and-norms",
        "reading-the-logit-lens",
        "reading-ablations-and-patches",
    }
    for document in documents:
        text = [part for section in document.sections if section.title != "Sources" for part in section.paragraphs]
        assert 400 <= len(" ".join(text).split()) <= 900, document.id
        assert document.sources


def test_links_between_documents_lead_to_files(book_root: Path) -> None:
    folder = book_root / "kb" / "documents"
    for path in folder.glob("*.md"):
        for link in re.findall(r"\]\(([^)#:]+\.md)[^)]*\)", path.read_text("utf-8")):
            assert (folder / link).resolve().is_file(), f"{path.name}: {link}"


def test_a_good_page_is_read(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(GOOD, "utf-8")
    document = read_document(path)
    assert document.sources[0].link == "https://arxiv.org/abs/1706.03762"
    assert [section.anchor for section in document.sections] == ["a-page", "sources"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("---\nid", "id", "expected YAML between two lines of `---`"),
        ("id: page", "id: other", "expected the file's name 'page', got 'other' at id"),
        ("id: page", "id: [page", "expected valid YAML"),
        ("id: page", "id: &a page\nextra: *a", "got 'a YAML alias'"),
        ("id: page", "id: !!python/object/apply:os.system [ls]", "expected valid YAML"),
        ("id: page", "when: 2024-13-45\nid: page", "expected valid YAML"),
        ("tags: [one]", "tags: []", "a list with at least one entry"),
        ("tags: [one]", "tags: one", "a list with at least one entry"),
        ("tags: [one]", "tags: [Not A Slug]", "expected lower-case words joined by hyphens, got 'Not A Slug' at tags"),
        ("tags: [one]\n", "", "expected the key 'tags', got 'none' at front matter"),
        ("tags: [one]", "tags: [one]\nextra: 1", "expected no keys but id title .*, got 'extra' at front matter"),
        ("Transformer concepts", "Gossip", "expected one of Transformer concepts, .* got 'Gossip' at category"),
        ("It says something.", "x" * 300, "one line of at most 200 characters"),
        ("title: A page", "title: Another", "expected one top heading"),
        ("# A page\n", "# A page\n\n# A second\n", "expected one top heading"),
        ("Some text.", "## Sources\n\nTwice.", "titles that differ"),
        ("Some text.", "## 数学\n\nNo Latin letters.", "titles that differ and hold Latin letters"),
        ("Some text.", "<script>alert(1)</script>", "got 'raw HTML'"),
        ("year: 2017", "year: soon", "expected a year, got 'soon'"),
        ('arxiv: "1706.03762"', "arxiv: 1706.03762", "expected a quoted string"),
        ('arxiv: "1706.03762"', "url: javascript:alert(1)", "expected a quoted string"),
        ('    arxiv: "1706.03762"\n', "", "authors, title, year and one of arxiv, doi, url"),
        ("arXiv:1706.03762", "nowhere", "to be listed under the heading 'Sources'"),
        ("id: page", "id: page\n" + "# filler\n" * 1000, "expected at most 8192 bytes"),
    ],
)
def test_a_broken_page_names_the_rule(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "page.md"
    path.write_text(GOOD.replace(old, new, 1), "utf-8")
    with pytest.raises(DocumentError, match=message) as caught:
        read_document(path)
    assert str(caught.value).startswith("checking page.md: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_related_document_has_to_exist(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(GOOD.replace("related: [page]", "related: [ghost]"), "utf-8")
    with pytest.raises(DocumentError, match="expected an id among page, got 'ghost' at related"):
        read_documents(tmp_path)


def test_a_page_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_bytes(b"---\nid: \xff\n---\n")
    with pytest.raises(DocumentError, match="expected UTF-8 text, got byte 0xff at 8"):
        read_document(tmp_path / "page.md")


def test_every_sentence_of_the_documents_is_plain(book_root: Path) -> None:
    for document in read_documents(book_root / "kb" / "documents"):
        for section in document.sections:
            for paragraph in section.paragraphs:
                assert not re.search(r"\*\*|\]\(|\$|\\[a-z]|\{term\}|<[a-z]", prose.unmarked(paragraph)), paragraph
