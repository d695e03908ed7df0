"""The chat in a real jupyter-server process: what a browser gets, and what happens when things break."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from kb.desk import Desk
from kb.errors import StoreUnavailable
from kb.library import Library
from kb.question import Question
from kb.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kb.retrieval import Retrieval
    from kb.store import Change

pytestmark = pytest.mark.pg

# One reader a token, as the book's own server has it: jupyter-server alone would make up a new user each time.
SERVER = """
import sys
from jupyter_server.auth.identity import IdentityProvider, User
from jupyter_server.serverapp import ServerApp

class Readers(IdentityProvider):
    def get_user(self, handler):
        scheme, _, token = handler.request.headers.get("Authorization", "").partition(" ")
        return User(username=token) if scheme == "token" and token.startswith("reader") else None

    def is_token_authenticated(self, handler):
        return handler.current_user is not None

    def should_check_origin(self, handler):
        return True

app = ServerApp(
    port=int(sys.argv[1]), port_retries=0, open_browser=False, allow_root=True, jpserver_extensions={"kb": True},
    root_dir=sys.argv[2], identity_provider_class=Readers, log_level="ERROR",
)
app.initialize([], find_extensions=False)
app.start()
"""


@dataclass
class Site:
    """A running server and how to talk to it."""

    port: int
    process: subprocess.Popen[bytes]
    state_dir: Path

    def send(self, method: str, path: str, body: bytes = b"", reader: str = "reader") -> tuple[int, bytes]:
        """Send one request and read the whole answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            headers = {"Authorization": f"token {reader}"} if reader else {}
            connection.request(method, path, body or None, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def ask(self, question: str, *, reader: str = "reader", **fields: object) -> tuple[int, Any]:
        """Ask and parse: the events of an answer, or the JSON of an error."""
        status, body = self.send("POST", "/api/chat", json.dumps({"question": question, **fields}).encode(), reader)
        if status != 200:
            return status, json.loads(body)
        events = []
        for block in body.decode().strip().split("\n\n"):
            name, data = block.split("\n")
            events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
        return status, events

    def wait_for(self, status: str, timeout_s: float = 90.0) -> None:
        """Wait until the health page says so."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                if json.loads(self.send("GET", "/api/chat/health", reader="")[1])["status"] == status:
                    return
            except OSError:
                assert self.process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, f"never {status}"
            time.sleep(0.05)


def _serve(folder: Path, **environment: str) -> Iterator[Site]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", SERVER, str(port), str(folder)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KB_")}
    own = {"JUPYTER_RUNTIME_DIR": str(folder), "JUPYTER_DATA_DIR": str(folder), "JUPYTER_CONFIG_DIR": str(folder)}
    process = subprocess.Popen(command, env=kept | own | environment)
    try:
        yield Site(port, process, Path(environment.get("TLAB_STATE_DIR", folder)))
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, library: Library) -> Iterator[Site]:
    """Serve with the session's state folder: the index is there already, the server only has to open it."""
    folder = tmp_path_factory.mktemp("site")
    for running in _serve(folder, TLAB_STATE_DIR=str(library._settings.state_dir)):
        running.wait_for("starting")
        running.wait_for("ok")
        yield running


def test_an_answer_arrives_as_events_in_order(site: Site) -> None:
    status, events = site.ask("What does the causal mask do?", page="lessons/tour", history=[])
    assert status == 200
    names = [name for name, _ in events]
    assert names[:2] == ["meta", "sources"]
    assert set(names[2:-1]) == {"text"}
    assert names[-1] == "done"
    assert events[0][1] == {"tier": "answer", "mode": "extractive", "model": None}
    sources = events[1][1]
    assert sources[0]["url"] == "book/glossary.html#term-causal-mask"
    assert set(sources[0]) == {"n", "id", "title", "section", "url", "excerpt"}
    cited = {n for name, data in events if name == "text" for n in data["cites"]}
    assert cited == {source["n"] for source in sources}
    assert events[-1][1]["elapsed_ms"] >= 0


def test_what_the_book_lacks_comes_without_sources(site: Site) -> None:
    _, events = site.ask("How do I bake sourdough bread?")
    assert events[0][1]["tier"] == "none"
    assert events[1] == ("sources", [])


def test_a_follow_up_is_answered_from_its_history(site: Site) -> None:
    _, events = site.ask("When does it mislead?", history=[{"question": "What is the logit lens?", "answer": "…"}])
    assert "when-the-lens-misleads" in events[1][1][0]["url"]


@pytest.mark.parametrize(
    ("request_line", "reader", "status", "code"),
    [
        (("POST", b'{"question": "q"}'), "", 403, "reader-unknown"),
        (("POST", b'{"question": "q"}'), "stranger", 403, "reader-unknown"),
        (("POST", b"{"), "reader", 400, "question-invalid"),
        (("POST", b""), "reader", 400, "question-invalid"),
        (("POST", b'{"question": []}'), "reader", 400, "question-invalid"),
        (("POST", b"x" * 40_000), "reader", 413, "question-too-long"),
        (("GET", b""), "reader", 405, "method-not-allowed"),
        (("DELETE", b""), "reader", 405, "method-not-allowed"),
    ],
)
def test_a_wrong_request_gets_a_json_sentence(
    site: Site, request_line: tuple[str, bytes], reader: str, status: int, code: str
) -> None:
    method, body = request_line
    got, answer = site.send(method, "/api/chat", body, reader)
    error = json.loads(answer)
    assert (got, error["status"], error["code"]) == (status, status, code)
    assert error["message"]
    assert error["hint"]


def test_another_sites_page_is_not_answered(site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
    headers = {"Authorization": "token reader", "Origin": "http://evil.example"}
    try:
        connection.request("POST", "/api/chat", b'{"question": "What is a token?"}', headers)
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())["code"]) == (404, "not-found")
    finally:
        connection.close()


