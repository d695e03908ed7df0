"""Code runs in forks of one zygote: warm, apart from each other, and under the reader's control."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import websocket
from live_service import PATIENCE_S, Reader, Service

pytestmark = pytest.mark.kernel


def _until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_true() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert is_true()


def test_a_cell_runs_and_prints(reader: Reader) -> None:
    with reader.connect(reader.start()) as channels:
        assert channels.run("print(6 * 7)") == "42"


def test_what_was_preloaded_is_there_already(reader: Reader) -> None:
    with reader.connect(reader.start()) as channels:
        assert channels.run("import sys; print('colorsys' in sys.modules, 'numpy' in sys.modules)") == "True True"


def test_kernels_are_forks_of_the_zygote(service: Service, reader: Reader) -> None:
    with reader.connect(reader.start()) as channels:
        assert int(channels.run("import os; print(os.getppid())")) == service.zygote().pid


def test_two_kernels_share_no_variable(reader: Reader) -> None:
    with reader.connect(reader.start()) as one, reader.connect(reader.start()) as other:
        one.run("import colorsys; colorsys.mine = 1; x = 1")
        assert other.run("import colorsys; print(hasattr(colorsys, 'mine'), 'x' in globals())") == "False False"


def test_two_kernels_draw_different_random_numbers(reader: Reader) -> None:
    draw = "import random, numpy; print(random.random(), numpy.random.random())"
    with reader.connect(reader.start()) as one, reader.connect(reader.start()) as other:
        here, there = one.run(draw).split(), other.run(draw).split()
    assert not set(here) & set(there)


def test_an_error_is_told_with_its_traceback(reader: Reader) -> None:
    with reader.connect(reader.start()) as channels:
        channels.send("execute_request", {"code": "def f():\n    1 / 0\nf()"})
        error = channels.until(lambda message: message["type"] == "error")
    assert error["content"]["ename"] == "ZeroDivisionError"
    assert any("1 / 0" in line or "1" in line for line in error["content"]["traceback"])


def test_an_endless_loop_is_interrupted_and_the_kernel_keeps_its_state(reader: Reader) -> None:
    kernel_id = reader.start()
    with reader.connect(kernel_id) as channels:
        channels.run("kept = 'kept'")
        channels.send("execute_request", {"code": "while True: pass"})
        channels.until_status("busy")
        assert reader.ask("POST", f"/api/kernels/{kernel_id}/interrupt").status == 204
        error = channels.until(lambda message: message["type"] == "error")
        assert error["content"]["ename"] == "KeyboardInterrupt"
        channels.until_status("idle")
        assert channels.run("print(kept)") == "kept"


def test_an_interrupt_while_nothing_runs_changes_nothing(reader: Reader) -> None:
    kernel_id = reader.start()
    with reader.connect(kernel_id) as channels:
        channels.run("x = 1")
        assert reader.ask("POST", f"/api/kernels/{kernel_id}/interrupt").status == 204
        assert channels.run("print(x)") == "1"


def test_a_cell_ends_with_a_reply_whenever_it_is_interrupted(reader: Reader) -> None:
    kernel_id = reader.start()
    with reader.connect(kernel_id) as channels:
        ends = set()
        for turn in range(60):
            cell = channels.send_cell("x = 1")
            time.sleep(turn % 6 * 0.0007)  # before, within and after the cell
            assert reader.ask("POST", f"/api/kernels/{kernel_id}/interrupt").status == 204
            ends.add(channels.printed_by(cell))
            assert channels.run("print('next')") == "next"
        assert ends <= {"", "KeyboardInterrupt"}


@pytest.mark.parametrize(
    "cell",
    [
        {"code": "import asyncio; await asyncio.sleep(600)"},
        {"code": "", "user_expressions": {"forever": "[None for _ in iter(int, 1)]"}},
        {"code": "input('name? ')", "allow_stdin": True},
    ],
)
def test_whatever_waits_can_be_interrupted(reader: Reader, cell: dict[str, object]) -> None:
    kernel_id = reader.start()
    with reader.connect(kernel_id) as channels:
        name = channels.send("execute_request", cell)
        channels.until(lambda message: message["type"] == "execute_input")
        time.sleep(0.3)
        assert reader.ask("POST", f"/api/kernels/{kernel_id}/interrupt").status == 204
        channels.printed_by(name)
        assert channels.run("print('next')") == "next"


def test_a_restart_gives_a_new_fork_under_the_same_id(reader: Reader) -> None:
    kernel_id = reader.start()
    with reader.connect(kernel_id) as channels:
        before = channels.run("x = 1; import os; print(os.getpid())")
        answer = reader.ask("POST", f"/api/kernels/{kernel_id}/restart")
        assert (answer.status, answer.json["id"]) == (200, kernel_id)
        assert channels.run("print('x' in globals())") == "False"
        assert channels.run("import os; print(os.getpid())") != before


def test_a_killed_kernel_is_reported_and_replaced(reader: Reader) -> None:
    kernel_id = reader.start()
    with reader.connect(kernel_id) as channels:
        pid = int(channels.run("import os; print(os.getpid())"))
        channels.send("execute_request", {"code": "while True: pass"})
        channels.until_status("busy")
        killed_at = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        channels.until_status("restarting")
        assert time.monotonic() - killed_at < 3
        assert channels.run("print('here again')") == "here again"
    _until(lambda: reader.ask("GET", f"/api/kernels/{kernel_id}").json["execution_state"] == "idle")


@contextmanager
def _being_replaced(reader: Reader, kernel_id: str) -> Iterator[None]:
    """A restart that cannot end before the block does: the zygote is halted meanwhile."""
    zygote = reader.service.zygote()
    with ThreadPoolExecutor(1) as pool:
        zygote.suspend()
        try:
            restarted = pool.submit(reader.ask, "POST", f"/api/kernels/{kernel_id}/restart")
            _until(lambda: reader.ask("GET", f"/api/kernels/{kernel_id}").json["execution_state"] == "starting")
            yield
        finally:
            zygote.resume()
        assert restarted.result().status == 200


def test_what_is_sent_while_a_kernel_is_replaced_waits_for_the_next_one(reader: Reader) -> None:
    kernel_id = reader.start()
    with reader.connect(kernel_id) as channels, reader.connect(kernel_id) as other:
        channels.run("x = 1")
        with _being_replaced(reader, kernel_id):
            asked = channels.send_cell("print('x' in globals())"), other.send_cell("print(2 + 2)")
        assert (channels.printed_by(asked[0]), other.printed_by(asked[1])) == ("False", "4")


def test_a_flood_at_a_kernel_that_is_replaced_is_hung_up_on(reader: Reader) -> None:
    kernel_id = reader.start()
    with reader.connect(kernel_id) as channels, reader.connect(kernel_id) as other:
        channels.run("pass")
        with _being_replaced(reader, kernel_id):
            for _ in range(257):
                channels.send_cell("pass")
            with pytest.raises(websocket.WebSocketConnectionClosedException, match="hung up"):
                channels.until(lambda _message: False)
        assert other.run("print('still served')") == "still served"


def test_a_deleted_kernel_ends_with_its_children_and_its_home(reader: Reader) -> None:
    kernel_id = reader.start()
    with reader.connect(kernel_id) as channels:
        pid = int(channels.run("import os; print(os.getpid())"))
        home = Path(channels.run("print(os.environ['HOME'])"))
        sleeper = int(channels.run("import subprocess; print(subprocess.Popen(['sleep', '600']).pid)"))
        assert home.is_dir()
        processes = [psutil.Process(pid), psutil.Process(sleeper)]
        assert reader.ask("DELETE", f"/api/kernels/{kernel_id}").status == 204
    for process in processes:
        _until(lambda process=process: not process.is_running())
    _until(lambda: not home.exists())
    assert reader.ask("GET", f"/api/kernels/{kernel_id}").status == 404


def test_a_kernel_lives_in_a_private_home_within_limits(reader: Reader) -> None:
    with reader.connect(reader.start()) as channels:
        assert channels.run("import os; print(os.getcwd() == os.environ['HOME'], oct(os.umask(0o077)))") == "True 0o77"
        assert channels.run("print(oct(os.stat('.').st_mode & 0o777))") == "0o700"
        assert channels.run(
            "import resource as r; print(r.getrlimit(r.RLIMIT_CORE), r.getrlimit(r.RLIMIT_FSIZE)[0])"
        ) == (f"(0, 0) {1024 * 1024 * 1024}")
        assert channels.run("x = bytearray(6 * 1024 ** 3)") == "MemoryError"
        status = channels.run("print(open('/proc/self/status').read())")
        assert "NoNewPrivs:\t1" in status


def test_a_kernel_knows_no_secret_of_the_service(reader: Reader) -> None:
    with reader.connect(reader.start()) as channels:
        assert channels.run("import os; print('OPENAI_API_KEY' in os.environ)") == "False"


def test_a_flood_of_output_is_cut_short_and_the_kernel_stays(reader: Reader) -> None:
    with reader.connect(reader.start()) as channels:
        assert "some of it is left out here" in channels.run("for n in range(300): print('x' * 100_000)")
        assert channels.run("print('still here')") == "still here"


def test_a_message_that_is_too_large_ends_the_connection_and_not_the_kernel(reader: Reader) -> None:
    kernel_id = reader.start()
    with reader.connect(kernel_id) as channels:
        channels.run("x = 1")
        with pytest.raises((websocket.WebSocketException, OSError)):
            channels.run("#" * (5 * 1024 * 1024))
    with reader.connect(kernel_id) as channels:
        assert channels.run("print(x)") == "1"


def test_the_debugger_stays_shut(reader: Reader) -> None:
    with reader.connect(reader.start()) as channels:
        channels.send("debug_request", {"type": "request", "command": "initialize", "arguments": {}}, channel="control")
        assert channels.run("import debugpy") == "ModuleNotFoundError"
