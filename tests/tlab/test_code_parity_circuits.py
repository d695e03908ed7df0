"""Plain code for circuits against the results that it was written for: the same numbers, in three libraries."""

from __future__ import annotations

import ast
import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import pytest
import torch
import zoo
from programs import OTHERS, PRETRAINED, SMALL, Case, Numbers, found, of, parity_test, program
from torch.testing import assert_close

import tlab
from tlab import circuits, metrics
from tlab.code import LIBRARIES
from tlab.errors import UnknownOption, UnusablePrompt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tlab import Model
    from tlab.circuits import Circuit
    from tlab.circuits.recovery import Faithfulness, FaithfulnessCurve
    from tlab.circuits.removal import Completeness, Minimality

_PAIR: dict[str, Any] = {"clean": "John gave a cup", "corrupted": "Mary gave a cup"}
_PAIRS: dict[str, Any] = {
    "clean": ["John gave a cup", "Carl took a pen"],
    "corrupted": ["Mary gave a cup", "Anna took a pen"],
}
_REAL: dict[str, Any] = {"clean": "The capital of France is", "corrupted": "The capital of Japan is"}


def _discovered(result: Circuit) -> Numbers:
    scores = result.scores[result.edges].tolist()
    return max(scores, key=abs, default=0.0), scores


def _recovered(result: Faithfulness) -> Numbers:
    return result.share, result.pairs[["clean_value", "corrupted_value", "circuit_value"]].to_numpy(copy=True)


def _curve(result: FaithfulnessCurve) -> Numbers:
    by_score = result.frame[result.frame["kind"] == "scores"]
    return by_score["share"].iloc[-1], result.frame[["n_edges", "value", "share"]].to_numpy(copy=True)


def _completed(result: Completeness) -> Numbers:
    columns = ["n_removed", "circuit_value", "model_value", "gap"]
    return result.worst, result.frame[columns].to_numpy(copy=True)


def _needed(result: Minimality) -> Numbers:
    return result.frame["change"].max(), result.frame[["change", "share"]].to_numpy(copy=True)


@functools.cache
def _circuit(model: Model, *, is_real: bool = False, n_pairs: int = 1) -> Circuit:
    given = _REAL if is_real else _PAIR if n_pairs == 1 else _PAIRS
    size, steps = (300, 1) if is_real else (70, 2)
    return circuits.discover(model, given["clean"], given["corrupted"], n_edges=size, steps=steps)


def _with(**arguments: object) -> Callable[[Model], dict[str, Any]]:
    """Return the arguments of a call on a circuit of one pair."""
    return lambda model: {"circuit": _circuit(model), **arguments}


def _with_pairs(**arguments: object) -> Callable[[Model], dict[str, Any]]:
    """Return the arguments of a call on a circuit of two pairs, each with its own answers."""
    return lambda model: {"circuit": _circuit(model, n_pairs=2), **arguments}


