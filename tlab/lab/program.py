"""A question as a program: in tlab's own words, or as the plain code that its manifest leads to.

Refuses: running an experiment; only a vector that a program needs is made.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from tlab import archive, code, metrics
from tlab.errors import UnknownOption
from tlab.experiments.ablation import ablate
from tlab.experiments.ablation_sweep import ablation_sweep
from tlab.experiments.attention import attention
from tlab.experiments.comparison import compare
from tlab.experiments.component import component
from tlab.experiments.heads import head_scores
from tlab.experiments.logit_lens import logit_lens
from tlab.experiments.patch_sweep import patch_sweep
from tlab.experiments.patching import patch
from tlab.experiments.predict import predict
from tlab.experiments.steering import steer
from tlab.experiments.unfolding import unfold
from tlab.lab.intervening import N_CONTROLS, N_NEW_TOKENS, OVER, direction, named
from tlab.lab.looking import n_scored
from tlab.lab.said import said
from tlab.manifest import Manifest, planned, verb_of
from tlab.metrics import Metric
from tlab.replay import subject_of
from tlab.results import Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlab.models import Model

__all__ = ["coded", "manifest_of", "replay"]

_Question = dict[str, Any]


def coded(model: Model, *, about: _Question, dialect: str) -> dict[str, Any]:
    """Return the program that does what a question asks, and the manifest that leads to the same result in tlab.

    Raises:
        UnknownOption: the experiment has no plain code in that library.

    """
    manifest = manifest_of(model, about)
    if dialect == "tlab":
        program, kind = _in_tlab(manifest), "program"
        explain = f"The same experiment as a call of tlab.{manifest.name}."
    else:
        program, kind = code.write(manifest, dialect, model), "code"
        explain = f"The experiment of tlab.{manifest.name} in plain code for {dialect}."
    return {"dialect": dialect, "code": program, "manifest": archive.encoded(manifest), **said(kind, explain)}


def replay(manifest: str, model: Model | None = None) -> Result:
    """Do an experiment of the Lab again, from the manifest that it exports.

    Args:
        manifest: JSON text, the field `manifest` of the answer to a question for code.
        model: the model to take; by default the one of that name is loaded.

    Returns:
        The result of the verb that the manifest names.

    Raises:
        DamagedResult: the text is no manifest, or names none of tlab's verbs.

    Example:
        >>> asked = {"ask": "open", "model": "smollm2-135m", "prompt": "The capital of France is"}
        >>> code = answer(load, {"ask": "code", "about": asked, "dialect": "tlab"})
        >>> replay(code["manifest"]).token
        ' Paris'

    """
    noted = archive.decoded(manifest)
    subject = subject_of(noted) if model is None else model
    return verb_of(noted)(subject, **noted.arguments)


def manifest_of(model: Model, question: _Question) -> Manifest:
    """Return the manifest of the call that answers a question, or of the most telling one of its several calls."""
    return _PLANS[question["ask"]](model, question)


def _ablate(model: Model, asked: _Question) -> Manifest:
    options = {"method": asked["method"], "seed": asked["seed"], "controls": N_CONTROLS, "compare_methods": False}
    return planned(ablate, model, asked["prompt"], list(asked["parts"]), **options)


def _head_map(model: Model, asked: _Question) -> Manifest:
    metric = metrics.logit(named(model, predict(model, asked["prompt"], k=1).frame))
    options = {"metric": metric, "method": asked["method"], "seed": asked["seed"]}
    return planned(ablation_sweep, model, asked["prompt"], **options)


def _patch(model: Model, asked: _Question) -> Manifest:
    where = None if asked["position"] is None else [asked["position"]]
    return planned(patch, model, asked["prompt"], asked["corrupted"], asked["part"], positions=where)


def _steer(model: Model, asked: _Question) -> Manifest:
    vector = direction(model, toward=asked["toward"], away=asked["away"], layer=asked["layer"])
    return planned(steer, model, asked["prompt"], vector, coef=asked["coef"], max_new_tokens=N_NEW_TOKENS)


def _lens(model: Model, asked: _Question) -> Manifest:
    if asked["kind"] == "tuned":
        raise UnknownOption(
            "code refused: expected an experiment that needs nothing but the model, got the tuned lens, which was "
            "trained before; ask for the logit lens, or see tlab.train_tuned_lens"
        )
    return planned(logit_lens, model, asked["prompt"])


_PLANS: dict[str, Callable[[Model, _Question], Manifest]] = {
    "open": lambda model, asked: planned(predict, model, asked["prompt"], k=5),
    "flow": lambda model, asked: planned(unfold, model, asked["prompt"], position=asked["position"]),
    "part": lambda model, asked: planned(component, model, asked["prompt"], asked["part"], position=asked["position"]),
    "lens": _lens,
    "heads": lambda model, _: planned(head_scores, model, n_tokens=n_scored(model)),
    "ablate": _ablate,
    "head_map": _head_map,
    "patch": _patch,
    "patch_map": lambda model, asked: planned(
        patch_sweep,
        model,
        asked["prompt"],
        asked["corrupted"],
        over=OVER[asked["over"]],  # type: ignore[arg-type]
    ),
    "steer": _steer,
    "compare": lambda model, asked: planned(compare, model, asked["prompt"], asked["other"]),
    "identities": lambda model, asked: planned(attention, model, asked["prompt"]),
}


def _in_tlab(manifest: Manifest) -> str:
    lines = ["import tlab", "", f"model = tlab.load({manifest.model!r})"]
    arguments = manifest.arguments
    vector = arguments.get("vector")
    if isinstance(vector, Result) and vector.manifest is not None:
        lines.append(f"vector = {_call(vector.manifest)}")
        arguments = {**arguments, "vector": _Name("vector")}
    lines += [f"result = {_call(manifest, arguments)}", "print(result.explain())", "result"]
    return "\n".join(lines) + "\n"


class _Name(str):
    """The name of something that the program made before; written without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _call(manifest: Manifest, arguments: Any = None) -> str:  # noqa: ANN401  names to values of any kind
    """Return a call in which only what differs from the verb's own choice is named."""
    _, *parameters = inspect.signature(verb_of(manifest)).parameters.values()
    given = manifest.arguments if arguments is None else arguments
    words = ["model"]
    for parameter in parameters:
        value = given[parameter.name]
        is_named = parameter.kind is inspect.Parameter.KEYWORD_ONLY
        if is_named and value == parameter.default:
            continue
        words.append(f"{parameter.name}={_written(value)}" if is_named else _written(value))
    return f"tlab.{manifest.name}({', '.join(words)})"


def _written(value: object) -> str:
    if isinstance(value, Metric):
        tokens = ", ".join(repr(token) for token in (value.pos, value.neg) if token is not None)
        return f"tlab.metrics.{value.kind}({tokens})"
    if isinstance(value, tuple | list) and len(value) == 1:
        return f"[{_written(value[0])}]"
    return repr(value)
