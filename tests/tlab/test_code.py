"""Plain code as text: it can be read, no prompt leads it astray, and it refuses what it cannot do."""

from __future__ import annotations

import ast
import dataclasses
import sys
import tokenize
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import SMALL, all_cases, manifest_of

import tlab
from tlab import metrics
from tlab.code import LIBRARIES, VERBS, write
from tlab.code.layout import ARCHITECTURES
from tlab.errors import UnknownOption, UnknownSite, UnknownTarget, UnusablePrompt
from tlab.experiments.direction import steering_vector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tlab import Model

_PROMPT = "The capital of France is"
_HOSTILE = '"""\nimport os; os.abort()\n# \'\'\' \\" {x} \\N{BULLET} \u2028 \x85 \x00 é \N{SNOWMAN}'
_PAIR = {"clean": "a cat", "corrupted": "a dog"}
_EVERYTHING: dict[str, dict[str, Any]] = {
    "ablate": {"prompt": _PROMPT, "targets": ["L0H1", "L1"], "method": "mean", "token": " Paris"},
    "ablation_sweep": {"prompt": _PROMPT, "metric": metrics.logit_diff(" Paris", " London")},
    "attention": {"prompt": _PROMPT, "layer": 1, "head": 2},
    "attribute": {"prompt": _PROMPT, "target": " Paris", "against": " London"},
    "attribution_patch_sweep": {**_PAIR, "over": "heads"},
    "capture": {"prompt": _PROMPT, "sites": ["blocks.1.attn.scores", "embed"]},
    "compare": {"a": _PROMPT, "b": "x"},
    "component": {"prompt": _PROMPT, "site": "L1H2"},
    "dataflow": {"prompt": _PROMPT},
    "dose_curve": {"prompt": _PROMPT, "vector": [0.5, -1.0], "layer": 1},
    "generate": {"prompt": _PROMPT, "ablate": (), "temperature": 0.0},
    "head_scores": {},
    "knockout": {"prompt": _PROMPT, "edges": [(" France", -1), (0, 3)]},
    "knockout_sweep": {"prompt": _PROMPT, "source": " France", "destination": -1},
    "logit_lens": {"prompt": _PROMPT},
    "patch": {**_PAIR, "targets": ["L0H1", "L1.resid_mid"]},
    "patch_sweep": {**_PAIR, "over": "pattern"},
    "path_patch": {**_PAIR, "sender": "L0H1", "receivers": ["L1H2.q", "L2.mlp"]},
    "path_patch_sweep": {**_PAIR, "receivers": "logits"},
    "predict": {"prompt": _PROMPT, "k": 3},
    "steer": {"prompt": _PROMPT, "vector": [0.5, -1.0], "layer": 1, "coef": 2.0},
    "steering_vector": {"plus": "good", "minus": ["bad", "worse"], "layer": 1},
}
_WIDEST = 120
# Of the other verbs, the first call among those whose numbers are compared.
_COMPARED = {case.verb: case for case in reversed(all_cases()) if SMALL[-1] in case.models}


def _written(verb: str, arguments: Mapping[str, Any], library: str, model: Model, *, dtype: str = "float32") -> str:
    return write(manifest_of(verb, arguments, model, dtype=dtype), library, model)


def _example(verb: str, model: Model) -> Mapping[str, Any]:
    return _EVERYTHING[verb] if verb in _EVERYTHING else _COMPARED[verb].given(model)


def _literals(program: str) -> list[object]:
    return [node.value for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Constant)]


def _without_literals(program: str) -> str:
    """Return a program's structure alone."""
    tree = ast.parse(program)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(tree)


def _comments(program: str) -> list[str]:
    return [
        token.string for token in tokenize.generate_tokens(StringIO(program).readline) if token.type == tokenize.COMMENT
    ]


def test_every_verb_with_code_is_written_here() -> None:
    assert {*_EVERYTHING, *_COMPARED} == set(VERBS)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("verb", VERBS)
