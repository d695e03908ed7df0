"""Results on disk: one zip file with what was found and how, in JSON and safetensors, read back without running code.

Refuses: pickles, and classes that are not results of tlab's. A file may come from a stranger.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import os
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import safetensors.torch
import torch

from tlab.errors import DamagedResult, UnknownOption, shown
from tlab.manifest import Manifest
from tlab.metrics import Metric
from tlab.results import Result

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["decoded", "encoded", "load", "save"]

_FORMAT = 1
_CONTENT, _TENSORS = "result.json", "tensors.safetensors"
_LARGEST_BYTES = 2 * 2**30
# What a file that is cut, locked, packed otherwise or made up raises on the way.
_UNREADABLE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ImportError,
    RuntimeError,
    EOFError,
    ArithmeticError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    safetensors.SafetensorError,
)


def save(result: Result, path: str | Path) -> Path:
    """Write a result; an older file of that name is replaced only when the new one is complete.

    Raises:
        UnknownOption: the place cannot be written to.

    """
    target = Path(path)
    tensors: dict[str, torch.Tensor] = {}
    content = {f"result-{_FORMAT}": _encode(result, tensors)}
    try:
        handle, scratch = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(_CONTENT, json.dumps(content, ensure_ascii=False, allow_nan=False))
                archive.writestr(_TENSORS, safetensors.torch.save(tensors))
            Path(scratch).replace(target)
        except BaseException:
            Path(scratch).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UnknownOption(
            f"result not saved: expected a place that can be written to, got {shown(str(path))} "
            f"({error.strerror or type(error).__name__}); name another file"
        ) from error
    return target


def encoded(manifest: Manifest) -> str:
    """Return a manifest as JSON text; tensors among its arguments are written out as lists of numbers."""
    tensors: dict[str, torch.Tensor] = {}
    content = {f"manifest-{_FORMAT}": _encode(manifest, tensors)}
    numbers = {name: [str(tensor.dtype).removeprefix("torch."), tensor.tolist()] for name, tensor in tensors.items()}
    return json.dumps({**content, "tensors": numbers}, ensure_ascii=False, sort_keys=True, allow_nan=False)


def decoded(text: str) -> Manifest:
    """Read a manifest that `encoded` wrote; no code in it is run.

    Raises:
        DamagedResult: the text is none.

    """
    try:
        content = json.loads(text)
        tensors = {
            name: torch.tensor(numbers, dtype=getattr(torch, dtype))
            for name, (dtype, numbers) in content["tensors"].items()
        }
        manifest = _decode(content[f"manifest-{_FORMAT}"], tensors)
    except DamagedResult:
        raise
    except (*_UNREADABLE, RecursionError) as error:
        raise _damaged(text, error) from error
    if not isinstance(manifest, Manifest):
        raise _damaged(text, TypeError("no manifest"))
    return manifest


def load(path: str | Path) -> Result:
    """Read a result that `save` wrote.

    Raises:
        DamagedResult: the file is none of tlab's results, or is not whole.

    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_size(archive)
            content = json.loads(archive.read(_CONTENT))
            tensors = safetensors.torch.load(archive.read(_TENSORS))
        result = _decode(content[f"result-{_FORMAT}"], tensors)
    except DamagedResult:
        raise
    except _UNREADABLE as error:
        raise _damaged(path, error) from error
    if not isinstance(result, Result):
        raise _damaged(path, TypeError("no result"))
    return result


def _check_size(archive: zipfile.ZipFile) -> None:
    if sum(entry.file_size for entry in archive.infolist()) > _LARGEST_BYTES:
        raise ValueError("larger than any result")


def _damaged(path: object, error: Exception) -> DamagedResult:
    return DamagedResult(
        f"result unreadable: expected a file that .save() wrote, got {shown(str(path))} "
        f"({type(error).__name__}: {shown(str(error))}); save it again"
    )


def _encode(value: Any, tensors: dict[str, torch.Tensor]) -> Any:  # noqa: ANN401, PLR0911  one return a kind of value
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else {"$float": str(float(value))}
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"$tensor": name}
    if isinstance(value, pd.DataFrame):
        columns = [
            [str(name), str(column.dtype), [_encode(_plain(v), tensors) for v in column]]
            for name, column in value.items()
        ]
        return {"$frame": columns}
    if isinstance(value, (list, tuple)):
        return {"$tuple" if isinstance(value, tuple) else "$list": [_encode(item, tensors) for item in value]}
    if isinstance(value, dict):
        return {"$dict": [[_encode(key, tensors), _encode(item, tensors)] for key, item in value.items()]}
    if isinstance(value, (Result, Metric, Manifest)):
        return _encode_object(value, tensors)
    raise UnknownOption(
        f"result not saved: expected numbers, texts, tensors and tables, got {type(value).__name__}; "
        f"give the experiment plain values"
    )


def _encode_object(value: Any, tensors: dict[str, torch.Tensor]) -> Any:  # noqa: ANN401
    fields = {
        field.name: _encode(getattr(value, field.name), tensors) for field in dataclasses.fields(value) if field.init
    }
    encoded = {"$object": f"{type(value).__module__}:{type(value).__qualname__}", "fields": fields}
    if isinstance(value, Result) and value.manifest is not None:
        encoded["manifest"] = _encode(value.manifest, tensors)
    return encoded


def _plain(value: Any) -> Any:  # noqa: ANN401
    return value.item() if isinstance(value, np.generic) else value


def _decode(value: Any, tensors: dict[str, torch.Tensor]) -> Any:  # noqa: ANN401
    if not isinstance(value, dict):
        return value
    if "$object" in value:
        return _decode_object(value, tensors)
    ((kind, content),) = value.items()
    readers: dict[str, Callable[[], Any]] = {
        "$float": lambda: float(content),
        "$tensor": lambda: tensors[content],
        "$tuple": lambda: tuple(_decode(item, tensors) for item in content),
        "$list": lambda: [_decode(item, tensors) for item in content],
        "$dict": lambda: {_decode(key, tensors): _decode(item, tensors) for key, item in content},
        "$frame": lambda: pd.DataFrame(
            {
                name: pd.Series([_decode(item, tensors) for item in items], dtype=_frame_dtype(dtype))
                for name, dtype, items in content
            }
        ),
    }
    return readers[kind]()


def _frame_dtype(name: str) -> str:
    return name if name in {"int64", "float64", "bool", "float32", "int32", "str"} else "object"


def _decode_object(value: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Any:  # noqa: ANN401
    module, _, name = value["$object"].partition(":")
    # Only what is a result, a metric or a manifest of tlab's is built, and only from its own fields.
    kind = getattr(importlib.import_module(module), name, None) if module.split(".")[0] == "tlab" else None
    if not (isinstance(kind, type) and issubclass(kind, (Result, Metric, Manifest))):
        raise DamagedResult(
            f"result unreadable: expected one of tlab's kinds of result, got {shown(value['$object'])}; "
            f"it was written by another version"
        )
    made = kind(**{name: _decode(item, tensors) for name, item in value["fields"].items()})
    if isinstance(made, Result) and "manifest" in value:
        made.attach(_decode(value["manifest"], tensors))
    return made
