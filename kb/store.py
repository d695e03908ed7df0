"""Talks SQL: connections, the schema, the index's one transaction, and the search statement. Nothing else here does.

Foreign errors end here: whatever psycopg raises becomes `StoreUnavailable` with one line that a reader can follow.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, LiteralString, cast

import psycopg
from pgvector import Vector
from psycopg.conninfo import make_conninfo
from psycopg.rows import class_row, scalar_row

from kb.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kb.corpus import Passage

__all__ = ["Change", "Found", "Store", "answers", "conninfo"]

# Raise it with every change of schema.sql: an index of another layout is dropped and built again.
_LAYOUT = 1
# Two indexers of one database wait for each other on this number.
_LOCK = 7_136_825
# In standard deviations of the score; set on the `tune` part of the questions, where 0 put lessons first too often.
_LESSON_HANDICAP = 1.5
_CONNECT_TIMEOUT_S = 3
_SETTINGS = "SET statement_timeout = '10s'"


@dataclass(frozen=True)
class Change:
    """What one run of the indexer did, in passages."""

    added: int
    removed: int
    kept: int


@dataclass(frozen=True)
class Found:
    """One passage that the search returned, with the parts of its score.

    Units: cosines run from -1 to 1; `coverage` is the share (0 to 1) of the question's rarity-weighted words that
    the passage has; `score` sums standard deviations over all passages.
    """

    kind: str
    document: str
    page: str
    title: str
    section: str
    anchor: str
    found: list[dict[str, Any]]
    score: float
    passage_cosine: float
    sentence_cosine: float
    bm25: float
    coverage: float


def conninfo(*, host: str, user: str, dbname: str, password: str) -> str:
    """Write a connection string with every value quoted as libpq wants it."""
    return make_conninfo("", host=host, user=user, dbname=dbname, password=password)


def answers(dsn: str) -> bool:
    """Say whether a server behind this connection string answers `SELECT 1` now."""
    try:
        with psycopg.connect(dsn, connect_timeout=_CONNECT_TIMEOUT_S, autocommit=True) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.Error:
        return False


class Store:
    """The index in one Postgres, with one connection for each thread that uses it.

    A connection that broke is replaced at the next call, so the store recovers by itself when the database returns.

    Raises:
        StoreUnavailable: (``database-unavailable``) when the database does not answer or lacks pgvector.

    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._local = threading.local()
        self._open: set[psycopg.Connection] = set()
        self._guard = threading.Lock()

    def close(self) -> None:
        """Close every connection; a later call opens a new one."""
        with self._guard:
            connections, self._open = self._open, set()
        for connection in connections:
            connection.close()

    def synchronise(self, passages: Sequence[Passage], embed: Callable[[list[str]], list[list[float]]]) -> Change:
        """Make the index hold exactly these passages, in one transaction; readers see the old one until the end.

        Only passages whose digest is new are embedded: an unchanged corpus costs one query.
        """
        wanted = {passage.digest: passage for passage in passages}
        with self._translated(), self._connection() as connection, connection.transaction():
            connection.execute("SET LOCAL statement_timeout = 0")
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            _create_schema(connection)
            with connection.cursor(row_factory=scalar_row) as cursor:
                present = set(cursor.execute("SELECT digest FROM tlab_kb.passage").fetchall())
            added = [passage for digest, passage in wanted.items() if digest not in present]
            removed = present - wanted.keys()
            if removed:
                connection.execute("DELETE FROM tlab_kb.passage WHERE digest = ANY(%s)", [list(removed)])
            _insert(connection, added, embed)
            if added or removed:
                connection.execute("UPDATE tlab_kb.state SET revision = revision + 1")
        return Change(added=len(added), removed=len(removed), kept=len(wanted) - len(added))

    def search(self, *, vector: Sequence[float], text: str, page: str, boost: float, limit: int) -> list[Found]:
        """Rank all passages for a question, best first; see search.sql for the formula."""
        values = {"vector": Vector(list(vector)).to_text(), "text": text, "page": page, "boost": boost, "limit": limit}
        constants = {"k1": 1.2, "b": 0.75, "bm25_weight": 0.5, "lesson_handicap": _LESSON_HANDICAP}
        statement = _statement("search.sql")
        with self._translated(), self._connection() as connection, connection.cursor(row_factory=_FOUND) as cursor:
            return cursor.execute(statement, values | constants).fetchall()

    def revision(self) -> int:
        """Count how often the index has changed; 0 before the first passage."""
        with self._translated(), self._connection() as connection:
            row = connection.execute("SELECT revision FROM tlab_kb.state").fetchone()
            return int(row[0]) if row else 0

    def vocabulary(self) -> dict[str, int]:
        """List the corpus's words as they are written (lower case), each with the number of sentences that use it."""
        query = """
            SELECT word, count(*) FROM tlab_kb.sentence, unnest(tsvector_to_array(to_tsvector('simple', body))) AS word
            GROUP BY word"""
        with self._translated(), self._connection() as connection:
            return dict(connection.execute(query).fetchall())

    def sizes(self) -> dict[str, int]:
        """Count the passages of each kind."""
        with self._translated(), self._connection() as connection:
            return dict(connection.execute("SELECT kind, count(*) FROM tlab_kb.passage GROUP BY kind").fetchall())

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection]:
        """Lend the thread's connection, in autocommit; a broken one is dropped after the call that found out."""
        connection: psycopg.Connection | None = getattr(self._local, "connection", None)
        if connection is None or connection.closed or not _still_answers(connection):
            self._drop(connection)
            connection = psycopg.connect(self._dsn, connect_timeout=_CONNECT_TIMEOUT_S, autocommit=True)
            connection.execute(_SETTINGS)
            with self._guard:
                self._open.add(connection)
            self._local.connection = connection
        try:
            yield connection
        except psycopg.OperationalError:
            self._drop(connection)
            raise

    def _drop(self, connection: psycopg.Connection | None) -> None:
        self._local.connection = None
        if connection is not None:
            connection.close()
            with self._guard:
                self._open.discard(connection)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
            raise StoreUnavailable(
                "asking the index: expected its tables, got none", "run `python -m kb index`"
            ) from error
        except (
            psycopg.errors.UndefinedFile,
            psycopg.errors.FeatureNotSupported,
            psycopg.errors.UndefinedObject,
        ) as error:
            raise StoreUnavailable(
                f"preparing the database: expected the extension pgvector, got: {_line(error)}",
                "install pgvector there, or unset KB_DSN to use the book's own Postgres",
            ) from error
        except psycopg.OperationalError as error:
            raise StoreUnavailable(
                f"asking the database: expected an answer, got: {_line(error)}",
                "wait until it runs again; with KB_DSN set, check that address",
            ) from error
        except psycopg.Error as error:
            raise StoreUnavailable(
                f"asking the database: expected rows, got {type(error).__name__}: {_line(error)}",
                "run `python -m kb doctor`",
            ) from error


