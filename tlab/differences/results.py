"""Two results of one experiment, or one result beside a number from elsewhere: what was done differently.

Refuses: results of which no note says how they came about.
"""

from __future__ import annotations

import ast
import functools
import inspect
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tlab.differences.changes import in_dtype, naming, rewritten, with_tokenizer
from tlab.differences.judging import Trial, reported, target_number, target_numbers, with_pairs
from tlab.differences.quantities import SAME, gap_of, headline, numbers_of
from tlab.errors import UnknownOption, shown
from tlab.manifest import verb_of
from tlab.replay import subject_of
from tlab.results import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pandas as pd

    from tlab.differences.quantities import Numbers
    from tlab.differences.report import Differences
    from tlab.manifest import Manifest
    from tlab.models import Model

__all__ = ["beside_result", "between_results"]

_PROMPTS = ("prompt", "clean", "corrupted", "a", "b")
_DTYPES = (torch.float64, torch.float32, torch.bfloat16)
_N_SEEDS = 4


def between_results(a: Result, b: Result, model: Model | None) -> Differences:
    """Compare two results of one experiment."""
    one, other = _manifest(a), _manifest(b)
    if one.verb != other.verb:
        raise UnknownOption(
            f"comparison refused: expected two results of one experiment, got {one.name} and {other.name}; "
            f"run the same experiment twice"
        )
    base, goal = numbers_of(a), numbers_of(b)
    target, quantity = target_numbers(base, goal)
    trials = _differing(one, other, base, goal, model)
    return reported(("the first", "the second"), base, target, quantity, b_value=target.value(goal), trials=trials)


def _differing(one: Manifest, other: Manifest, base: Numbers, goal: Numbers, model: Model | None) -> Iterator[Trial]:
    verb, arguments = verb_of(one), dict(one.arguments)
    first = functools.cache(lambda: _model_of(one, model))
    second = functools.cache(lambda: _model_of(other, model))

    def again(subject: Callable[[], Model], **changed: Any) -> Callable[[], Numbers]:  # noqa: ANN401  any argument
        return lambda: numbers_of(verb(subject(), **{**arguments, **changed}))

    trials = [
        Trial(cause, shown(arguments.get(name)), shown(new), again(first, **{name: new}))
        for cause, name, new in _other_arguments(one, other, first)
    ]
    if one.model != other.model or (one.fingerprint and other.fingerprint and one.fingerprint != other.fingerprint):
        old, new = (f"{manifest.model} {manifest.fingerprint[:8]}".strip() for manifest in (one, other))
        trials.append(Trial("model", old, new, again(lambda: _in(second(), first().dtype))))
        trials.append(Trial("tokenizer", old, new, again(lambda: with_tokenizer(first(), second()))))
    if one.dtype != other.dtype:
        dtype = getattr(torch, other.dtype)
        trials.append(Trial("kind of number", one.dtype, other.dtype, again(lambda: _in(first(), dtype))))
    yield from trials
    if len(trials) > 1:
        yield Trial("all of these together", "the first's", "the second's", again(second, **other.arguments))
    if dict(one.versions) != dict(other.versions) or one.device != other.device:
        yield Trial(
            "versions or machine", *_versions_apart(one, other), lambda: _elsewhere(one, other, base, goal, model)
        )
    elif not trials:
        yield Trial("chance: done again", "once", "twice", again(first))


def _other_arguments(one: Manifest, other: Manifest, model: Callable[[], Model]) -> Iterator[tuple[str, str, object]]:
    """Yield what the two were asked differently: the cause's name, the argument's, and the other's value."""
    for name, new in other.arguments.items():
        old = one.arguments.get(name)
        if _is_equal(old, new):
            continue
        if name in _PROMPTS and isinstance(old, str) and isinstance(new, str):
            yield f"{name}: {naming(old, new, model())}", name, new
        else:
            yield name, name, new


def _elsewhere(one: Manifest, other: Manifest, base: Numbers, goal: Numbers, model: Model | None) -> Numbers:
    """Return what the first would be where the second was made."""
    here = verb_of(one)(_model_of(one, model), **one.arguments)
    if here.manifest is None or dict(here.manifest.versions) != dict(one.versions):
        return numbers_of(here)  # the first was made elsewhere, and this is what it is here
    # The second was. If here it is the first, then there the first would be the second.
    again = numbers_of(verb_of(other)(_model_of(other, model), **other.arguments))
    return goal if gap_of(again, base)[0] <= SAME else base


def _manifest(result: Result) -> Manifest:
    if result.manifest is None:
        raise UnknownOption(
            f"comparison refused: expected a result that an experiment made, got {type(result).__name__} without a "
            f"note of how; run the experiment itself"
        )
    return result.manifest


def _model_of(manifest: Manifest, model: Model | None) -> Model:
    found = model or subject_of(manifest)
    if manifest.fingerprint and found.fingerprint != manifest.fingerprint:
        raise UnknownOption(
            f"model refused: expected the weights {manifest.fingerprint[:12]}…, got {found.fingerprint[:12]}…; "
            f"give the model that made the result"
        )
    return _in(found, getattr(torch, manifest.dtype))


def _in(model: Model, dtype: torch.dtype) -> Model:
    return model if model.dtype == dtype else in_dtype(model, dtype)


