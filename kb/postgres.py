"""Runs an embedded Postgres from the wheel's binaries; owns its processes, folders and password, refuses TCP.

What makes it safe to leave alone: the server listens on a Unix socket in a 0700 folder and asks for a password
(scram), so no other account reaches it; as root, Postgres runs as `nobody`; a cluster appears by one rename, whole or
not at all; *alive* means that `SELECT 1` was answered, never that a pid file exists; and a small watcher in the
server's process group stops Postgres when the process that started it is gone, even after `kill -9`.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from kb import store
from kb.accounts import Account, unprivileged_account
from kb.errors import PostgresFailed
from kb.places import Places, find_places, make_socket_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["EmbeddedPostgres"]

_ENCODING = "UTF8"
_POLL_S = 0.03
_STOP_TIMEOUT_S = 15.0
# A server that was killed leaves these behind for a moment; the next try succeeds.
_PASSING_TROUBLE = ('" already exists', "is still in use")
# `read` ends when the pipe's other end closes, that is when the starting process stops it, exits or is killed.
# $$ stays the shell's pid, which `exec` hands to Postgres; SIGINT asks it for a fast shutdown.
_WATCHED = 'exec 3<&0; (read -r _ <&3; kill -INT $$) & exec "$@" 3<&- </dev/null'
_OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": "5432",
    "max_connections": "40",
    "shared_buffers": "32MB",
    "logging_collector": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class EmbeddedPostgres:
    """One Postgres server in a state folder, started on demand and shared by every process that asks for the folder.

    `start` hands back a connection string once the server answers. A server that already answers is used as it is;
    the process that started one also stops it. Calling `start` again after a crash brings it back with its data.

    Args:
        state_dir: folder that keeps the data between runs.
        timeout_s: how long a start may take, also the wait for another process that is starting it.

    Raises:
        PostgresFailed: (``postgres-not-started``) with the last line that Postgres logged.

    """

    def __init__(self, state_dir: Path, *, timeout_s: float = 30.0) -> None:
        self._state_dir = state_dir
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id, if this object started it and it still runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> str:
        """Make sure that the server answers, and return its connection string."""
        deadline = time.monotonic() + self._timeout_s
        account = unprivileged_account()
        try:
            places = find_places(self._state_dir, account)
            with _locked(places.home / "lock", deadline):
                make_socket_dir(places.socket_dir, account)
                for leftover in places.home.glob("cluster.new-*"):
                    # An initdb whose starter was killed may still write there for a moment; the next start gets it.
                    shutil.rmtree(leftover, ignore_errors=True)
                if not places.cluster.exists():
                    _create_cluster(places, account)
                dsn = _dsn(places, account)
                if not store.answers(dsn):
                    self._launch(places, dsn, account, deadline)
        except OSError as error:
            raise PostgresFailed(
                f"starting Postgres: expected a folder to write in, got {error.strerror or error} at "
                f"{error.filename or self._state_dir}",
                "free some space or set TLAB_STATE_DIR to a folder of your own",
            ) from error
        return dsn

    def stop(self) -> None:
        """Stop the server if this object started it, and wait until it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        atexit.unregister(self.stop)
        _end(process)

    def _launch(self, places: Places, dsn: str, account: Account | None, deadline: float) -> None:
        self.stop()
        ended_orphan, reason = False, "no answer in time"
        while True:
            process = _spawn(places, account)
            while process.poll() is None and time.monotonic() < deadline:
                if store.answers(dsn):
                    self._adopt(process)
                    return
                time.sleep(_POLL_S)
            is_late = time.monotonic() > deadline
            _end(process)
            log = places.log.read_text(encoding="utf-8", errors="replace")
            reason = _reason(log) or reason
            if is_late or not any(trouble in log for trouble in _PASSING_TROUBLE):
                raise _not_started(places, reason)
            if not ended_orphan and time.monotonic() > deadline - self._timeout_s / 2:
                _end_orphan(places, account)
                ended_orphan = True
            time.sleep(0.2)

    def _adopt(self, process: subprocess.Popen[bytes]) -> None:
        """Take charge of a server that answers: stop it at exit, and reap it at once if it dies before.

        As long as nobody reaps a killed server, its pid counts as alive and blocks every other process's start.
        """
        self._process = process
        atexit.register(self.stop)
        threading.Thread(target=process.wait, name="kb-postgres", daemon=True).start()