def _still_answers(connection: psycopg.Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


def _create_schema(connection: psycopg.Connection) -> None:
    row = connection.execute("SELECT to_regclass('tlab_kb.state') IS NOT NULL").fetchone()
    if row == (True,) and connection.execute("SELECT layout FROM tlab_kb.state").fetchone() != (_LAYOUT,):
        connection.execute("DROP SCHEMA tlab_kb CASCADE")
    elif row == (True,):
        return
    connection.execute(_statement("schema.sql"))
    connection.execute("INSERT INTO tlab_kb.state (layout) VALUES (%s)", [_LAYOUT])


def _insert(
    connection: psycopg.Connection, passages: list[Passage], embed: Callable[[list[str]], list[list[float]]]
) -> None:
    if not passages:
        return
    wholes = embed([passage.context for passage in passages])
    parts = [(passage.heading, *passage.sentences) for passage in passages]
    vectors = iter(embed([part for group in parts for part in group]))
    with connection.cursor() as cursor:
        for passage, whole, group in zip(passages, wholes, parts, strict=True):
            (identity,) = cast("tuple[int]", cursor.execute(_INSERT_PASSAGE, _row(passage, whole)).fetchone())
            rows = [(identity, n, body, Vector(next(vectors)).to_text()) for n, body in enumerate(group)]
            cursor.executemany("INSERT INTO tlab_kb.sentence VALUES (%s, %s, %s, %s)", rows)
            cursor.execute(_INSERT_POSTINGS, {"id": identity, "text": passage.context})


def _row(passage: Passage, vector: list[float]) -> dict[str, str]:
    names = ("digest", "kind", "document", "page", "title", "section", "anchor")
    return {name: getattr(passage, name) for name in names} | {"embedding": Vector(vector).to_text()}


_FOUND = class_row(Found)

_INSERT_PASSAGE = """
    INSERT INTO tlab_kb.passage (digest, kind, document, page, title, section, anchor, embedding)
    VALUES (%(digest)s, %(kind)s, %(document)s, %(page)s, %(title)s, %(section)s, %(anchor)s, %(embedding)s)
    RETURNING id"""

_INSERT_POSTINGS = """
    WITH posted AS (
        INSERT INTO tlab_kb.posting (term, passage, frequency)
        SELECT lexeme, %(id)s, cardinality(positions) FROM unnest(to_tsvector('english', %(text)s))
        RETURNING frequency
    )
    UPDATE tlab_kb.passage SET words = (SELECT coalesce(sum(frequency), 0) FROM posted) WHERE id = %(id)s"""


def _statement(name: str) -> LiteralString:
    """Read a statement that ships with the package; no part of it comes from a reader."""
    return resources.files("kb").joinpath(name).read_text("utf-8")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