_ALL = (*SMALL, *OTHERS)
_DIFFERENCE = metrics.logit_diff("a", "b", position=-2)
_FIND = of(circuits.discover, _discovered)
_RECOVER = of(circuits.faithfulness, _recovered)
_GROW = of(circuits.faithfulness_curve, _curve)
_COMPLETE = of(circuits.completeness, _completed)
_NEED = of(circuits.minimality, _needed)
_DISCOVER, _FAITHFULNESS = "circuits.discover", "circuits.faithfulness"
CASES: dict[str, Case] = {
    "discover": Case(_DISCOVER, {**_PAIR, "n_edges": 60}, _FIND, _ALL),
    "discover-plain": Case(_DISCOVER, {**_PAIR, "steps": 1, "metric": _DIFFERENCE, "n_edges": 500}, _FIND),
    "discover-pairs": Case(_DISCOVER, {**_PAIRS, "steps": 2, "n_edges": 40}, _FIND),
    "discover-threshold": Case(_DISCOVER, {**_PAIR, "threshold": 0.01}, _FIND),
    "discover-nothing": Case(_DISCOVER, {**_PAIR, "threshold": 1e9, "steps": 1}, _FIND),
    "discover-kl": Case(_DISCOVER, {**_PAIRS, "metric": metrics.kl(), "steps": 3, "n_edges": 30}, _FIND),
    "discover-loss": Case(_DISCOVER, {**_PAIRS, "metric": metrics.loss(), "steps": 1, "n_edges": 30}, _FIND),
    "discover-metrics": Case(
        _DISCOVER, {**_PAIRS, "metric": [metrics.logit("a"), metrics.logit_diff(99, "b")], "n_edges": 30}, _FIND
    ),
    "discover-real": Case(_DISCOVER, {**_REAL, "n_edges": 300, "steps": 1}, _FIND, (PRETRAINED,)),
    "faithfulness": Case(_FAITHFULNESS, _with(controls=1), _RECOVER, _ALL),
    "faithfulness-pairs": Case(_FAITHFULNESS, _with_pairs(controls=0), _RECOVER),
    "faithfulness-elsewhere": Case(
        _FAITHFULNESS, _with(clean="He was, no!", corrupted="She is, yes", controls=0), _RECOVER
    ),
    "faithfulness-metric": Case(_FAITHFULNESS, _with_pairs(metric=metrics.prob("t"), controls=0), _RECOVER),
    "faithfulness-kl": Case(_FAITHFULNESS, _with(metric=metrics.kl(position=3), controls=0), _RECOVER),
    "faithfulness-real": Case(
        _FAITHFULNESS,
        lambda model: {"circuit": _circuit(model, is_real=True), "controls": 0},
        _RECOVER,
        (PRETRAINED,),
    ),
    "curve": Case("circuits.faithfulness_curve", _with_pairs(n_edges=(60, 5, 5, 30, 9999), controls=2, seed=3), _GROW),
    "curve-alone": Case("circuits.faithfulness_curve", _with(n_edges=[25, 80], controls=0), _GROW),
    "completeness": Case("circuits.completeness", _with(n_samples=4, seed=2), _COMPLETE),
    "completeness-pairs": Case("circuits.completeness", _with_pairs(n_samples=1, metric=_DIFFERENCE), _COMPLETE),
    "minimality": Case("circuits.minimality", _with(), _NEED),
    "minimality-pairs": Case("circuits.minimality", _with_pairs(n_samples=2, seed=5, controls=0), _NEED),
}

test_a_program_gives_the_numbers_of_its_result = parity_test(CASES)


@pytest.mark.parametrize("library", ["torch", "transformer_lens"])
@pytest.mark.parametrize("name", ["llama-long", "llama-one-key", "qwen2-sliding"])
def test_windows_wide_heads_and_scaled_angles_are_said(name: str, library: str, tmp_path: Path) -> None:
    model = tlab.load(str(zoo.write(name, tmp_path / name)))
    arguments: dict[str, Any] = {"circuit": _circuit(model)}
    for verb, given, expected in (
        (_DISCOVER, {**_PAIR, "n_edges": 60}, _FIND),
        (_FAITHFULNESS, {**arguments, "controls": 0}, _RECOVER),
    ):
        answer, table = found(program(verb, given, library, model))
        number, numbers = expected(model, given)
        assert_close(float(answer), float(number), atol=1e-4, rtol=1e-4)
        assert_close(torch.as_tensor(table).float(), torch.as_tensor(numbers).float(), atol=1e-4, rtol=1e-4)


def test_the_circuit_of_a_program_is_the_circuit(llama: Model) -> None:
    circuit = _circuit(llama)
    namespace: dict[str, Any] = {}
    text = program(_FAITHFULNESS, {"circuit": circuit}, "torch", llama)
    literal = ast.get_source_segment(text, _assigned(text, "circuit"))
    exec(f"circuit = {literal}", namespace)  # noqa: S102  a literal
    heard = {(writer, reader) for reader, names in namespace["circuit"].items() for writer in names.split()}
    assert heard == set(zip(*(circuit.to_frame()[end] for end in ("writer", "reader")), strict=True))
    assert len(heard) == circuit.n_edges


def _assigned(text: str, name: str) -> ast.expr:
    (value,) = (
        node.value
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    )
    return value


def test_prompts_of_a_circuit_are_literals(llama: Model) -> None:
    hostile = '"""\nimport os; os.abort()\n# \'\'\' \\" {x} \u2028 \x00'
    circuit = dataclasses.replace(_circuit(llama), clean=(hostile,), writers=("x\n", *_circuit(llama).writers[1:]))
    for library in LIBRARIES:
        tree = ast.parse(program(_FAITHFULNESS, {"circuit": circuit}, library, llama))
        texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        assert texts.count(hostile) == 1
        assert "x\n" not in texts