def test_a_program_stands_alone_is_explained_and_ends_in_its_number(verb: str, library: str, llama: Model) -> None:
    program = _written(verb, _example(verb, llama), library, llama)
    tree = ast.parse(program)
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    own = {"transformer_lens": {"torch", "transformer_lens"}, "nnsight": {"torch", "nnsight"}}
    # A program about probes may fit them with scikit-learn, as tlab does.
    beside = sys.stdlib_module_names | ({"sklearn"} if verb.startswith("probe.") else set())
    assert imported - beside == own.get(library, {"torch", "transformers"})
    assert [ast.unparse(node) for node in tree.body[-1:]] == ["print(answer)"]
    assert any(isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "answer" for node in tree.body)
    assert program.startswith(f"# {verb} with ")
    assert len(_comments(program)) > 2
    assert [line for line in program.splitlines() if len(line) > _WIDEST] == []


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("verb", VERBS)
def test_a_prompt_changes_one_literal_and_nothing_else(verb: str, library: str, llama: Model) -> None:
    tame = _example(verb, llama)
    wild = {
        name: _HOSTILE if name in {"prompt", "clean", "corrupted", "a", "b", "plus"} else tame[name] for name in tame
    }
    if wild == tame:  # no text goes into it
        return
    before, after = (_written(verb, arguments, library, llama) for arguments in (tame, wild))
    assert _HOSTILE in _literals(after)
    assert _without_literals(after) == _without_literals(before)
    assert _comments(after) == _comments(before)


@pytest.mark.parametrize("library", LIBRARIES)
def test_tokens_references_and_names_of_models_are_literals_too(library: str, llama: Model) -> None:
    arguments = {
        "prompt": _PROMPT,
        "targets": "L0H1",
        "method": "mean",
        "token": _HOSTILE,
        "reference": [_HOSTILE, "a b"],
    }
    assert _literals(_written("ablate", arguments, library, llama)).count(_HOSTILE) == 2
    followed = {"prompt": _PROMPT, "metric": metrics.logit_diff(_HOSTILE, "b")}
    assert _HOSTILE in _literals(_written("ablation_sweep", followed, library, llama))
    elsewhere = dataclasses.replace(llama, name="elsewhere", folder=Path(_HOSTILE))
    program = _written("predict", {"prompt": _PROMPT}, library, elsewhere)
    assert _HOSTILE in _literals(program)
    assert _comments(program) == _comments(_written("predict", {"prompt": _PROMPT}, library, llama))
    hub = dataclasses.replace(llama, name="someone/something", folder=None)
    assert "someone/something" in _literals(_written("predict", {"prompt": _PROMPT}, library, hub))


def test_a_vector_that_an_experiment_made_is_made_again(llama: Model) -> None:
    made = steering_vector(llama, "good", ["bad", _HOSTILE], layer=2, position="mean")
    program = _written("steer", {"prompt": _PROMPT, "vector": made, "layer": None, "coef": 2.0}, "torch", llama)
    assert program.count("model.model.layers[2].register_forward_hook(") == 2  # once to read, once to push
    assert {"good", "bad", _HOSTILE} <= set(_literals(program))
    numbers = _written("steer", {"prompt": _PROMPT, "vector": torch.tensor([0.5, 0.1]), "layer": 1}, "torch", llama)
    assert "vector = torch.tensor([0.5, 0.100000001])" in numbers


def test_the_dtype_of_the_experiment_is_that_of_the_program(llama: Model) -> None:
    for library in LIBRARIES:
        assert "dtype=torch.float64" in _written("predict", {"prompt": "a"}, library, llama, dtype="float64")
        assert "dtype=torch.float32" in _written("predict", {"prompt": "a"}, library, llama, dtype="x); os.abort(")


def test_a_result_writes_its_own_code(llama: Model) -> None:
    result = tlab.ablate(llama, _PROMPT, "L1H2")
    assert result.code("torch") == _written("ablate", {"prompt": _PROMPT, "targets": "L1H2"}, "torch", llama)


