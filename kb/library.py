"""Opens the whole knowledge base: the database, the index in it and the retriever over both. Knows no HTTP."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from kb.encoder import Encoder
from kb.errors import StoreUnavailable
from kb.index import refresh
from kb.postgres import EmbeddedPostgres
from kb.retrieval import Retrieval, Retriever
from kb.store import Store

if TYPE_CHECKING:
    from kb.question import Question
    from kb.settings import Settings
    from kb.store import Change

__all__ = ["Library"]

_CLOSE_TIMEOUT_S = 2.0


class Library:
    """The book's shelves: `open` them, `find` in them, `close` them.

    Opening again after the database was lost brings it back; with a DSN of the operator's, it waits for theirs.

    Args:
        settings: where the state lies, or which other Postgres to use.

    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._encoder = Encoder()
        self._postgres = None if settings.dsn else EmbeddedPostgres(settings.state_dir)
        self._turn = threading.Lock()
        self._closed = False
        self._store: Store | None = None
        self._retriever: Retriever | None = None

    def open(self) -> Change:
        """Start the database if it does not answer, bring the index up to date, and say what changed.

        Raises:
            PostgresFailed: (``postgres-not-started``) when the embedded server does not come up.
            StoreUnavailable: (``database-unavailable``) when the operator's database does not answer.
            DocumentError: (``document-invalid``) when a page of the corpus breaks a rule.

        """
        with self._turn:
            dsn = self._postgres.start() if self._postgres else self._settings.dsn or ""
            if self._closed:
                raise StoreUnavailable("opening the library: expected it to be in use, got a closed one", "start again")
            if self._store is None:
                self._store = Store(dsn)
            try:
                change = refresh(self._store, self._encoder, self._settings.book_root)
            except StoreUnavailable:
                if self._postgres is None or self._closed:
                    raise
                # The server belonged to another process, which has ended and taken it along.
                self._postgres.start()
                change = refresh(self._store, self._encoder, self._settings.book_root)
            self._retriever = self._retriever or Retriever(self._store, self._encoder)
            return change

    def warm(self) -> None:
        """Load the encoder now, so that the first question does not pay for it."""
        self._encoder.embed(["warm"])

    def find(self, question: Question) -> Retrieval:
        """Search for a question; safe from several threads.

        Raises:
            StoreUnavailable: (``database-unavailable``) when the database does not answer, or before `open`.

        """
        if self._retriever is None:
            raise StoreUnavailable("asking the index: expected an open library, got none yet", "open it first")
        return self._retriever.find(question.text, page=question.page, previous=question.previous)

    def ask(self, question: Question) -> Retrieval:
        """Search like `find`, opening the library again if the database went away in the meantime."""
        try:
            return self.find(question)
        except StoreUnavailable:
            self.open()
            return self.find(question)

    def sizes(self) -> dict[str, int]:
        """Count the indexed passages of each kind."""
        return self._store.sizes() if self._store else {}

    def close(self) -> None:
        """Close the connections and stop the database if this library started it; an opening in progress fails."""
        self._closed = True
        if self._postgres:
            self._postgres.stop()
        # Whoever is opening now may have started the database after that line, and cannot be waited for long.
        if self._turn.acquire(timeout=_CLOSE_TIMEOUT_S):
            try:
                if self._store:
                    self._store.close()
                if self._postgres:
                    self._postgres.stop()
                self._store = None
                self._retriever = None
            finally:
                self._turn.release()