def _create_cluster(places: Places, account: Account | None) -> None:
    """Run initdb beside the final place and rename."""
    draft = Path(tempfile.mkdtemp(prefix="cluster.new-", dir=places.home))
    password = secrets.token_urlsafe(32)
    try:
        draft.chmod(0o755)
        data, handover = draft / "data", draft / "handover"
        data.mkdir(mode=0o700)
        _write_private(draft / "password", password)
        _write_private(handover, password)
        if account:
            os.chown(data, account.uid, account.gid)
            os.chown(handover, account.uid, account.gid)
        command: list[str | Path] = [
            places.binaries / "initdb",
            "-D",
            data,
            "--username=postgres",
            f"--pwfile={handover}",
        ]
        command += ["--auth-local=scram-sha-256", "--auth-host=reject", f"--encoding={_ENCODING}", "--locale=C"]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd="/", env=_environment(), **_run_as(account)
        )
        if done.returncode:
            raise PostgresFailed(
                f"creating the database: initdb ended with {done.returncode} at {places.home}: {_reason(done.stderr)}",
                "nothing was kept; repair the cause and start again, or set KB_DSN to a Postgres of your own",
            )
        handover.unlink()
        draft.rename(places.cluster)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _dsn(places: Places, account: Account | None) -> str:
    owner, expected = places.data.stat().st_uid, account.uid if account else os.geteuid()
    if owner != expected:
        raise PostgresFailed(
            f"starting Postgres: expected data of uid {expected}, got uid {owner} at {places.data}",
            "run the book as the user who started it first, or set TLAB_STATE_DIR to another folder",
        )
    return store.conninfo(
        host=str(places.socket_dir), user="postgres", dbname="postgres", password=places.password.read_text("utf-8")
    )


def _spawn(places: Places, account: Account | None) -> subprocess.Popen[bytes]:
    options = [f"-c{name}={value}" for name, value in _OPTIONS.items()]
    options.append(f"-cunix_socket_directories={places.socket_dir}")
    server = [str(places.binaries / "postgres"), "-D", str(places.data), *options]
    with places.log.open("wb") as log:
        return subprocess.Popen(
            ["/bin/sh", "-c", _WATCHED, "sh", *server],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd="/",
            env=_environment(),
            start_new_session=True,  # Ctrl-C in the terminal is the book's to handle
            **_run_as(account),
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _end_orphan(places: Places, account: Account | None) -> None:
    """Ask a server that holds the data but does not answer to stop at once; pg_ctl checks that the pid is its own."""
    command: list[str | Path] = [places.binaries / "pg_ctl", "stop", "-D", places.data, "-m", "immediate", "-t", "5"]
    subprocess.run(command, check=False, capture_output=True, cwd="/", env=_environment(), **_run_as(account))


class _RunAs(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def _run_as(account: Account | None) -> _RunAs:
    return {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}


def _environment() -> dict[str, str]:
    """Give Postgres a bare environment: PG* variables and locales of the caller must not reach it."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


def _not_started(places: Places, reason: str) -> PostgresFailed:
    return PostgresFailed(
        f"starting Postgres: expected it to answer, got: {reason} (log: {places.log})",
        f"it holds only the book's index, so `rm -r {places.cluster}` and a new start repair damaged data; "
        "or set KB_DSN to a Postgres of your own",
    )


def _reason(log: str) -> str:
    """Pick the last line that says what went wrong."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line for word in ("FATAL", "PANIC", "ERROR", "error:"))]
    return (telling or lines or [""])[-1][:300]


@contextlib.contextmanager
def _locked(path: Path, deadline: float) -> Iterator[None]:
    """Hold the state folder: one process at a time creates, starts or repairs the server."""
    with path.open("ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise PostgresFailed(
                        f"starting Postgres: expected the lock in time, got another process holding it at {path}",
                        "wait for the other start of the book to finish, or end it",
                    ) from None
                time.sleep(0.05)
            else:
                break
        yield
