"""The line of readers who wait for a kernel of a full service: first come, first served; nothing is kept for the gone.

Readers ask again every `retry_s`. Who has not asked for some turns is passed over, since a kernel must not lie idle for
a page that sleeps; who comes back soon enough still has their place.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Place", "WaitingLine"]

_TURNS_UNTIL_PASSED_OVER = 3


@dataclass(frozen=True)
class Place:
    """Where a reader stands: `number` 1 is next, of `of` readers in the line."""

    number: int
    of: int


@dataclass
class WaitingLine:
    """Who waits, in the order in which they came; at most `max_size` readers, each remembered for `memory_s`."""

    max_size: int
    retry_s: float = 2.0
    memory_s: float = 90.0
    now: Callable[[], float] = time.monotonic
    _asked_at: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        self._forget()
        return len(self._asked_at)

    def ask(self, reader: str) -> Place | None:
        """Tell a reader's place, at the end of the line if they are new; None if the line is full."""
        self._forget()
        if reader not in self._asked_at and len(self._asked_at) >= self.max_size:
            return None
        self._asked_at[reader] = self.now()  # a key that is there already keeps its place in the order
        return Place(self.ahead_of(reader) + 1, len(self._awake()))

    def ahead_of(self, reader: str) -> int:
        """Count who comes first, were this reader to ask now; of a reader who does not wait, everybody."""
        awake = self._awake()
        readers = list(self._asked_at)
        first = readers[: readers.index(reader)] if reader in self._asked_at else readers
        return sum(other in awake for other in first)

    def expect_back(self, reader: str) -> None:
        """Let a reader whose kernel ended be first for one more turn: they may only be starting anew."""
        if self._asked_at:
            one_turn_left = self.now() - (_TURNS_UNTIL_PASSED_OVER - 1) * self.retry_s
            self._asked_at = {reader: one_turn_left, **self._asked_at}

    def leave(self, reader: str) -> None:
        """Give up a place, or take it up."""
        self._asked_at.pop(reader, None)

    def _awake(self) -> set[str]:
        since = self.now() - _TURNS_UNTIL_PASSED_OVER * self.retry_s
        return {reader for reader, asked_at in self._asked_at.items() if asked_at >= since}

    def _forget(self) -> None:
        oldest = self.now() - self.memory_s
        for reader in [reader for reader, asked_at in self._asked_at.items() if asked_at < oldest]:
            del self._asked_at[reader]