def _edgeless(circuit: Circuit) -> Circuit:
    """Return a circuit of another model's graph."""
    return dataclasses.replace(circuit, edges=circuit.edges[:-1])


@pytest.mark.parametrize(
    ("verb", "arguments", "kind", "said"),
    [
        (_FAITHFULNESS, {"circuit": "L0H1"}, UnknownOption, r"circuit refused: .* got 'str'; take one that"),
        (_FAITHFULNESS, {"circuit": _edgeless}, UnknownOption, r"with 16 writers and 40 readers, got 'Circuit'"),
        (_FAITHFULNESS, {"circuit": None, "clean": "a"}, UnknownOption, r"got only one of them; give both"),
        (_FAITHFULNESS, {"circuit": None, "clean": "a", "corrupted": ""}, UnusablePrompt, r"got '' at corrupted"),
        (_FAITHFULNESS, {"circuit": None, "other": 1}, UnknownOption, r"expected no such argument at other"),
        (_FAITHFULNESS, {"circuit": None, "metric": "kl"}, UnknownOption, r"metric refused: .* got 'kl'"),
        ("circuits.completeness", {"circuit": None, "n_samples": "1"}, UnknownOption, r"n_samples refused: .* '1'"),
        ("circuits.minimality", {"circuit": None, "seed": "x"}, UnknownOption, r"seed refused: .* got 'x'"),
        ("circuits.faithfulness_curve", {"circuit": None, "n_edges": "9"}, UnknownOption, r"n_edges refused"),
        ("circuits.faithfulness_curve", {"circuit": None, "n_edges": []}, UnknownOption, r"one or several sizes"),
        (_DISCOVER, {**_PAIR, "steps": 0}, UnknownOption, r"steps refused: .* from 1 to \d+, got 0"),
        (_DISCOVER, {**_PAIR, "threshold": float("inf")}, UnknownOption, r"threshold refused: .* got inf"),
        (_DISCOVER, {**_PAIR, "n_edges": "1); x("}, UnknownOption, r"n_edges refused: .* got '1\); x\('"),
        (_DISCOVER, {**_PAIRS, "corrupted": "b"}, UnusablePrompt, r"as many corrupted prompts as clean ones, got 1"),
        (_DISCOVER, {"clean": 3, "corrupted": "b"}, UnusablePrompt, r"got 3 at clean"),
        (
            _DISCOVER,
            {**_PAIRS, "metric": [metrics.prob("a"), metrics.loss()]},
            UnknownOption,
            r"one of one kind and position for each of 2 pairs",
        ),
    ],
)
def test_what_a_program_cannot_say_is_refused(
    verb: str, arguments: dict[str, Any], kind: type[Exception], said: str, llama: Model
) -> None:
    given = dict(arguments)
    if "circuit" in given and not isinstance(given["circuit"], str):
        change = given["circuit"] or (lambda circuit: circuit)
        given["circuit"] = change(_circuit(llama))
    for library in LIBRARIES:
        with pytest.raises(kind, match=said):
            program(verb, given, library, llama)


def test_a_circuit_that_nobody_could_read_is_refused(llama: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlab.code.recipes.wiring._MOST_EDGES", 50)
    monkeypatch.setattr("tlab.code.recipes.wiring._MOST_ON_A_CURVE", 60)
    circuit = _circuit(llama)
    with pytest.raises(UnknownOption, match=r"at most 50 edges, .* got one of \d+; take circuit.of_size\(50\)"):
        program(_FAITHFULNESS, {"circuit": circuit}, "torch", llama)
    assert "circuit = {" in program(_FAITHFULNESS, {"circuit": circuit.of_size(50)}, "torch", llama)
    curve = "circuits.faithfulness_curve"
    with pytest.raises(UnknownOption, match=r"at most 60 edges, .* got one of \d+; give n_edges up to 60"):
        program(curve, {"circuit": circuit, "n_edges": (10, 100)}, "torch", llama)
    assert "added = {" in program(curve, {"circuit": circuit, "n_edges": (10, 60)}, "torch", llama)


def test_scores_that_are_made_otherwise_are_refused(tmp_path: Path) -> None:
    model = tlab.load(str(zoo.write("gpt2-scaled-by-layer", tmp_path)))
    for verb, given in ((_DISCOVER, _PAIR), (_FAITHFULNESS, {"circuit": _circuit(model)})):
        with pytest.raises(UnknownOption, match=r"expected attention scores divided by .* got others in this gpt2"):
            program(verb, given, "torch", model)
