"""Slips that anybody makes, with every verb: a bad value for an argument that many share, and calls that do not fit."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import tlab
from tlab import errors, metrics
from tlab.engine import Edit, run
from tlab.errors import NotFinite, TlabError, UnknownOption, UnknownTarget, UnusableArgument, UnusableToken
from tlab.plain import plain, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlab import Model

_PROMPT, _OTHER = "The cat sat", "The dog sat"
_WIDTH = 32

# What each verb needs beside the model.
_VERBS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "ablate": (tlab.ablate, {"prompt": _PROMPT, "targets": "L0H1", "method": "resample"}),
    "ablation_sweep": (tlab.ablation_sweep, {"prompt": _PROMPT, "over": "attn", "method": "resample"}),
    "attention": (tlab.attention, {"prompt": _PROMPT}),
    "attribute": (tlab.attribute, {"prompt": _PROMPT, "target": "a"}),
    "attribution_patch_sweep": (tlab.attribution_patch_sweep, {"clean": _PROMPT, "corrupted": _OTHER}),
    "capture": (tlab.capture, {"prompt": _PROMPT}),
    "component": (tlab.component, {"prompt": _PROMPT, "site": "L0H1"}),
    "dataflow": (tlab.dataflow, {"prompt": _PROMPT}),
    "dose_curve": (tlab.dose_curve, {"prompt": _PROMPT, "vector": torch.ones(_WIDTH), "layer": 1}),
    "generate": (tlab.generate, {"prompt": _PROMPT, "vector": torch.ones(_WIDTH), "layer": 1}),
    "head_scores": (tlab.head_scores, {"n_tokens": 5}),
    "knockout": (tlab.knockout, {"prompt": _PROMPT, "edges": [(2, -1)]}),
    "knockout_sweep": (tlab.knockout_sweep, {"prompt": _PROMPT, "source": 2}),
    "logit_lens": (tlab.logit_lens, {"prompt": _PROMPT}),
    "patch": (tlab.patch, {"clean": _PROMPT, "corrupted": _OTHER, "targets": "L0.attn"}),
    "path_patch": (tlab.path_patch, {"clean": _PROMPT, "corrupted": _OTHER, "sender": "L0H0", "receivers": "logits"}),
    "predict": (tlab.predict, {"prompt": _PROMPT}),
    "steer": (tlab.steer, {"prompt": _PROMPT, "vector": torch.ones(_WIDTH), "layer": 1}),
    "steering_vector": (tlab.steering_vector, {"plus": _PROMPT, "minus": _OTHER, "layer": 1}),
    "train_tuned_lens": (tlab.train_tuned_lens, {"texts": [_PROMPT, _OTHER], "steps": 1}),
    "probe.train": (tlab.probe.train, {"prompts": [_PROMPT, _OTHER], "labels": ["a", "b"]}),
    "sae.train": (tlab.sae.train, {"texts": [_PROMPT, _OTHER], "steps": 1, "n_features": 8}),
}
_NO_NUMBERS = ("a", 1.5, True, math.nan, [1], torch.ones(2), np.zeros((2, 2)))
_BAD: dict[str, tuple[Any, ...]] = {
    "seed": (*_NO_NUMBERS, None, -1, 2**70),
    "position": (*_NO_NUMBERS, 99, np.int64(99)),
    "positions": ("a", 1.5, True, [], (), [99], [1.0], [True], ["a"], [None], torch.ones(2, 2)),
    "layer": (*_NO_NUMBERS, -1, 3, 99),
    "layers": (1.5, True, [], (), [99], [1.0], [True], ["a"], [None], torch.ones(2, 2)),
    "heads": (1.5, True, [], (), ["L0"], ["L9H9"], [None]),
    "head": (*_NO_NUMBERS, -1, 4, 99),
    "k": (*_NO_NUMBERS, 0, -1, 10**9),
    "controls": (*_NO_NUMBERS, None, -1, 10**9),
    "coef": ("a", None, True, math.nan, math.inf, [1.0], torch.ones(2)),
    "coefs": ("a", None, 1.0, [], ["a"], [math.nan], [None]),
    "vector": ("a", 1.0, [], [1.0], ["a"] * _WIDTH, [math.nan] * _WIDTH, [True] * _WIDTH, np.ones((_WIDTH, 2))),
    "max_new_tokens": (*_NO_NUMBERS, None, -1, 10**9),
    "steps": (*_NO_NUMBERS, None, 0, -1, 10**9),
    "token": (1.5, True, [1], "", "ab", 10**9, -1, np.int64(10**9)),
    "metric": (1.5, "loss", True, [1]),
}
# What a verb takes all the same, though it takes its time.
_TAKEN = {"sae.train": (("steps", "1000000000"), ("k", "None"))}


def _cases() -> list[Any]:
    cases = []
    for verb, (function, given) in _VERBS.items():
        known = inspect.signature(function).parameters
        for name, values in _BAD.items():
            for value in values if name in known else ():
                if (name, errors.shown(value)) not in _TAKEN.get(verb, ()):
                    options = {**given, name: value}
                    if name == "heads":
                        options.pop("layers", None)
                    cases.append(pytest.param(verb, options, id=f"{verb}-{name}-{errors.shown(value)}"))
    return cases


@pytest.mark.parametrize(("verb", "options"), _cases())
def test_a_bad_value_is_refused_in_one_sentence(verb: str, options: dict[str, Any], llama: Model) -> None:
    function, _ = _VERBS[verb]
    with pytest.raises(TlabError) as refusal:
        function(llama, **options)
    message = str(refusal.value)
    assert len(message.splitlines()) == 1
    assert ": expected " in message
    assert ", got " in message
    assert "; " in message


@pytest.mark.parametrize("verb", _VERBS)
def test_a_name_where_the_model_belongs_is_told_to_be_loaded(verb: str) -> None:
    function, given = _VERBS[verb]
    with pytest.raises(
        UnusableArgument,
        match=r"refused: expected a model in the first place, got 'smollm2-135m'; load it first",
    ):
        function("smollm2-135m", **given)


def test_a_wrong_argument_is_named_with_the_nearest_right_one(llama: Model) -> None:
    with pytest.raises(TypeError, match=r"^ablate refused: expected .*, got 'methods'; did you mean 'method'\?$"):
        tlab.ablate(llama, _PROMPT, "L0", methods="zero")  # type: ignore[call-arg]
    with pytest.raises(TlabError, match=r"^ablate refused: expected one of .*, got 'metric'; did you mean 'method'\?$"):
        tlab.ablate(llama, _PROMPT, "L0", metric=3)  # type: ignore[call-arg]
    with pytest.raises(UnusableArgument, match=r"got missing a required argument: 'targets'; see help\(tlab\.ablate\)"):
        tlab.ablate(llama, _PROMPT)  # type: ignore[call-arg]
    with pytest.raises(UnusableArgument, match="got too many positional arguments"):
        tlab.compare(llama, "a", "b", "c")  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", [np.int64, np.int8, np.array, torch.tensor])
def test_whole_numbers_of_other_libraries_are_whole_numbers(kind: Callable[[int], Any], llama: Model) -> None:
    one = kind(1)
    assert whole(one) == 1
    assert llama.to_id(kind(7)) == 7
    found = tlab.predict(llama, _PROMPT, k=one, position=one)
    assert found.to_frame().equals(tlab.predict(llama, _PROMPT, k=1, position=1).to_frame())
    assert found.manifest is not None
    assert type(found.manifest.arguments["k"]) is int
    here, there = (tlab.steering_vector(llama, _PROMPT, _OTHER, layer=layer) for layer in (one, 1))
    assert torch.equal(here.vector, there.vector)
    captured = tlab.capture(llama, _PROMPT, positions=[one, kind(-1)])
    assert captured.positions == (1, -1)
    assert metrics.prob(kind(5), position=one) == metrics.prob(5, position=1)
    assert tlab.knockout(llama, _PROMPT, [(kind(2), kind(-1))], layers=[one]).edges == ((2, len(_PROMPT) - 1),)


def test_what_is_no_whole_number_is_none() -> None:
    for value in (
        True,
        np.True_,
        torch.ones((), dtype=torch.bool),
        1.0,
        np.float64(1),
        torch.tensor(1.0),
        torch.tensor([1]),
        "1",
        None,
    ):
        assert whole(value) is None


@pytest.mark.parametrize(
    "vector", [np.ones(_WIDTH), np.ones(_WIDTH, dtype=int), [1.0] * _WIDTH, (1,) * _WIDTH, torch.ones(_WIDTH).double()]
)
def test_a_vector_is_any_list_of_numbers(vector: Any, llama: Model) -> None:  # noqa: ANN401  of several libraries
    options: dict[str, Any] = {"layer": 1, "max_new_tokens": 2, "controls": 1}
    found = tlab.steer(llama, _PROMPT, vector, **options)
    assert found.explain() == tlab.steer(llama, _PROMPT, torch.ones(_WIDTH), **options).explain()
    assert found.replay().explain() == found.explain()


def test_lists_are_copied_and_generators_are_not_used_up() -> None:
    inner, numbers, stream = ["a"], torch.ones(2), (n for n in (1, 2))
    given = {"lists": [inner, (inner,)], "numbers": numbers, "stream": stream, "one": np.float32(0.5)}
    noted = plain(given)
    inner.append("b")
    numbers.zero_()
    assert noted["lists"] == [["a"], (["a"],)]
    assert noted["numbers"].all()
    assert noted["stream"] is stream
    assert next(stream) == 1
    assert type(noted["one"]) is float


def test_a_value_of_many_lines_is_shown_in_one() -> None:
    for value in (torch.ones(3, 3), np.ones((3, 3)), type("odd", (), {"__repr__": lambda _: "a\r\n  b\u2028c\x0bd"})()):
        assert len(errors.shown(value).splitlines()) == 1
    assert errors.shown("two  blanks\n") == r"'two  blanks\n'"


def test_a_token_a_number_and_a_layer_have_errors_of_their_own(llama: Model) -> None:
    with pytest.raises(UnusableToken, match=r"expected exactly one token, got 2 in 'ab'"):
        tlab.ablate(llama, _PROMPT, "L0", token="ab")  # noqa: S106  no password
    with pytest.raises(NotFinite, match=r"edit refused: expected finite numbers, got \d+ of \d+ that are not at"):
        run(llama, llama.to_ids(_PROMPT), edits=[Edit("blocks.0.resid_post", lambda stream: stream * torch.nan)])
    with pytest.raises(NotFinite, match=r"vector refused: expected finite numbers, got 32 of 32 that are not; make it"):
        tlab.steer(llama, _PROMPT, [math.nan] * _WIDTH, layer=1)
    for call in (
        lambda: tlab.steer(llama, _PROMPT, torch.ones(_WIDTH), layer=3),
        lambda: tlab.steering_vector(llama, "a", "b", layer=3),
        lambda: tlab.knockout(llama, _PROMPT, [(2, -1)], layers=[3]),
        lambda: tlab.logit_lens(llama, _PROMPT, layers=[4]),
        lambda: tlab.train_tuned_lens(llama, [_PROMPT, _OTHER], layers=[3]),
        lambda: tlab.probe.train(llama, ["a", "b"], ["x", "y"], layers=[3]),
        lambda: tlab.attention(llama, _PROMPT, layer=3),
        lambda: tlab.component(llama, _PROMPT, "L3H0"),
        lambda: tlab.ablate(llama, _PROMPT, "L3"),
    ):
        with pytest.raises(UnknownTarget):
            call()


def test_a_metric_reads_at_a_whole_number() -> None:
    for make in (metrics.prob, metrics.logit):
        with pytest.raises(UnknownOption, match=r"position refused: expected a whole number, got 1\.0; -1 is the last"):
            make("a", position=1.0)  # type: ignore[arg-type]
    with pytest.raises(UnknownOption, match="position refused"):
        metrics.checked_metric(metrics.Metric("prob", "a", None, True))  # noqa: FBT003  as a position
