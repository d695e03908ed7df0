"""The book's pages: served with their types and security headers, and nothing beside them."""

import http.client
from typing import Any

import pytest
from live_service import Answer, Service
from playwright.sync_api import sync_playwright

from kernel_service.headers import FRAME_POLICY, PAGE_POLICY

pytestmark = pytest.mark.kernel


def _raw(service: Service, path: str, method: str = "GET") -> Answer:
    """Ask for a path as it is written: urllib would tidy it up."""
    connection = http.client.HTTPConnection(service.host, timeout=10)
    connection.request(method, path)
    reply = connection.getresponse()
    answer = Answer(reply.status, reply.headers, reply.read())
    connection.close()
    return answer


@pytest.mark.parametrize(
    ("path", "kind", "text"),
    [
        ("/", "text/html; charset=utf-8", b"The book"),
        ("/index.html", "text/html; charset=utf-8", b"The book"),
        ("/lessons/", "text/html; charset=utf-8", b"Lessons"),
        ("/lessons", "text/html; charset=utf-8", b"Lessons"),
        ("/_static/page.js", "javascript; charset=utf-8", b"loaded"),
    ],
)
def test_a_page_is_served_with_its_type(service: Service, path: str, kind: str, text: bytes) -> None:
    answer = service.ask("GET", path)
    assert answer.status == 200
    assert answer.headers["Content-Type"].endswith(kind)
    assert text in answer.body


@pytest.mark.parametrize("path", ["/", "/nothing", "/_static/page.js", "/healthz", "/api/kernels", "/api/nothing"])
def test_every_response_carries_the_security_headers(service: Service, path: str) -> None:
    headers = service.ask("GET", path).headers
    assert headers["Content-Security-Policy"].startswith(PAGE_POLICY)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "Set-Cookie" not in headers


def test_the_frame_of_isolated_outputs_has_a_policy_of_its_own(service: Service) -> None:
    assert service.ask("GET", "/_static/frame.html").headers["Content-Security-Policy"] == FRAME_POLICY


def test_a_page_is_asked_for_again_and_answered_by_its_tag(service: Service) -> None:
    first = service.ask("GET", "/index.html")
    assert first.headers["Cache-Control"] == "no-cache"
    again = service.ask("GET", "/index.html", If_None_Match=first.headers["ETag"])
    assert (again.status, again.body) == (304, b"")


def test_a_versioned_file_is_kept(service: Service) -> None:
    assert "immutable" in service.ask("GET", "/_static/page.js?v=1").headers["Cache-Control"]
    assert service.ask("GET", "/_static/page.js").headers["Cache-Control"] == "no-cache"


def test_a_missing_page_leads_back_into_the_book(service: Service) -> None:
    answer = service.ask("GET", "/lessons/<script>.html".replace("<", "%3C").replace(">", "%3E"))
    assert answer.status == 404
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert b'<a href="/">' in answer.body
    assert b"<script>" not in answer.body


@pytest.mark.parametrize(
    "path",
    ["/../secret.txt", "/%2e%2e/secret.txt", "/lessons/../../secret.txt", "/lessons/%2e%2e%2f%2e%2e%2fsecret.txt",
     "//etc/passwd", "/..%5csecret.txt", "/leak.txt", "/.buildinfo", "/lessons/../.buildinfo", "/_static/"],
)  # fmt: skip
def test_nothing_outside_the_book_is_served(service: Service, path: str) -> None:
    answer = _raw(service, path)
    assert answer.status == 404
    assert b"outside" not in answer.body
    assert b"hidden" not in answer.body


def test_pages_can_only_be_read(service: Service) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert _raw(service, "/index.html", method).status == 405


@pytest.mark.browser
def test_a_frame_without_an_origin_loads_the_books_scripts_and_nothing_else(service: Service) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
        )
        page = browser.new_page()
        page.goto(service.address)
        page.set_content('<iframe src="/_static/frame.html" sandbox="allow-scripts"></iframe>')
        frame: Any = page.frames[1]
        frame.wait_for_load_state()
        assert frame.evaluate("window.loaded")
        assert frame.evaluate("self.origin") == "null"
        asks = "fetch('/healthz').then(() => 'reached', () => 'refused')"
        assert frame.evaluate(asks) == "refused"
        assert page.evaluate(asks) == "reached"
        browser.close()


@pytest.mark.browser
def test_a_page_may_open_a_websocket_to_its_kernel(service: Service) -> None:
    start = """async () => {
        const {token} = await (await fetch('/api/reader', {method: 'POST'})).json();
        const headers = {Authorization: 'token ' + token, 'Content-Type': 'application/json'};
        const kernel = await (await fetch('/api/kernels', {method: 'POST', headers, body: '{"name": "tlab"}'})).json();
        const url = `ws://${location.host}/api/kernels/${kernel.id}/channels?session_id=s&token=${token}`;
        const socket = new WebSocket(url, ['v1.kernel.websocket.jupyter.org']);
        const protocol = await new Promise((resolve, reject) => {
            socket.onopen = () => resolve(socket.protocol);
            socket.onerror = () => reject(new Error('refused'));
        });
        socket.close();
        await fetch('/api/kernels/' + kernel.id, {method: 'DELETE', headers});
        return protocol;
    }"""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
        )
        page = browser.new_page()
        page.goto(service.address)
        assert page.evaluate(start) == "v1.kernel.websocket.jupyter.org"
        browser.close()