def _is_equal(old: object, new: object) -> bool:
    if isinstance(old, Tensor) or isinstance(new, Tensor):
        return isinstance(old, Tensor) and isinstance(new, Tensor) and torch.equal(old, new)
    if isinstance(old, Result) and isinstance(new, Result):
        return type(old) is type(new) and gap_of(numbers_of(old), numbers_of(new))[0] == 0
    return bool(old == new)


def _versions_apart(one: Manifest, other: Manifest) -> tuple[str, str]:
    names = sorted(key for key in {*one.versions, *other.versions} if one.versions.get(key) != other.versions.get(key))
    said = [
        ", ".join([*(f"{name} {manifest.versions.get(name, 'absent')}" for name in names), manifest.device])
        for manifest in (one, other)
    ]
    return said[0], said[1]


# A result beside a number from elsewhere.


def beside_result(result: Result, value: float, quantity: str | None, model: Model | None) -> Differences:
    """Compare a result with a number that should be in it."""
    manifest, base = _manifest(result), numbers_of(result)
    if not base:
        raise UnknownOption(
            f"comparison refused: expected a result with a number in it, got {type(result).__name__}; "
            f"give the model and its logits"
        )
    first = headline(result) or base
    if quantity is not None:
        if quantity not in first:
            raise UnknownOption(
                f"comparison refused: expected one of {', '.join(first)} as quantity, got {shown(quantity)}; "
                f"leave it out for the nearest"
            )
        first = {quantity: first[quantity]}
    target, followed = target_number(value, (first, _read(first, _READINGS["in percent"])))
    readings = [
        Trial(f"read {cause}", "as it is", cause, functools.partial(_read, base, read))
        for cause, read in _READINGS.items()
    ]
    changes = list(_usual(manifest, model))
    report = reported(("the result", "the other"), base, target, followed, b_value=value, trials=[*readings, *changes])
    pairs = [
        Trial(
            f"{one.cause}, and read {name}", one.a, f"{one.b}, {name}", functools.partial(_read_of, one.compute, read)
        )
        for one in changes
        for name, read in _READINGS.items()
    ]
    return with_pairs(report, pairs, base, target)


# What a number is often given as: the name, and how it is made of the number itself.
_READINGS: dict[str, Callable[[pd.Series], pd.Series]] = {
    "in percent": lambda numbers: numbers * 100,
    "in bits, not in nats": lambda numbers: numbers / math.log(2),
    "with the other sign": lambda numbers: -numbers,
    "one minus it": lambda numbers: 1 - numbers,
}


def _read(numbers: Numbers, read: Callable[[pd.Series], pd.Series]) -> Numbers:
    return {name: read(series) for name, series in numbers.items()}


def _read_of(compute: Callable[[], Numbers], read: Callable[[pd.Series], pd.Series]) -> Numbers:
    return _read(compute(), read)


def _usual(manifest: Manifest, model: Model | None) -> Iterator[Trial]:
    verb, arguments = verb_of(manifest), dict(manifest.arguments)
    subject = functools.cache(lambda: _model_of(manifest, model))

    def again(changed: Mapping[str, object], on: Callable[[], Model] = subject) -> Callable[[], Numbers]:
        # Once, though pairs of causes ask for it again.
        return functools.cache(lambda: numbers_of(verb(on(), **{**arguments, **changed})))

    texts = {name: dict(rewritten(arguments[name], subject())) for name in _PROMPTS if _is_text(arguments.get(name))}
    for way in dict.fromkeys(way for ways in texts.values() for way in ways):
        changed = {name: ways[way] for name, ways in texts.items() if way in ways}
        old = ", ".join(shown(arguments[name]) for name in changed)
        yield Trial(f"prompt: {way}", old, ", ".join(map(shown, changed.values())), again(changed))
    for dtype in _DTYPES:
        if (name := str(dtype).removeprefix("torch.")) != manifest.dtype:
            there = functools.partial(_in_of, subject, dtype)
            yield Trial(f"kind of number: {name}", manifest.dtype, name, again({}, there))
    for name, new in _alternatives(verb, arguments):
        yield Trial(f"{name}: {shown(new)}", shown(arguments[name]), shown(new), again({name: new}))


def _in_of(subject: Callable[[], Model], dtype: torch.dtype) -> Model:
    return _in(subject(), dtype)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _alternatives(verb: Callable[..., Result], arguments: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield other values for arguments that have few: named options, switches, seeds, neighbouring positions."""
    for name, parameter in inspect.signature(verb).parameters.items():
        now = arguments.get(name)
        if name == "seed":
            yield from ((name, seed) for seed in range(_N_SEEDS) if seed != now)
        elif name == "position" and isinstance(now, int):
            yield from ((name, now + step) for step in (-1, 1) if now + step != 0 or now > 0)
        elif isinstance(now, bool):
            yield name, not now
        else:
            yield from ((name, option) for option in _options(str(parameter.annotation)) if option != now)


def _options(annotation: str) -> list[object]:
    """Return the options of an annotation such as `Literal["zero", "mean"]`."""
    for node in ast.walk(ast.parse(annotation, mode="eval")):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("Literal"):
            return [one.value for one in ast.walk(node.slice) if isinstance(one, ast.Constant)]
    return []