@pytest.mark.parametrize(
    ("verb", "arguments", "kind", "said"),
    [
        ("predict", {"prompt": ""}, UnusablePrompt, r"expected a text of at least one character, got '' at prompt"),
        ("predict", {"prompt": ["a"]}, UnusablePrompt, r"got \['a'\] at prompt"),
        (
            "predict",
            {"prompt": "a", "k": "1); x("},
            UnknownOption,
            r"k refused: expected a whole number, got '1\); x\('",
        ),
        ("predict", {"prompt": "a", "k": 0}, UnknownOption, r"k refused: expected a whole number from 1 to \d+, got 0"),
        ("predict", {"prompt": "a", "target": "b"}, UnknownOption, r"code refused: expected None at target, got 'b'"),
        ("predict", {"prompt": "a", "new": 1}, UnknownOption, r"expected no such argument at new, got 1"),
        ("logit_lens", {"prompt": "a", "use_final_norm": 0}, UnknownOption, r"expected True or False, got 0"),
        ("attention", {"prompt": "a", "layer": 3}, UnknownOption, r"from 0 to 2, got 3"),
        ("attention", {"prompt": "a", "head": True}, UnknownOption, r"expected a whole number, got True"),
        ("attention", {"prompt": "a", "kind": "cross"}, UnknownOption, r"expected 'self' at kind, got 'cross'"),
        ("capture", {"prompt": "a", "sites": ["blocks.0.attn.rot_q"]}, UnknownSite, r"site without code: .*rot_q"),
        ("capture", {"prompt": "a", "sites": ["blocks.9.resid_pre"]}, UnknownSite, r"got 'blocks.9.resid_pre'"),
        ("capture", {"prompt": "a", "sites": 3}, UnknownSite, r"got 3; try 'blocks.0.resid_post'"),
        ("capture", {"prompt": "a", "positions": (0,)}, UnknownOption, r"expected None at positions, got \(0,\)"),
        ("ablate", {"prompt": "a", "targets": "L0;x"}, UnknownTarget, r"got 'L0;x'"),
        ("ablate", {"prompt": "a", "targets": "L0", "method": "m"}, UnknownOption, r"zero, mean, resample, got 'm'"),
        ("ablate", {"prompt": "a", "targets": "L0", "token": 1.5}, UnknownOption, r"token refused: .* got 1.5"),
        (
            "ablate",
            {"prompt": "a", "targets": "L0", "method": "mean", "reference": "a b"},
            UnknownOption,
            r"reference refused: expected a list of texts, got 'a b'",
        ),
        ("ablation_sweep", {"prompt": "a", "metric": "loss"}, UnknownOption, r"metric refused: .* got 'loss'"),
        ("ablation_sweep", {"prompt": "a", "over": "all"}, UnknownOption, r"over refused: .* got 'all'"),
        ("patch", {**_PAIR, "targets": "L0", "positions": ["0"]}, UnknownOption, r"positions refused: .*\['0'\]"),
        ("patch", {**_PAIR, "targets": "L0", "direction": 1}, UnknownOption, r"direction refused: .* got 1"),
        ("attribution_patch_sweep", {**_PAIR, "steps": 5}, UnknownOption, r"expected 1 at steps, got 5"),
        ("attribute", {"prompt": "a", "target": 1, "by": "neuron"}, UnknownOption, r"by refused: .* got 'neuron'"),
        ("path_patch", {**_PAIR, "sender": "L0", "receivers": "logits"}, UnknownTarget, r"sender unknown: .* got 'L0'"),
        ("path_patch", {**_PAIR, "sender": "L0H0", "receivers": "L1H1.k"}, UnknownOption, r"name 'L1H1.q'"),
        ("path_patch", {**_PAIR, "sender": "L0H0", "receivers": [3]}, UnknownTarget, r"receiver unknown: .* got 3"),
        ("path_patch", {**_PAIR, "sender": "L0H0", "receivers": "L9.mlp"}, UnknownTarget, r"got 'L9.mlp'"),
        ("path_patch_sweep", {**_PAIR, "receivers": ["L1H1.q", "logits"]}, UnknownOption, r"receivers in one place"),
        ("component", {"prompt": "a", "site": "L1.mlp"}, UnknownTarget, r"expected one head such as 'L3H4'"),
        ("generate", {"prompt": "a", "temperature": 0.5}, UnknownOption, r"expected 0.0 at temperature, got 0.5"),
        ("generate", {"prompt": "a", "ablate": "L0"}, UnknownOption, r"expected \(\) at ablate, got 'L0'"),
        ("steer", {"prompt": "a", "vector": "x", "layer": 0}, UnknownOption, r"vector refused: .* got 'x'"),
        (
            "steer",
            {"prompt": "a", "vector": [1.0], "layer": 0, "coef": float("inf")},
            UnknownOption,
            r"a finite number",
        ),
        ("steer", {"prompt": "a", "vector": [1.0]}, UnknownOption, r"layer refused: expected a whole number, got None"),
        (
            "steer",
            {"prompt": "a", "vector": [float("nan")], "layer": 0},
            UnknownOption,
            r"one finite number a dimension",
        ),
        ("steer", {"prompt": "a", "vector": [1.0], "layer": 0, "positions": "first"}, UnknownOption, r"got 'first'"),
        ("steering_vector", {"plus": 1, "minus": "a", "layer": 0}, UnknownOption, r"plus refused: .* got 1"),
        ("steering_vector", {"plus": "b", "minus": "a", "layer": 0, "position": "0"}, UnknownOption, r"got '0'"),
        (
            "steering_vector",
            {"plus": "b", "minus": "a", "layer": 0, "source": "embedding"},
            UnknownOption,
            r"at source",
        ),
        ("knockout", {"prompt": "a", "edges": [0]}, UnknownOption, r"edge refused: .* got 0"),
        ("knockout", {"prompt": "a", "edges": [(0, "0];x")], "layers": [3]}, UnknownOption, r"from 0 to 2, got \[3\]"),
        ("knockout", {"prompt": "a", "edges": [(0.5, 1)]}, UnknownOption, r"position refused: .* got 0.5"),
        ("knockout", {"prompt": "a", "edges": [(0, 1)], "heads": "L0"}, UnknownOption, r"head refused: .* got 'L0'"),
        ("knockout_sweep", {"prompt": "a", "source": 0, "window": 0}, UnknownOption, r"window refused: .* got 0"),
    ],
)
def test_what_a_program_cannot_say_is_refused(
    verb: str, arguments: dict[str, Any], kind: type[Exception], said: str, llama: Model
) -> None:
    for library in LIBRARIES:
        with pytest.raises(kind, match=said):
            _written(verb, arguments, library, llama)


def test_unknown_libraries_and_verbs_are_refused_with_the_list(llama: Model) -> None:
    with pytest.raises(
        UnknownOption, match=r"expected one of transformer_lens, nnsight, torch, got 'jax'; try 'torch'"
    ):
        _written("predict", {"prompt": "a"}, "jax", llama)
    with pytest.raises(UnknownOption, match=r"library refused: .* got \['torch'\]"):
        _written("predict", {"prompt": "a"}, ["torch"], llama)  # type: ignore[arg-type]
    with pytest.raises(UnknownOption, match=r"expected one of the verbs ablate, .*, got 'discover'"):
        _written("discover", {"prompt": "a"}, "torch", llama)


def test_architectures_that_were_not_compared_are_refused_with_the_list(llama: Model) -> None:
    class _Other:
        def to_dict(self) -> dict[str, object]:
            return {"model_type": "gpt_neox", "hidden_size": 8}

    other = dataclasses.replace(llama, hf=SimpleNamespace(config=_Other()))
    with pytest.raises(UnknownOption, match=rf"among {', '.join(ARCHITECTURES)}, got 'gpt_neox' at model_type"):
        _written("predict", {"prompt": "a"}, "torch", other)
