"""The index follows the pages: only what changed is embedded, and readers never see it half-done."""

from __future__ import annotations

import shutil
import threading
from typing import TYPE_CHECKING

import psycopg
import pytest

from kb.corpus import gather
from kb.errors import DocumentError, StoreUnavailable
from kb.index import refresh
from kb.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kb.library import Library

pytestmark = pytest.mark.pg


class CountingEncoder:
    """Gives cheap vectors and remembers what it was asked to embed."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed(self, texts: list[str]) -> list[list[float]]:
        """Count."""
        self.texts += texts
        return [[1.0 + (hash(text) + n) % 7 for n in range(384)] for text in texts]


@pytest.fixture
def dsn(library: Library) -> Iterator[str]:
    """Make an empty database beside the session's own."""
    assert library._postgres
    main = library._postgres.start()
    with psycopg.connect(main, autocommit=True) as connection:
        connection.execute("CREATE DATABASE scratch")
    yield psycopg.conninfo.make_conninfo(main, dbname="scratch")
    with psycopg.connect(main, autocommit=True) as connection:
        connection.execute("DROP DATABASE scratch WITH (FORCE)")


@pytest.fixture
def store(dsn: str) -> Iterator[Store]:
    opened = Store(dsn)
    yield opened
    opened.close()


@pytest.fixture
def book(tmp_path: Path, book_root: Path) -> Path:
    """Copy the documents to a place where a test may edit them."""
    shutil.copytree(book_root / "kb" / "documents", tmp_path / "kb" / "documents")
    return tmp_path


def test_an_unchanged_corpus_is_not_embedded_again(store: Store, book: Path) -> None:
    encoder = CountingEncoder()
    first = refresh(store, encoder, book)
    assert (first.removed, first.kept) == (0, 0)
    assert first.added == sum(store.sizes().values()) > 40
    embedded, revision = len(encoder.texts), store.revision()
    again = refresh(store, encoder, book)
    assert (again.added, again.removed, again.kept) == (0, 0, first.added)
    assert len(encoder.texts) == embedded
    assert store.revision() == revision


def test_an_edited_paragraph_replaces_its_passage_alone(store: Store, book: Path) -> None:
    encoder = CountingEncoder()
    refresh(store, encoder, book)
    encoder.texts.clear()
    path = book / "kb" / "documents" / "self-attention.md"
    path.write_text(path.read_text("utf-8").replace("Twice the text", "Double the text"), "utf-8")
    change = refresh(store, encoder, book)
    assert (change.added, change.removed) == (1, 1)
    assert len(encoder.texts) < 10
    assert "double" in store.vocabulary()
    assert "twice" not in store.vocabulary()


def test_a_removed_document_leaves_the_index(store: Store, book: Path) -> None:
    encoder = CountingEncoder()
    refresh(store, encoder, book)
    before = sum(store.sizes().values())
    for path in (book / "kb" / "documents").glob("*.md"):
        path.unlink()
    change = refresh(store, encoder, book)
    assert (change.added, change.removed) == (0, before)
    assert store.sizes() == {}
    assert store.search(vector=[1.0] * 384, text="attention", page="", boost=0.0, limit=3) == []


def test_a_broken_document_or_encoder_keeps_the_old_index(store: Store, book: Path) -> None:
    encoder = CountingEncoder()
    refresh(store, encoder, book)
    before = store.sizes(), store.revision()
    path = book / "kb" / "documents" / "self-attention.md"
    good = path.read_text("utf-8")
    path.write_text(good.replace("category:", "kategory:"), "utf-8")
    with pytest.raises(DocumentError, match="expected the key 'category'"):
        refresh(store, encoder, book)
    path.write_text(good.replace("Twice", "Thrice"), "utf-8")

    class Broken(CountingEncoder):
        def embed(self, texts: list[str]) -> list[list[float]]:
            raise MemoryError(len(texts))

    with pytest.raises(MemoryError):
        refresh(store, Broken(), book)
    assert (store.sizes(), store.revision()) == before
    assert refresh(store, encoder, book).added == 1


def test_readers_see_the_old_index_until_the_new_one_is_complete(store: Store, dsn: str, book: Path) -> None:
    encoder = CountingEncoder()
    refresh(store, encoder, book)
    before = store.sizes()
    path = book / "kb" / "documents" / "self-attention.md"
    path.write_text(path.read_text("utf-8").replace("Twice", "Thrice"), "utf-8")
    embedding, go_on = threading.Event(), threading.Event()

    class Slow(CountingEncoder):
        def embed(self, texts: list[str]) -> list[list[float]]:
            embedding.set()
            assert go_on.wait(20)
            return super().embed(texts)

    indexer = Store(dsn)
    worker = threading.Thread(target=refresh, args=(indexer, Slow(), book))
    worker.start()
    try:
        assert embedding.wait(20)
        assert store.sizes() == before
        assert "thrice" not in store.vocabulary()
        assert len(store.search(vector=[1.0] * 384, text="attention", page="", boost=0.0, limit=3)) == 3
    finally:
        go_on.set()
        worker.join()
        indexer.close()
    assert "thrice" in store.vocabulary()


def test_two_indexers_at_once_end_with_one_index(store: Store, dsn: str, book: Path) -> None:
    other = Store(dsn)
    workers = [threading.Thread(target=refresh, args=(one, CountingEncoder(), book)) for one in (store, other)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    other.close()
    assert sum(store.sizes().values()) == len(gather(book))
    assert store.revision() == 1


def test_an_index_of_another_layout_is_built_again(store: Store, dsn: str, book: Path) -> None:
    refresh(store, CountingEncoder(), book)
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE tlab_kb.state SET layout = -1")
    assert refresh(store, CountingEncoder(), book).kept == 0


def test_a_missing_index_and_a_missing_database_are_explained(store: Store) -> None:
    with pytest.raises(StoreUnavailable, match=r"expected its tables, got none; run `python -m kb index`"):
        store.revision()
    with pytest.raises(StoreUnavailable, match="expected an answer, got: connection") as caught:
        Store("host=/nowhere dbname=x").revision()
    assert "\n" not in str(caught.value)


def test_a_dropped_connection_is_replaced(store: Store, dsn: str, book: Path) -> None:
    refresh(store, CountingEncoder(), book)
    with psycopg.connect(dsn, autocommit=True) as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
        connection.execute(others + "pg_backend_pid()")
    assert store.revision() == 1
