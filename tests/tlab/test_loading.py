"""Loading what cannot be loaded: broken folders, ids that the hub does not have, a hub that does not answer."""

from __future__ import annotations

import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import huggingface_hub.constants
import pytest
from transformers import (
    BertConfig,
    BertForMaskedLM,
    PreTrainedConfig,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

import tlab
from tlab.errors import UnknownModel
from tlab.hub import check_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def _spoil_nothing(folder: Path) -> None:
    (folder / "notes.txt").write_text("no model here")


def _spoil_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _spoil_kind(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "nonsense"}')


def _remove_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _remove_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def _cut_weights(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize("spoil", [_spoil_config, _spoil_kind, _remove_weights, _remove_tokenizer, _cut_weights])
def test_a_folder_without_a_whole_model_is_an_unknown_model(
    tiny_folders: dict[str, Path], tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folders["llama-grouped"], folder)
    spoil(folder)
    with pytest.raises(UnknownModel, match=r"model unreadable: expected a folder or id with a causal language model"):
        tlab.load(str(folder))


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (BertForMaskedLM, BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)),
        (T5ForConditionalGeneration, T5Config(d_model=32, d_kv=8, d_ff=8, num_layers=1, num_heads=4)),
    ],
)
def test_a_model_that_predicts_no_next_token_is_refused(
    tiny_folders: dict[str, Path], tmp_path: Path, kind: type[PreTrainedModel], config: PreTrainedConfig
) -> None:
    # It would load, and every experiment would say something about it that is not so.
    folder = tmp_path / "model"
    shutil.copytree(tiny_folders["llama-grouped"], folder)
    kind(config).save_pretrained(folder)
    with pytest.raises(UnknownModel, match=r"expected a folder or id with a causal language model, got .*; check what"):
        tlab.load(str(folder))


def test_a_folder_without_any_model_is_an_unknown_model(tmp_path: Path) -> None:
    _spoil_nothing(tmp_path)
    with pytest.raises(UnknownModel, match=r"model unreadable: .*; check what it holds"):
        tlab.load(str(tmp_path))


class _Hub(BaseHTTPRequestHandler):
    """Hugging Face's answers to a question for a model, without the internet."""

    answer = (404, {"X-Error-Code": "RepoNotFound"}, b"")

    def do_GET(self) -> None:
        status, headers, body = type(self).answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815  http.server looks the method up by this name

    def log_message(self, *arguments: object) -> None:
        """Stay quiet."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[_Hub]]:
    """Serve a hub on the loopback address and make Hugging Face's client ask it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    yield _Hub
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_id_that_the_hub_does_not_know_is_an_unknown_model(hub: type[_Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "answer", (404, {"X-Error-Code": "RepoNotFound"}, b""))
    with pytest.raises(UnknownModel, match=r"got 'nobody/no-model'; no model has this id; check the spelling"):
        tlab.load("nobody/no-model")


def test_an_id_much_like_a_short_name_is_looked_up_all_the_same(
    hub: type[_Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "answer", (200, {"Content-Type": "application/json"}, b'{"id": "acme/smollm2-135m"}'))
    check_id("acme/smollm2-135m", known=tlab.models())


def test_a_hub_that_answers_with_a_web_page_is_an_unknown_model(
    hub: type[_Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a hotel's log-in page does.
    monkeypatch.setattr(hub, "answer", (200, {"Content-Type": "text/html"}, b"<html>Please log in</html>"))
    with pytest.raises(UnknownModel, match=r"got 'nobody/no-model'; Hugging Face "):
        tlab.load("nobody/no-model")


def test_a_hub_that_fails_is_an_unknown_model(hub: type[_Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "answer", (503, {}, b""))
    with pytest.raises(UnknownModel, match=r"got 'nobody/no-model'; Hugging Face "):
        tlab.load("nobody/no-model")


def test_a_hub_out_of_reach_is_an_unknown_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Port 9 discards; nothing listens there.
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UnknownModel, match=r"Hugging Face cannot be reached to look up an id"):
        tlab.load("nobody/no-model")


def test_offline_mode_is_named_in_the_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UnknownModel, match=r"offline mode is on and this id is not cached"):
        tlab.load("nobody/no-model")
