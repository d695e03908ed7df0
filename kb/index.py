"""Brings the index in line with the pages on disk. Knows no SQL: the store applies the difference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kb.corpus import gather

if TYPE_CHECKING:
    from pathlib import Path

    from kb.encoder import Encoder
    from kb.store import Change, Store

__all__ = ["refresh"]


def refresh(store: Store, encoder: Encoder, book_root: Path) -> Change:
    """Index every passage that is new, drop those that are gone, and say how many.

    It is safe while readers ask: they see the old index until the new one is complete.

    Cost: about 8 ms for a new sentence; an unchanged corpus does not even load the encoder.

    Raises:
        DocumentError: (``document-invalid``) before anything is written.
        StoreUnavailable: (``database-unavailable``) with the old index kept.

    """
    return store.synchronise(gather(book_root), encoder.embed)
