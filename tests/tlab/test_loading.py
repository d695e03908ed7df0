"""Loading what cannot be loaded: broken folders, ids that the hub does not have, a hub that does not answer."""

from __future__ import annotations

import copy
import json
import shutil
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import huggingface_hub.constants
import pytest
import safetensors.torch
import torch
import zoo
from torch.testing import assert_close
from transformers import AutoModel

import tlab
from tlab import loading, memory
from tlab.engine import run
from tlab.errors import (
    ModelTooLarge,
    NotFinite,
    UnknownModel,
    UnknownOption,
    UnsupportedModel,
    UnusableDtype,
    UnusablePrompt,
)
from tlab.hub import check_id
from tlab.loading import dissect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from transformers import PreTrainedModel

    from tlab import Model
    from tlab.engine import Inputs


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
    with pytest.raises(
        UnknownModel, match=r"model unreadable: expected a folder or id with a language model, got .*; check what"
    ):
        tlab.load(str(folder))


@pytest.mark.parametrize(
    "name",
    ["gpt2", "opt-post-norm", "falcon-new", "gemma-3", "gpt-oss", "bert", "distilbert", "modernbert", "t5", "marian"],
)
def test_a_folder_of_any_family_is_loaded_as_what_it_is(
    name: str, tmp_path: Path, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    loaded = tlab.load(zoo.write(name, tmp_path / name))
    assert type(loaded.hf) is zoo.SPECIMENS[name].kind
    assert loaded.family == zoo.SPECIMENS[name].family
    assert loaded.folder == tmp_path / name
    assert loaded.fingerprint == dissected(name).fingerprint
    assert_close(run(loaded, prompted(name)).logits, run(dissected(name), prompted(name)).logits, rtol=0, atol=1e-6)


def test_an_encoder_without_a_head_is_loaded_and_predicts_nothing(tmp_path: Path) -> None:
    folder = zoo.write("bert", tmp_path / "bert")
    AutoModel.from_pretrained(folder, add_pooling_layer=False).save_pretrained(folder)
    encoder = tlab.load(folder)
    assert encoder.family == "encoder"
    assert "logits" not in encoder.sites
    assert tlab.capture(encoder, "abc")["blocks.2.resid_post"].shape == (1, 5, 32)
    with pytest.raises(
        UnusablePrompt, match=r"nothing to predict: expected a model that predicts tokens, got .*; read"
    ):
        tlab.predict(encoder, "abc")


def test_a_folder_that_lacks_a_tensor_is_an_unknown_model(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    # Hugging Face would draw the missing one at random.
    folder = tmp_path / "model"
    shutil.copytree(tiny_folders["llama-grouped"], folder)
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.down_proj.weight"]
    safetensors.torch.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UnknownModel, match=r"model unreadable: expected .*, got .*down_proj.*; check what it holds"):
        tlab.load(folder)


def _announce(folder: Path, n_params: int) -> None:
    """Write a file of weights that announces very many and holds none."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [n_params // 1000, 1000], "data_offsets": [0, 4 * n_params]}})
    content = header.encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(content)) + content)


def test_a_model_larger_than_the_memory_is_refused_before_it_is_read(
    tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folders["llama-grouped"], folder)
    _announce(folder, 10**13)
    with pytest.raises(
        ModelTooLarge,
        match=r"model too large: expected at most [\d.]+ GB, got .* with 10,000,000 million parameters, which need "
        r"about 48000\.0 GB in float32; take a smaller model, or dtype=torch\.bfloat16",
    ):
        tlab.load(folder)


def test_half_the_bytes_a_number_are_half_the_memory(
    tiny_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_folders["llama-grouped"]
    n_params = memory.n_parameters(folder)
    assert n_params == tlab.load(folder).n_params
    assert memory.n_parameters(tmp_path) is None
    assert (memory.available_bytes("cpu") or 0) > 10**6
    monkeypatch.setattr(memory, "available_bytes", lambda _device: 3 * n_params)
    memory.check_fits("name", folder, torch.bfloat16, "cpu")
    with pytest.raises(ModelTooLarge, match=r"in float32; "):
        memory.check_fits("name", folder, torch.float32, "cpu")


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "mps", "tpu", "", 3.5])
def test_a_device_that_is_not_there_is_refused(
    device: object, tiny_folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(
        UnknownOption, match=r"device refused: expected one that this machine has, got .*; try device='cpu'"
    ):
        tlab.load(tiny_folders["llama-grouped"], device=device)


@pytest.mark.parametrize(
    "name",
    ["mixtral", "qwen2-moe", "qwen3-moe", "olmoe", "granite-moe", "phi-moe", "gpt-oss", "deepseek-v3"],
)
def test_a_mixture_of_experts_is_read_in_float64(name: str, tmp_path: Path) -> None:
    model = tlab.load(zoo.write(name, tmp_path / name), dtype=torch.float64)
    ids = model.to_ids("one and two")
    with torch.no_grad():
        expected = zoo.build(name, dtype=torch.float64)(ids[None]).logits
    assert expected.dtype == torch.float64
    assert_close(run(model, ids).logits, expected, rtol=0, atol=1e-9)


def test_a_model_that_cannot_run_in_float64_by_itself_is_refused_for_that(tmp_path: Path) -> None:
    folder = zoo.write("xglm", tmp_path / "xglm")
    match = (
        r"expected a transformer that runs in torch\.float64, got .*, a XGLMForCausalLM, whose own forward pass fails "
    )
    with pytest.raises(UnsupportedModel, match=match + r"\(RuntimeError: .*\); load it with dtype=torch\.float32"):
        tlab.load(folder, dtype=torch.float64)
    assert tlab.load(folder).n_layers == 3


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        (
            torch.float16,
            r"dtype refused: expected .* on a CPU, got torch\.float16, in which .*; leave it out, or name a GPU",
        ),
        (torch.int8, r"dtype refused: expected torch\.float32, .*, got torch\.int8; leave it out"),
        ("float32", r"dtype refused: expected torch\.float32, .*, got 'float32'; leave it out"),
    ],
)
def test_a_dtype_that_the_device_cannot_compute_with_is_refused(
    dtype: object, message: str, tiny_folders: dict[str, Path]
) -> None:
    with pytest.raises(UnknownOption, match=message):
        tlab.load(tiny_folders["llama-grouped"], dtype=dtype)


@pytest.mark.parametrize(
    ("name", "current", "key"),
    [("cpu", 0, "cpu"), ("cpu:0", 0, "cpu"), ("cuda", 0, "cuda:0"), ("cuda", 1, "cuda:1"), ("cuda:1", 0, "cuda:1"),
     ("mps", 1, "mps:0")],
)  # fmt: skip
def test_a_device_has_one_name(name: str, current: int, key: str) -> None:
    # That of its tensors, which is in the manifest: under another one, a replay would load the model once more.
    assert loading._device_key(torch.device(name), current) == key


def test_torchs_own_devices_are_taken(tiny_folders: dict[str, Path]) -> None:
    folder = tiny_folders["llama-grouped"]
    assert tlab.load(folder, device=torch.device("cpu")) is tlab.load(folder)
    with pytest.raises(UnusableDtype, match=r"on a CPU, got torch\.float16"):
        tlab.load(folder, device=torch.device("cpu"), dtype=torch.float16)


def test_a_weight_that_is_no_number_is_named(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folders["llama-grouped"], folder)
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    # Of a token that the check of the parts does not read.
    tensors["model.embed_tokens.weight"][7, 3] = torch.nan
    safetensors.torch.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        NotFinite,
        match=r"finite weights, got 1 of \d+ that are not at model\.embed_tokens\.weight in .*; fetch",
    ):
        tlab.load(folder)


def test_outputs_that_are_no_numbers_are_no_fault_of_the_architecture(
    untouched: Callable[..., PreTrainedModel],
) -> None:
    hf = copy.deepcopy(untouched("gpt2"))
    hf.transformer.h[0].mlp.c_fc.weight.data.fill_(3e38)
    with pytest.raises(NotFinite, match=r"expected finite outputs, got .* in float32; take a wider dtype"):
        dissect("wild", hf, zoo.byte_tokenizer("decoder"))


@pytest.mark.parametrize(
    ("config", "dtype", "millions"),
    [('{"dtype": "bfloat16"}', torch.bfloat16, "40,000"), ("{}", torch.float32, "20,000")],
)
def test_pickled_weights_count_by_their_size(tmp_path: Path, config: str, dtype: torch.dtype, millions: str) -> None:
    (tmp_path / "config.json").write_text(config)
    for part in (1, 2):
        with (tmp_path / f"pytorch_model-0000{part}-of-00002.bin").open("wb") as file:
            file.truncate(40 * 10**9)  # a hole, which takes no room
    with pytest.raises(ModelTooLarge, match=f"with {millions} million parameters"):
        memory.check_fits("name", tmp_path, dtype, "cpu")


def test_the_advice_is_not_what_was_done_already(tmp_path: Path) -> None:
    _announce(tmp_path, 10**13)
    with pytest.raises(ModelTooLarge, match=r"in bfloat16; take a smaller model$"):
        memory.check_fits("name", tmp_path, torch.bfloat16, "cpu")


def test_weights_pass_through_the_main_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _announce(tmp_path, 10**9)
    free = {"cuda:0": 10 * 10**9, "cpu": 10**9}
    monkeypatch.setattr(memory, "available_bytes", free.get)
    with pytest.raises(ModelTooLarge, match=r"most 1\.0 GB, got .* about 4\.0 GB of main memory on their way in"):
        memory.check_fits("name", tmp_path, torch.float32, "cuda:0")
    free.update({"cuda:0": 10**9, "cpu": 10**10})
    with pytest.raises(ModelTooLarge, match=r"at most 1\.0 GB, got .* about 4\.8 GB on cuda:0 in float32"):
        memory.check_fits("name", tmp_path, torch.float32, "cuda:0")
    free["cuda:0"] = 5 * 10**9
    memory.check_fits("name", tmp_path, torch.float32, "cuda:0")


@pytest.mark.parametrize(
    ("membership", "group", "files"),
    [
        ("0::/box/inner\n", "box", ("memory.max", "memory.current", "inactive_file")),
        # Inside a container the own group is mounted as the root.
        ("0::/elsewhere\n", "", ("memory.max", "memory.current", "inactive_file")),
        (
            "9:cpu:/\n4:memory:/box\n0::/\n",
            "memory/box",
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ),
    ],
)
def test_a_container_may_hold_less_than_the_machine(
    tmp_path: Path, membership: str, group: str, files: tuple[str, str, str]
) -> None:
    named, folder = tmp_path / "membership", tmp_path / "root" / group
    named.write_text(membership)
    folder.mkdir(parents=True)
    assert memory._group_bytes(tmp_path / "root", named) is None
    limit, usage, dropped = files
    (folder / limit).write_text("1000000\n")
    (folder / usage).write_text("700000\n")
    assert memory._group_bytes(tmp_path / "root", named) == 300_000
    (folder / "memory.stat").write_text(f"anon 5\n{dropped} 200000\n")
    assert memory._group_bytes(tmp_path / "root", named) == 500_000
    (folder / limit).write_text("max\n")
    assert memory._group_bytes(tmp_path / "root", named) is None
    assert memory._group_bytes(tmp_path / "root", tmp_path / "nothing") is None


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
