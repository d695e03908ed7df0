"""What an experiment was: the verb, its arguments, the model and the versions, so that it can be done again.

Refuses: holding results. A manifest is what leads to one.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import inspect
import platform
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from tlab.errors import DamagedResult, shown
from tlab.results import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tlab.models import Model

__all__ = ["Manifest", "experiment", "verb_of"]

# The verbs that were decorated so far: nothing else can be replayed.
_known: set[str] = set()
_PACKAGES = ("tlab-book", "torch", "transformers", "tokenizers", "numpy")
# `tlab.checking.check` stands in no package of its own.
_PLAIN_PARTS = 3
_P = ParamSpec("_P")
_R = TypeVar("_R", bound=Result)


@dataclass(frozen=True)
class Manifest:
    """How a result came about.

    Args:
        verb: the function's full name, e.g. `tlab.experiments.ablation.ablate`.
        arguments: all its arguments but the model, by name, defaults included.
        model: the name under which the model was loaded.
        fingerprint: a hash of the model's weights; empty until it is asked for, because it takes half a second.
        device: where it ran.
        dtype: the weights' kind of number.
        versions: of Python and the packages that numbers depend on.

    """

    verb: str
    arguments: Mapping[str, Any]
    model: str
    device: str = "cpu"
    dtype: str = "float32"
    versions: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str = ""

    @property
    def name(self) -> str:
        """The verb as a reader calls it behind `tlab.`, e.g. `ablate` or `sae.ablate`."""
        parts = self.verb.split(".")
        is_plain = len(parts) <= _PLAIN_PARTS or parts[1] == "experiments"
        return parts[-1] if is_plain else f"{parts[1]}.{parts[-1]}"


def experiment(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Let a verb's results know how they came about: its first argument is the model."""
    signature = inspect.signature(function)
    _known.add(f"{function.__module__}.{function.__qualname__}")

    @functools.wraps(function)
    def noted(*positional: _P.args, **named: _P.kwargs) -> _R:
        bound = signature.bind(*positional, **named)
        bound.apply_defaults()
        result = function(*positional, **named)
        model, *_ = bound.arguments.values()
        arguments = dict(list(bound.arguments.items())[1:])
        result.attach(_manifest(function, model, arguments))
        return result

    return noted


def verb_of(manifest: Manifest) -> Callable[..., Result]:
    """Return the function that a manifest names.

    Raises:
        DamagedResult: it names none of tlab's.

    """
    module, _, name = manifest.verb.rpartition(".")
    function = None
    if module.split(".")[0] == "tlab" and name.isidentifier() and not name.startswith("_"):
        try:
            function = getattr(importlib.import_module(module), name, None)
        except ImportError:
            function = None
    if not callable(function) or manifest.verb not in _known:
        raise DamagedResult(
            f"manifest unreadable: expected one of tlab's experiments, got {shown(manifest.verb)}; "
            f"it was written by another version"
        )
    return function  # type: ignore[no-any-return]


def _manifest(function: Callable[..., Any], model: Model, arguments: dict[str, Any]) -> Manifest:
    return Manifest(
        verb=f"{function.__module__}.{function.__qualname__}",
        arguments=arguments,
        model=model.name,
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        versions=_versions(),
    )


@functools.cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
