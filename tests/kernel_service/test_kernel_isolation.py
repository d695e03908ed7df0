"""A reader sees and reaches their own kernels only; nothing else of Jupyter is there."""

import pytest
import websocket
from live_service import Reader, Service

pytestmark = pytest.mark.kernel

SOMEBODYS = "00000000-0000-0000-0000-000000000000"


def test_a_reader_gets_a_token_and_keeps_it(service: Service) -> None:
    first = service.ask("POST", "/api/reader")
    assert first.status == 200
    assert first.headers["Cache-Control"] == "no-store"
    again = service.ask("POST", "/api/reader", Authorization=f"token {first.json['token']}")
    assert again.json["reader"] == first.json["reader"]
    assert again.json["expires_s"] == 7 * 24 * 3600


def test_another_origin_gets_no_token(service: Service) -> None:
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        answer = service.ask("POST", "/api/reader", Origin=origin)
        assert (answer.status, answer.json["code"]) == (403, "cross-origin")
    assert service.ask("POST", "/api/reader", Origin=service.address).status == 200


def test_a_host_name_that_only_dns_gave_this_machine_is_refused(service: Service) -> None:
    for path in ("/", "/api/reader", "/healthz"):
        method = "POST" if path == "/api/reader" else "GET"
        answer = service.ask(method, path, Host="evil.example")
        assert answer.status == 403
        assert b"expected a Host that names this machine" in answer.body
    port = service.host.rpartition(":")[2]
    assert service.ask("GET", "/healthz", Host=f"localhost:{port}").status == 200


def test_without_a_token_there_are_no_kernels(service: Service) -> None:
    for headers in ({}, {"Authorization": "token forged"}):
        for method in ("GET", "POST"):
            answer = service.ask(method, "/api/kernels", **headers)
            assert answer.status == 403
            assert answer.json == {
                "code": "reader-unknown",
                "message": "expected a valid reader token, got none",
                "hint": "POST /api/reader gives one.",
                "status": 403,
            }


def test_a_token_in_the_address_opens_nothing_but_websockets(service: Service, reader: Reader) -> None:
    assert service.ask("GET", f"/api/kernels?token={reader.token}").status == 403


def test_a_token_does_not_lift_the_origin_check(reader: Reader) -> None:
    kernel_id = reader.start()
    answer = reader.ask("POST", "/api/kernels", body={}, Origin="http://evil.example")
    assert answer.status == 404
    assert "Access-Control-Allow-Origin" not in answer.headers
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        reader.connect(kernel_id, origin="http://evil.example")


def test_a_list_shows_a_readers_own_kernels_only(reader: Reader, stranger: Reader) -> None:
    mine = [reader.start(), reader.start()]
    theirs = stranger.start()
    assert [model["id"] for model in reader.ask("GET", "/api/kernels").json] == mine
    assert [model["id"] for model in stranger.ask("GET", "/api/kernels").json] == [theirs]


@pytest.mark.parametrize(
    ("method", "suffix"), [("GET", ""), ("DELETE", ""), ("POST", "/interrupt"), ("POST", "/restart")]
)
def test_another_readers_kernel_does_not_exist(reader: Reader, stranger: Reader, method: str, suffix: str) -> None:
    kernel_id = stranger.start()
    answer = reader.ask(method, f"/api/kernels/{kernel_id}{suffix}")
    nobodys = reader.ask(method, f"/api/kernels/{SOMEBODYS}{suffix}")
    assert answer.status == nobodys.status == 404
    assert answer.body.replace(kernel_id.encode(), b"") == nobodys.body.replace(SOMEBODYS.encode(), b"")
    assert answer.json["code"] == "kernel-unknown"
    assert stranger.ask("GET", f"/api/kernels/{kernel_id}").status == 200


def test_another_readers_websocket_does_not_exist(reader: Reader, stranger: Reader) -> None:
    kernel_id = stranger.start()
    for whose in (kernel_id, SOMEBODYS):
        with pytest.raises(websocket.WebSocketBadStatusException, match="404"):
            reader.connect(whose)


def test_a_reader_cannot_choose_the_id_of_another_readers_kernel(reader: Reader, stranger: Reader) -> None:
    kernel_id = stranger.start()
    answer = reader.ask("POST", "/api/kernels", body={"name": "tlab", "kernel_id": kernel_id, "path": "/etc"})
    reader.kernels.append(answer.json["id"])
    assert answer.json["id"] != kernel_id


@pytest.mark.parametrize("body", [{"name": "python3"}, {"name": 1}, ["tlab"]])
def test_there_is_no_kernel_but_tlab(reader: Reader, body: object) -> None:
    answer = reader.ask("POST", "/api/kernels", body=body)
    assert (answer.status, answer.json["code"]) == (400, "bad-request")
    assert "expected the name 'tlab', got" in answer.json["message"]


@pytest.mark.parametrize(
    "path",
    ["/api", "/api/contents", "/api/contents/etc/passwd", "/api/terminals", "/api/sessions", "/api/kernelspecs",
     "/api/me",
     "/api/status", "/api/shutdown", "/api/config/x", "/api/spec.yaml", "/login", "/logout", "/metrics", "/files/x",
     "/view/x", "/nbconvert/html/x", "/terminals/websocket/1", "/tree", "/kernelspecs/tlab/x"],
)  # fmt: skip
def test_the_rest_of_jupyter_is_not_there(reader: Reader, path: str) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        answer = reader.ask(method, path)
        assert answer.status == 404
        assert answer.json["code"] == "not-found"


def test_a_reader_at_their_limit_is_told_what_to_do(reader: Reader) -> None:
    for _ in range(3):
        reader.start()
    answer = reader.ask("POST", "/api/kernels")
    assert answer.status == 429
    assert answer.json["code"] == "reader-full"
    assert answer.json["message"] == "starting a kernel: expected at most 3 kernels for a reader, got 3 already"
    assert answer.json["hint"]
    reader.ask("DELETE", f"/api/kernels/{reader.kernels.pop()}")
    reader.start()
