"""What is no saved result is refused in one sentence, and nothing is written by halves."""

from __future__ import annotations

import json
import pickle
import re
import resource
import signal
import struct
import zipfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from judging import assert_same

import tlab
from tlab import archive
from tlab.errors import DamagedResult, UnknownOption
from tlab.experiments.predict import Prediction
from tlab.manifest import Manifest, verb_of
from tlab.results import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tlab import Model


_PROMPT = "The cat sat"


_CONTENT, _TENSORS = "result.json", "tensors.safetensors"


# What is no saved result.


@pytest.fixture
def saved(llama: Model, tmp_path: Path) -> Path:
    """Save one result, with tensors and a table."""
    return tlab.ablate(llama, _PROMPT, "L1", controls=0).save(tmp_path / "result.tlab")


def _rewritten(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change what the file says, and leave it a whole file."""
    with zipfile.ZipFile(path) as file:
        content, tensors = json.loads(file.read(_CONTENT)), file.read(_TENSORS)
    change(content)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(_CONTENT, json.dumps(content))
        file.writestr(_TENSORS, tensors)
    return path


def _refuses(path: object) -> str:
    with pytest.raises(DamagedResult, match=r"^result unreadable: expected .*, got .*; ") as caught:
        Result.load(path)  # type: ignore[arg-type]
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 400
    return said


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"hello", b"PK\x05\x06" + bytes(18), pickle.dumps({"a": 1}), b"\x80\x04" + bytes(50)]
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "result.tlab"
    path.write_bytes(content)
    assert "save it again" in _refuses(path)


def test_a_place_without_a_file_is_refused(tmp_path: Path) -> None:
    assert "FileNotFoundError" in _refuses(tmp_path / "nothing.tlab")
    assert "IsADirectoryError" in _refuses(tmp_path)


def test_a_file_that_was_cut_is_refused_wherever_it_was(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in {0, 1, len(whole) // 4, len(whole) // 2, len(whole) - 30, len(whole) - 1}:
        saved.write_bytes(whole[:length])
        _refuses(saved)


def test_a_flipped_byte_is_refused_or_harmless_wherever_it_is(saved: Path) -> None:
    expected, whole = Result.load(saved), saved.read_bytes()
    n_refused = 0
    for place in range(len(whole)):
        spoilt = bytearray(whole)
        spoilt[place] ^= 0xFF
        saved.write_bytes(bytes(spoilt))
        try:
            loaded = Result.load(saved)
        except DamagedResult:
            n_refused += 1
        else:
            assert_same(expected, loaded)
    assert n_refused > 100


@pytest.mark.parametrize(
    "kind",
    [
        "os:system",
        "builtins:eval",
        "subprocess:Popen",
        "tlab.models:Model",
        "tlab.engine.flow:Edit",
        "tlab.archive:load",
        "tlab.results:HtmlView",
        "tlab.nowhere:Nothing",
        "tlab.experiments.ablation:Nothing",
        "tlab.experiments.ablation:AblationResult.change",
        "tlab",
        "",
        ":",
        "tlabx:Result",
        "../../tlab:Result",
    ],
)
def test_a_class_that_is_no_result_of_tlabs_is_refused(saved: Path, kind: str) -> None:
    _refuses(_rewritten(saved, lambda content: content["result-1"].update({"$object": kind})))


@dataclass(frozen=True)
class _Foreign(Result):
    number: int

    def to_frame(self) -> pd.DataFrame:
        return pd.DataFrame({"number": [self.number]})

    def explain(self) -> str:
        return "A number."


def test_a_result_of_another_package_is_written_and_not_read(tmp_path: Path) -> None:
    said = _refuses(archive.save(_Foreign(3), tmp_path / "result.tlab"))
    assert re.search(r"expected one of tlab's kinds of result, got 'test_archive_refusals:_Foreign'", said)


def _drop_fields(content: dict[str, Any]) -> None:
    content["result-1"]["fields"].pop("prompt")


def _add_field(content: dict[str, Any]) -> None:
    content["result-1"]["fields"]["surplus"] = 1


def _newer_format(content: dict[str, Any]) -> None:
    content["result-2"] = content.pop("result-1")


def _no_tensor(content: dict[str, Any]) -> None:
    content["result-1"]["fields"]["prompt"] = {"$tensor": "17"}


def _unknown_kind(content: dict[str, Any]) -> None:
    content["result-1"]["fields"]["prompt"] = {"$pickle": "gASV"}


def _no_number(content: dict[str, Any]) -> None:
    content["result-1"]["fields"]["kl_nats"] = {"$float": "three"}


def _crooked_frame(content: dict[str, Any]) -> None:
    content["result-1"]["fields"]["frame"] = {"$frame": [["a", "int64", [1, "x"]], ["b", "int64", [1]]]}


def _no_frame(content: dict[str, Any]) -> None:
    content["result-1"]["fields"]["frame"] = {"$frame": 3}


def _a_metric_alone(content: dict[str, Any]) -> None:
    content["result-1"] = {"$object": "tlab.metrics:Metric", "fields": {"kind": "kl"}}


def _a_text_alone(content: dict[str, Any]) -> None:
    content["result-1"] = "a result"


@pytest.mark.parametrize(
    "change",
    [
        _drop_fields,
        _add_field,
        _newer_format,
        _no_tensor,
        _unknown_kind,
        _no_number,
        _crooked_frame,
        _no_frame,
        _a_metric_alone,
        _a_text_alone,
    ],
)
def test_a_file_that_says_nonsense_is_refused(saved: Path, change: Callable[[dict[str, Any]], None]) -> None:
    _refuses(_rewritten(saved, change))


def _with_members(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path) as file:
        old = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w") as file:
        for name, content in {**old, **{key.replace("_", "."): value for key, value in members.items()}}.items():
            file.writestr(name, content)
    return path


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a pickle was run",))


def test_a_pickle_in_the_tensors_place_is_refused_and_not_run(saved: Path) -> None:
    _refuses(_with_members(saved, tensors_safetensors=pickle.dumps(_Bomb())))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"result-1": null}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"result-1": ' + b'{"$tuple": [' * 5000 + b"1" + b"]}" * 5000 + b"}",
        b'{"result-1": NaN}',
    ],
    ids=range(9),
)
def test_a_content_that_is_no_result_is_refused(saved: Path, content: bytes) -> None:
    _refuses(_with_members(saved, result_json=content))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(8),
        struct.pack("<Q", 2**40),
        struct.pack("<Q", 2) + b"{}x",
        struct.pack("<Q", 2) + b"[]",
        safetensors.torch.save({"0": torch.zeros(3)})[:-2],
    ],
)
def test_tensors_that_are_none_are_refused(saved: Path, content: bytes) -> None:
    _refuses(_with_members(saved, tensors_safetensors=content))


def test_a_file_that_unpacks_to_more_than_any_result_is_refused_unread(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "_LARGEST_BYTES", 1000)
    assert "larger than any result" in _refuses(saved)


def _headers(whole: bytes) -> Iterator[int]:
    """Find the flags in every entry's headers."""
    for mark, distance in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = whole.find(mark)
        while at >= 0:
            yield at + distance
            at = whole.find(mark, at + 1)


def test_a_locked_file_is_refused(saved: Path) -> None:
    whole = bytearray(saved.read_bytes())
    for place in _headers(bytes(whole)):
        whole[place] |= 1
    saved.write_bytes(bytes(whole))
    _refuses(saved)


def test_a_file_packed_in_an_unknown_way_is_refused(saved: Path) -> None:
    whole = bytearray(saved.read_bytes())
    for place in _headers(bytes(whole)):
        whole[place + 2] = 77
    saved.write_bytes(bytes(whole))
    _refuses(saved)


@pytest.mark.parametrize(
    "verb",
    [
        "os.system",
        "tlab.load",
        "tlab.loading.load",
        "tlab.loading._load",
        "tlab.engine.run",
        "tlab.engine.forward.open_hooks",
        "tlab.anatomy.attention.tapped",
        "tlab.nowhere.nothing",
        "tlab.experiments.ablation.nothing",
        "tlab.experiments.ablation.AblationResult",
        "tlab",
        "",
        "..",
        "tlab.experiments.ablation.ablate()",
    ],
)
def test_a_verb_that_is_no_experiment_is_refused(llama: Model, verb: str) -> None:
    result = tlab.predict(llama, _PROMPT)
    assert result.manifest is not None
    foreign = replace(result.manifest, verb=verb)
    with pytest.raises(
        DamagedResult, match=r"manifest unreadable: expected one of tlab's experiments, got '.*'; it was"
    ):
        verb_of(foreign)
    result.attach(foreign)
    with pytest.raises(DamagedResult, match="manifest unreadable"):
        result.replay(llama)


# Nothing is written by halves.


def _left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_place_that_cannot_be_written_to_is_refused(llama: Model, tmp_path: Path) -> None:
    result = tlab.predict(llama, _PROMPT)
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside").write_text("kept")
    before = _left(tmp_path)
    for place in (tmp_path / "nowhere" / "result.tlab", tmp_path / "file" / "result.tlab", tmp_path / "folder"):
        with pytest.raises(
            UnknownOption,
            match=r"result not saved: expected a place that can be written to, got '.* \(.+\); name another",
        ):
            result.save(place)
    assert _left(tmp_path) == before


def test_a_full_disk_leaves_the_older_file_and_nothing_else(llama: Model, saved: Path) -> None:
    whole = saved.read_bytes()
    large = tlab.capture(llama, "a" * 90, sites=llama.sites)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        # Beyond this many bytes the system refuses to write, as it does on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
        with pytest.raises(UnknownOption, match=r"result not saved: .* \(File too large\); name another file"):
            large.save(saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert saved.read_bytes() == whole
    assert _left(saved.parent) == [saved.name]


def test_an_interruption_leaves_the_older_file_and_nothing_else(
    llama: Model, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = saved.read_bytes()

    def interrupted(_tensors: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(safetensors.torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tlab.predict(llama, "b").save(saved)
    assert saved.read_bytes() == whole
    assert _left(saved.parent) == [saved.name]


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", np.zeros(3), lambda tensor: tensor, 1j])
def test_a_value_that_is_not_plain_is_refused_before_anything_is_written(tmp_path: Path, value: object) -> None:
    result = Prediction(prompt="a", frame=pd.DataFrame({"token": ["b"]}))
    result.attach(Manifest(verb="x", arguments={"value": value}, model="m", fingerprint="f"))
    with pytest.raises(
        UnknownOption,
        match=r"result not saved: expected numbers, texts, tensors and tables, got .*; give the experiment",
    ):
        archive.save(result, tmp_path / "result.tlab")
    assert _left(tmp_path) == []


def test_saving_again_replaces_the_older_file(llama: Model, saved: Path) -> None:
    result = tlab.predict(llama, "another prompt")
    assert result.save(str(saved)) == saved
    assert Result.load(saved).explain() == result.explain()
    assert _left(saved.parent) == [saved.name]
