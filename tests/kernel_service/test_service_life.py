"""The service as a process: how it starts, what stops it from starting, and what remains when it ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import websocket
from live_service import PATIENCE_S, ROOT, Service

from kernel_service import options
from kernel_service.__main__ import main
from kernel_service.errors import StartupError, UsageError

Launch = Callable[..., Service]


def _until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_true() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert is_true()


def _fail(site: Path, state: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "kernel_service", "--site", str(site), "--state-dir", str(state), *arguments]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


def _temporary_directories(process: psutil.Process) -> list[Path]:
    return [Path(word).parent for word in process.cmdline() if word.endswith("zygote.sock")]


def _homes(service: Service) -> list[Path]:
    return [home for place in _temporary_directories(service.zygote()) for home in place.glob("homes-*/*")]


@pytest.mark.parametrize("ip", ["0.0.0.0", "::", "", "192.168.1.1", "example.org"])  # noqa: S104 - refused
def test_a_public_address_is_refused(site: Path, ip: str) -> None:
    with pytest.raises(UsageError, match=r"expected a loopback address, got .*; leave --ip out"):
        options.parse(["--site", str(site), "--ip", ip])


def test_a_site_that_was_not_built_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"expected pages at .*; build the book first"):
        options.parse(["--site", str(tmp_path)])


def test_an_extension_that_is_not_installed_is_refused(site: Path) -> None:
    with pytest.raises(UsageError, match="expected a package, got 'no_such_package'"):
        options.parse(["--site", str(site), "--extension", "no_such_package"])


@pytest.mark.kernel
def test_refusals_are_one_line_and_exit_code_2(site: Path, tmp_path: Path) -> None:
    status, out, err = _fail(site, tmp_path, "--ip", "0.0.0.0")  # noqa: S104 - refused
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "kernels are unconfined in this edition" in err


def test_an_occupied_port_is_one_line_that_says_what_to_do(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        status = main(["--site", str(site), "--state-dir", str(tmp_path), "--port", str(port)])
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert f"expected port {port} on 127.0.0.1 to be free" in err
    assert f"--port {port + 1}" in err


@pytest.mark.kernel
def test_a_preload_that_fails_is_told_by_its_last_line(site: Path, tmp_path: Path) -> None:
    status, out, err = _fail(site, tmp_path, "--port", "0", "--preload", "import no_such_module")
    assert (status, out) == (1, "")
    complaints = [line for line in err.splitlines() if line.startswith("kernel_service: ")]
    assert len(complaints) == 1
    assert "got ModuleNotFoundError: No module named 'no_such_module'" in complaints[0]
    assert "--preload" in complaints[0]
    assert "Traceback" not in err
    assert "Traceback" in (tmp_path / "zygote.log").read_text()


@pytest.mark.kernel
def test_an_extension_that_does_not_load_is_told_in_one_line(site: Path, tmp_path: Path) -> None:
    (tmp_path / "broken_extension.py").write_text("raise RuntimeError('no database')")
    status, out, err = _fail(site, tmp_path, "--port", "0", "--extension", "broken_extension", PYTHONPATH=str(tmp_path))
    assert (status, out) == (1, "")
    assert err.splitlines()[-1] == (
        "kernel_service: setting up: expected a server with broken_extension, got RuntimeError: no database"
    )
    assert "Traceback" not in err


@pytest.mark.kernel
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_stopping_leaves_nothing_behind(launch: Launch, signum: int) -> None:
    service = launch(preload="import colorsys")
    reader = service.reader()
    with reader.connect(reader.start()) as channels:
        channels.send("execute_request", {"code": "while True: pass"})
        channels.until_status("busy")
        processes, places = service.processes(), _temporary_directories(service.zygote())
        assert len(processes) > 2
        assert all(place.exists() for place in places)
        stopping = time.monotonic()
        assert service.stop(signum) == 0
    assert time.monotonic() - stopping < 5
    _until(lambda: not any(process.is_running() for process in processes))
    assert not any(place.exists() for place in places)
    assert "Traceback" not in service.log.read_text()


@pytest.mark.kernel
def test_a_killed_service_takes_zygote_and_kernels_along(launch: Launch) -> None:
    service = launch(preload="import colorsys")
    processes, places = service.processes(), _temporary_directories(service.zygote())
    assert len(processes) >= 2
    service.stop(signal.SIGKILL)
    _until(lambda: not any(process.is_running() for process in processes))
    _until(lambda: not any(place.exists() for place in places))


@pytest.mark.kernel
def test_a_killed_zygote_is_replaced_and_kernels_come_back(launch: Launch) -> None:
    service = launch("--spares", "1", preload="import colorsys")
    reader = service.reader()
    kernel_id = reader.start()
    with reader.connect(kernel_id) as channels:
        first = service.zygote().pid
        kernel = int(channels.run("import os; print(os.getpid())"))
        os.kill(first, signal.SIGKILL)
        _until(lambda: service.ask("GET", "/healthz").json["status"] == "degraded")
        _until(lambda: not psutil.pid_exists(kernel))
        channels.until_status("restarting")
        _until(lambda: service.ask("GET", "/healthz").json["status"] == "ok")
        assert service.zygote().pid != first
        assert channels.run("print('back')") == "back"
        assert len({path.parent for path in _homes(service)}) == 1
    assert "the zygote ended with status -9" in service.log.read_text()


@pytest.mark.kernel
def test_a_full_service_says_so(launch: Launch) -> None:
    service = launch("--spares", "0", "--max-kernels", "1", "--max-waiting", "0", preload="import colorsys")
    service.reader().start()
    answer = service.reader().ask("POST", "/api/kernels")
    assert (answer.status, answer.json["code"]) == (503, "service-full")
    assert "expected at most 1 kernels in this service, got 1 already" in answer.json["message"]
    assert service.ask("GET", "/healthz").json == {"status": "ok", "kernels": 1, "spares": 0, "waiting": 0}


@pytest.mark.kernel
def test_readers_of_a_full_service_wait_in_line(launch: Launch) -> None:
    service = launch("--spares", "0", "--max-kernels", "1", preload="import colorsys")
    lucky, bob, eve = service.reader(), service.reader(), service.reader()
    kernel_id = lucky.start()
    answer = bob.ask("POST", "/api/kernels")
    assert (answer.status, answer.json) == (202, {"waiting": {"number": 1, "of": 1}, "retry_s": 2.0})
    assert answer.headers["Retry-After"] == "2"
    assert eve.ask("POST", "/api/kernels").json["waiting"] == {"number": 2, "of": 2}
    assert service.ask("GET", "/healthz").json["waiting"] == 2
    lucky.ask("DELETE", f"/api/kernels/{kernel_id}")
    kernel_id = lucky.start()  # starting anew costs nobody their kernel
    lucky.ask("DELETE", f"/api/kernels/{kernel_id}")
    time.sleep(2.1)
    assert eve.ask("POST", "/api/kernels").json["waiting"] == {"number": 2, "of": 2}
    assert bob.ask("DELETE", "/api/waiting").status == 204
    assert eve.start()
    assert service.ask("DELETE", "/api/waiting").status == 403


@pytest.mark.kernel
def test_a_kernel_without_a_page_is_given_back(launch: Launch) -> None:
    service = launch("--spares", "1", "--cull-abandoned-min", "0.02", preload="import colorsys")
    reader = service.reader()
    watched, abandoned = reader.start(), reader.start()
    with reader.connect(watched) as channels:
        with reader.connect(abandoned):
            pass
        _until(lambda: [model["id"] for model in reader.ask("GET", "/api/kernels").json] == [watched])
        assert channels.run("print('still here')") == "still here"
    assert service.ask("GET", "/healthz").json["spares"] == 1


@pytest.mark.kernel
def test_an_idle_kernel_is_given_back_and_its_page_told(launch: Launch) -> None:
    service = launch("--spares", "0", "--cull-idle-min", "0.02", preload="import colorsys")
    reader = service.reader()
    kernel_id = reader.start()
    limits = reader.ask("GET", f"/api/kernels/{kernel_id}").json["limits"]
    assert limits == {"idle_s": pytest.approx(1.2), "abandoned_s": 300.0}
    with reader.connect(kernel_id) as channels:
        opcode = None
        while opcode != websocket.ABNF.OPCODE_CLOSE:
            opcode, _ = channels.socket.recv_data()
        channels.socket.shutdown()  # after a close from the other side, its own `close` would leave the socket open
    assert reader.ask("GET", f"/api/kernels/{kernel_id}").status == 404


@pytest.mark.kernel
def test_the_service_writes_to_its_state_directory_only(service: Service) -> None:
    names = {path.name for path in service.log.parent.iterdir()}
    assert names == {"reader.secret", "service.log", "zygote.log"}


@pytest.mark.kernel
def test_ctrl_c_ends_a_service_that_still_loads(site: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kernel_service", "--site", str(site), "--state-dir", str(tmp_path), "--port", "0"]
    loading = tmp_path / "loading"
    slow = f"import pathlib, time; pathlib.Path({str(loading)!r}).touch(); time.sleep(60)"
    with subprocess.Popen(
        [*command, "--preload", slow], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        _until(loading.exists)
        processes = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err
    assert processes
    assert not any(process.is_running() for process in processes)


@pytest.mark.kernel
def test_an_extension_is_served_started_and_stopped(launch: Launch) -> None:
    service = launch("--extension", "sample_extension", preload="import colorsys")
    reader = service.reader()
    assert service.ask("GET", "/api/sample").json["code"] == "reader-unknown"
    assert reader.ask("GET", "/api/sample").json == {"reader": reader.ask("POST", "/api/reader").json["reader"]}
    service.stop()
    assert "the sample extension stopped" in service.log.read_text()
