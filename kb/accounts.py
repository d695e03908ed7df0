"""Which account runs Postgres when we are root, and what that account can reach. Changes no user and no mode."""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kb.errors import PostgresFailed

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Account", "unprivileged_account"]

_NAME = "nobody"


@dataclass(frozen=True)
class Account:
    """An existing system account, by the ids that matter for access."""

    name: str
    uid: int
    gid: int

    def can_read(self, path: Path) -> bool:
        """Say whether the account may read this file or list this folder, judged by mode bits."""
        return self._has(path, stat.S_IRUSR)

    def can_enter(self, folder: Path) -> bool:
        """Say whether the account may walk to this folder from the root, judged by mode bits."""
        real = folder.resolve()
        return all(self._has(part, stat.S_IXUSR) for part in (real, *real.parents))

    def _has(self, path: Path, owner_bit: int) -> bool:
        found = path.stat()
        if found.st_uid == self.uid:
            return bool(found.st_mode & owner_bit)
        if found.st_gid == self.gid:
            return bool(found.st_mode & owner_bit >> 3)
        return bool(found.st_mode & owner_bit >> 6)


def unprivileged_account() -> Account | None:
    """Name the account that Postgres shall run as, or None to keep the caller's own.

    Postgres refuses to run as root, and its `initdb` insists on an account that the system knows, so a free number
    would not do; `nobody` is there on every system.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(_NAME)
    except KeyError:
        raise PostgresFailed(
            f"starting Postgres as root: expected the system account {_NAME!r} to run it, got none",
            "run the book as an ordinary user, or set KB_DSN to a Postgres of your own",
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