def test_a_reader_who_asks_too_often_has_to_wait_and_others_do_not(site: Site) -> None:
    answers = [site.ask("?", reader="reader-in-a-hurry") for _ in range(21)]
    assert [status for status, _ in answers] == [200] * 20 + [429]
    assert answers[-1][1]["code"] == "too-many-questions"
    assert site.ask("?", reader="reader-with-time")[0] == 200


def test_the_chat_survives_the_death_of_its_database(site: Site, library: Library) -> None:
    data = library._settings.state_dir / "postgres-18" / "cluster" / "data"
    os.kill(int((data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    deadline = time.monotonic() + 40
    while (answer := site.ask("What does the causal mask do?", reader="reader-of-ruins"))[0] != 200:
        assert answer[0] == 503
        assert answer[1]["code"] in {"database-unavailable", "postgres-not-started"}
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert answer[1][0][1]["tier"] == "answer"


def test_a_missing_database_is_a_503_until_it_is_there(library: Library) -> None:
    main = library._postgres.start() if library._postgres else ""
    dsn = psycopg.conninfo.make_conninfo(main, user="later", password="open sesame")  # noqa: S106 - of a test's role

    async def ask(desk: Desk) -> Retrieval:
        return await desk.find(Question("What is a token?"))

    with psycopg.connect(main, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS later")
        desk = Desk(Library(Settings(library._settings.state_dir, dsn)), ready_s=60)
        try:
            with pytest.raises(StoreUnavailable, match='authentication failed for user "later"') as caught:
                asyncio.run(ask(desk))
            assert caught.value.payload()["status"] == 503
            assert desk.status == "down"
            connection.execute("CREATE ROLE later LOGIN SUPERUSER PASSWORD 'open sesame'")
            assert asyncio.run(ask(desk)).found
            assert desk.status == "ok"
        finally:
            desk.close()
        connection.execute("DROP ROLE later")


def test_a_library_that_opens_for_too_long_is_a_503_and_not_a_hang(library: Library) -> None:
    class SlowLibrary(Library):
        def open(self) -> Change:
            time.sleep(1)
            return super().open()

    desk = Desk(SlowLibrary(library._settings), ready_s=0.05)
    try:
        with pytest.raises(StoreUnavailable, match="got a chat still starting; ask again in a few seconds"):
            asyncio.run(desk.find(Question("What is a token?")))
    finally:
        desk.close()


def test_a_stopped_server_leaves_no_database_behind(tmp_path: Path, reachable_dir: Path) -> None:
    for _ in _serve(tmp_path, TLAB_STATE_DIR=str(reachable_dir)):
        pid_file = reachable_dir / "postgres-18" / "cluster" / "data" / "postmaster.pid"
        deadline = time.monotonic() + 60
        while not pid_file.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert not pid_file.exists()
