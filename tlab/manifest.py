"""What an experiment was: the verb, its arguments, the model and the versions, so that it can be done again.

Refuses: holding results. A manifest is what leads to one.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.metadata
import inspect
import platform
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from tlab.errors import DamagedResult, UnusableArgument, shown
from tlab.models import Model
from tlab.plain import checked_seed, plain
from tlab.results import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Manifest", "experiment", "planned", "verb_of"]

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
        step: of a toy model, the checkpoint after that many steps of training; `None` for the last one.

    """

    verb: str
    arguments: Mapping[str, Any]
    model: str
    device: str = "cpu"
    dtype: str = "float32"
    versions: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str = ""
    step: int | None = None
    # The model that ran, while the result is in memory. It is no part of what is saved, compared or copied.
    _subject: Model | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def subject(self) -> Model | None:
        """The model that ran; `None` in a result that was read from a file."""
        return self._subject

    def run_on(self, model: Model) -> Manifest:
        """Remember the model that ran, and return the manifest itself."""
        # Past the frozen dataclass, as the model is no part of what was done.
        object.__setattr__(self, "_subject", model)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Leave the model out of copies and pickles, which would copy its weights."""
        return {**self.__dict__, "_subject": None}

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
        model, bound, arguments = _bound(function, signature, positional, named)
        result = function(*bound.args, **bound.kwargs)
        result.attach(_manifest(function, model, arguments))
        return result

    return noted


def planned(verb: Callable[_P, Result], *positional: _P.args, **named: _P.kwargs) -> Manifest:
    """Return the manifest that a call of a verb would have, without running it.

    Raises:
        UnusableArgument: the call does not fit the verb.

    """
    function: Callable[..., Result] = inspect.unwrap(verb)
    model, _, arguments = _bound(function, inspect.signature(function), positional, named)
    return _manifest(function, model, arguments)


def _bound(
    function: Callable[..., Any], signature: inspect.Signature, positional: tuple[Any, ...], named: Mapping[str, Any]
) -> tuple[Model, inspect.BoundArguments, dict[str, Any]]:
    """Return a call's model, the call, and its other arguments as they are noted."""
    try:
        bound = signature.bind(*positional, **named)
    except TypeError as error:
        raise _other_arguments(function, signature, named, error) from None
    bound.apply_defaults()
    first, *rest = bound.arguments
    model = bound.arguments[first]
    if not isinstance(model, Model):
        raise UnusableArgument(
            f"{function.__name__} refused: expected a model in the first place, got {shown(model)}; "
            f"load it first: model = tlab.load('smollm2-135m')"
        )
    if "seed" in rest:
        checked_seed(bound.arguments["seed"])
    # What the caller does with his lists afterwards is no longer what was run.
    arguments = {name: plain(bound.arguments[name]) for name in rest}
    bound.arguments.update(arguments)
    return model, bound, arguments


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


def _other_arguments(
    function: Callable[..., Any], signature: inspect.Signature, named: Mapping[str, Any], error: TypeError
) -> UnusableArgument:
    """Return what to say of a call that does not fit the function, with the name that was probably meant."""
    name, known = function.__name__, list(signature.parameters)
    wrong = next((one for one in named if one not in known), None)
    if wrong is None:
        return UnusableArgument(
            f"{name} refused: expected the arguments {', '.join(known)}, got {error}; see help(tlab.{name})"
        )
    near = difflib.get_close_matches(wrong, known, n=1, cutoff=0.0)
    return UnusableArgument(
        f"{name} refused: expected one of the arguments {', '.join(known)}, got {shown(wrong)}; "
        f"did you mean {near[0]!r}?"
    )


def _manifest(function: Callable[..., Any], model: Model, arguments: dict[str, Any]) -> Manifest:
    return Manifest(
        verb=f"{function.__module__}.{function.__qualname__}",
        arguments=arguments,
        model=model.name,
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        versions=_versions(),
        step=model.step,
        # Known already if somebody asked for it, and then free of charge.
        fingerprint=model.__dict__.get("fingerprint", ""),
    ).run_on(model)


@functools.cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
