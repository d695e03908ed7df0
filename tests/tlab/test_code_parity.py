"""Plain code against the results that it was written for: the same numbers, in three libraries.

Programs for torch and TransformerLens run in this process, in an empty namespace. Those for nnsight run in one of
their own: importing nnsight changes torch's tensors and every object for all that follows.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import torch
import zoo
from torch.testing import assert_close

import tlab
from tlab import metrics
from tlab.code import LIBRARIES, VERBS, write
from tlab.experiments.attribution import attribute
from tlab.experiments.attribution_patching import attribution_patch_sweep
from tlab.experiments.comparison import compare
from tlab.experiments.component import component
from tlab.experiments.dataflow import dataflow
from tlab.experiments.direction import steering_vector
from tlab.experiments.generate import generate
from tlab.experiments.heads import head_scores
from tlab.experiments.knockout import knockout, knockout_sweep
from tlab.experiments.path_patching import path_patch, path_patch_sweep
from tlab.experiments.steering import steer
from tlab.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor

    from tlab import Model
    from tlab.experiments.ablation import AblationResult
    from tlab.experiments.ablation_sweep import AblationSweep
    from tlab.experiments.attention import AttentionResult
    from tlab.experiments.attribution import Attribution
    from tlab.experiments.attribution_patching import AttributionSweep
    from tlab.experiments.capture import Capture
    from tlab.experiments.comparison import Comparison
    from tlab.experiments.dataflow import Dataflow
    from tlab.experiments.direction import SteeringVector
    from tlab.experiments.generate import Generation
    from tlab.experiments.head_zoom import HeadZoom
    from tlab.experiments.heads import HeadScores
    from tlab.experiments.knockout import Knockout, KnockoutSweep
    from tlab.experiments.logit_lens import LensResult
    from tlab.experiments.patch_sweep import PatchSweep
    from tlab.experiments.patching import PatchResult
    from tlab.experiments.path_patching import PathPatch, PathPatchSweep
    from tlab.experiments.predict import Prediction
    from tlab.experiments.steering import SteerResult

# What a program leaves in `answer` and in `table`.
_Numbers = tuple[float, Any]

_TOLERANCE = 1e-4
_SMALL = ("gpt2", "llama-grouped")
_OTHERS = ("gemma", "mistral", "qwen2", "qwen3", "smollm3", "starcoder2")
_PRETRAINED = "smollm2-135m"
_PROMPT = "The capital of France is"
_PAIR = {"clean": "John gave a cup", "corrupted": "Mary gave a cup"}
_DIFFERENCE = metrics.logit_diff("a", "b")
_SITES = [
    "embed",
    "blocks.0.resid_pre",
    "blocks.1.ln1.out",
    "blocks.1.attn.v",
    "blocks.1.attn.scores",
    "blocks.1.attn.pattern",
    "blocks.1.attn.z",
    "blocks.1.attn.out",
    "blocks.1.resid_mid",
    "blocks.1.ln2.out",
    "blocks.2.attn.scores",
    "blocks.2.mlp.*",
    "ln_final.out",
    "logits",
]


@dataclass(frozen=True)
class _Case:
    """One call.

    Args:
        verb: the experiment's name.
        arguments: its arguments by name.
        expected: what tlab gives, from the model and the arguments.
        models: for which it is written.

    """

    verb: str
    arguments: Mapping[str, Any]
    expected: Callable[[Model, Mapping[str, Any]], _Numbers]
    models: tuple[str, ...] = _SMALL


def _of(verb: Callable[..., Any], read: Callable[[Any], _Numbers]) -> Callable[[Model, Mapping[str, Any]], _Numbers]:
    """Return the numbers of a result."""
    return lambda model, arguments: read(verb(model, **arguments))


def _largest(table: Tensor) -> float:
    return float(table.flatten()[table.nan_to_num().abs().argmax()])


def _predicted(result: Prediction) -> _Numbers:
    return result.probability, result.frame["probability"].tolist()


def _captured(result: Capture) -> _Numbers:
    smallest = torch.finfo(torch.float32).min
    lengths = [float(value.masked_fill(value <= smallest, 0).norm(dim=-1).mean()) for value in result.values()]
    return lengths[-1], lengths


def _seen(result: AttentionResult) -> _Numbers:
    return float(result.selected[-1].max()), result.selected


def _read(result: LensResult) -> _Numbers:
    return result.first_layer, result.at(result.position)["target_probability"].tolist()


def _ablated(result: AblationResult) -> _Numbers:
    return result.change, [result.clean_probability, result.patched_probability, result.kl_nats]


def _swept(result: AblationSweep) -> _Numbers:
    changes = result.changes if result.over == "heads" else result.changes[:, 0]
    return _largest(changes), changes


def _patched(result: PatchResult | PathPatch) -> _Numbers:
    return result.patched_value, [result.clean_value, result.corrupted_value, result.patched_value]


def _patches(result: PatchSweep | AttributionSweep | PathPatchSweep) -> _Numbers:
    base = result.corrupted_value if result.direction == "denoise" else result.clean_value
    return _largest(result.values - base), result.values - base


def _shares(result: Attribution) -> _Numbers:
    effects = torch.tensor(result.frame["effect"].tolist())
    return _largest(effects), effects


def _scored(result: HeadScores) -> _Numbers:
    return float(result.scores[result.shown].max()), torch.stack(list(result.scores.values()))


def _steered(result: SteerResult) -> _Numbers:
    return result.change, [result.clean_probability, result.steered_probability, result.kl_nats]


def _directed(result: SteeringVector) -> _Numbers:
    return result.norm, result.vector


def _cut(result: Knockout) -> _Numbers:
    return result.change, [result.clean_value, result.patched_value]


def _cuts(result: KnockoutSweep) -> _Numbers:
    return _largest(result.values - result.clean_value), result.values - result.clean_value


def _compared(result: Comparison) -> _Numbers:
    return result.kl_nats, result.cosine[:, -1]


def _flowed(result: Dataflow) -> _Numbers:
    frame = result.to_frame().set_index("site")
    layers = range(sum(site.endswith("attn.out") for site in frame.index))
    columns = [("attn.out", "norm"), ("mlp.out", "norm"), ("mlp.out", "stream_norm")]
    table = [[float(frame.loc[f"blocks.{layer}.{part}", name]) for part, name in columns] for layer in layers]
    return result.probability, table


def _zoomed(result: HeadZoom) -> _Numbers:
    return result.relative_size, result.write[result.position]


def _generated(result: Generation) -> _Numbers:
    return result.loss_nats, result.frame["probability"].tolist()


def _steering(model: Model, arguments: Mapping[str, Any]) -> _Numbers:
    return _steered(steer(model, **{**arguments, "vector": torch.tensor(arguments["vector"])}))


def _prompted(**arguments: object) -> dict[str, Any]:
    return {"prompt": _PROMPT, **arguments}


def _sweeps() -> dict[str, _Case]:
    """Return every sweep's kinds of places: on the one with a fused projection, or on the one with shared keys."""
    fused, shared = _SMALL
    places = {
        "resid_pre": shared,
        "resid_mid": fused,
        "attn_out": shared,
        "mlp_out": fused,
        "heads": shared,
        "q": fused,
        "k": fused,
        "v": shared,
        "pattern": shared,
    }
    noise = {"metric": _DIFFERENCE, "direction": "noise"}
    estimate = _of(attribution_patch_sweep, _patches)
    return {
        **{
            f"patch-{over}": _Case("patch_sweep", {**_PAIR, "over": over}, _of(tlab.patch_sweep, _patches), (name,))
            for over, name in places.items()
        },
        **{
            f"estimate-{over}": _Case("attribution_patch_sweep", {**_PAIR, "over": over, **noise}, estimate, (name,))
            for over, name in places.items()
        },
    }


def _paths() -> dict[str, _Case]:
    ends = [
        ("L0H1", ["L1H2.q", "L2H0.q", "L2.mlp"]),
        ("L1.mlp", "logits"),
        ("embed", ["L0.mlp", "L1H3.q", "logits"]),
        ("L0.attn", ["L0.mlp", "L1H0.q", "L1H1.q"]),
    ]
    one, many = _of(path_patch, _patched), _of(path_patch_sweep, _patches)
    denoise = {"direction": "denoise", "metric": _DIFFERENCE}
    return {
        **{
            f"path-{number}": _Case("path_patch", {**_PAIR, "sender": sender, "receivers": receivers}, one)
            for number, (sender, receivers) in enumerate(ends)
        },
        "path-whole-head": _Case("path_patch", {**_PAIR, "sender": "L0H3", "receivers": "L2H1"}, one, ("gpt2",)),
        **{
            f"paths-{number}": _Case("path_patch_sweep", {**_PAIR, "receivers": receivers, **denoise}, many)
            for number, receivers in enumerate([["L2H0.q", "L2H1.q"], "L1.mlp", "logits"])
        },
    }


_ALL = (*_SMALL, *_OTHERS)
_REAL = (*_SMALL, _PRETRAINED)
_CASES: dict[str, _Case] = {
    "predict": _Case("predict", _prompted(k=4), _of(tlab.predict, _predicted), _REAL),
    "predict-earlier": _Case("predict", _prompted(position=-3), _of(tlab.predict, _predicted)),
    "capture": _Case("capture", _prompted(sites=_SITES), _of(tlab.capture, _captured), _ALL),
    "capture-streams": _Case("capture", _prompted(), _of(tlab.capture, _captured)),
    "attention": _Case("attention", _prompted(layer=1, head=2), _of(tlab.attention, _seen)),
    "logit_lens": _Case("logit_lens", {"prompt": "Water, water"}, _of(tlab.logit_lens, _read)),
    "logit_lens-bare": _Case(
        "logit_lens", {"prompt": "Water, water", "use_final_norm": False}, _of(tlab.logit_lens, _read)
    ),
    "ablate-zero": _Case("ablate", _prompted(targets=["L1H2", "L1H0", "L2.mlp"]), _of(tlab.ablate, _ablated)),
    "ablate-mean": _Case(
        "ablate", _prompted(targets=["L1", "L2H3"], method="mean"), _of(tlab.ablate, _ablated), (*_ALL, _PRETRAINED)
    ),
    "ablate-resample": _Case(
        "ablate",
        _prompted(targets=["L0.attn", "L2H3"], method="resample", seed=4, reference=["A mat", "12 cats"], token=97),
        _of(tlab.ablate, _ablated),
    ),
    "sweep-heads": _Case("ablation_sweep", _prompted(), _of(tlab.ablation_sweep, _swept)),
    "sweep-layers": _Case(
        "ablation_sweep",
        _prompted(over="layers", method="zero", metric=metrics.loss()),
        _of(tlab.ablation_sweep, _swept),
    ),
    "sweep-mlp": _Case(
        "ablation_sweep",
        _prompted(over="mlp", method="resample", metric=metrics.kl(position=2)),
        _of(tlab.ablation_sweep, _swept),
    ),
    "patch": _Case(
        "patch",
        {**_PAIR, "targets": ["L0H1", "L1.resid_mid", "L2.mlp", "L2H0"], "positions": [0, 2, -1]},
        _of(tlab.patch, _patched),
        _ALL,
    ),
    "patch-noise": _Case(
        "patch",
        {**_PAIR, "targets": "L1", "direction": "noise", "metric": metrics.logit("c")},
        _of(tlab.patch, _patched),
    ),
    **_sweeps(),
    **_paths(),
    **{
        f"attribute-{by}": _Case("attribute", _prompted(target="a", against="b", by=by), _of(attribute, _shares))
        for by in ("component", "layer")
    },
    "attribute-head": _Case("attribute", _prompted(target=97, by="head", position=3), _of(attribute, _shares), _ALL),
    "attribute-answer": _Case("attribute", _prompted(target=" Paris"), _of(attribute, _shares), (_PRETRAINED,)),
    "head_scores": _Case("head_scores", {"n_tokens": 9, "n_sequences": 2, "seed": 3}, _of(head_scores, _scored), _REAL),
    "steer": _Case(
        "steer", _prompted(vector=[0.1 * number for number in range(32)], layer=1, coef=2.5, controls=0), _steering
    ),
    "steer-last": _Case(
        "steer",
        _prompted(vector=[0.3] * 31 + [-9.0], layer=0, positions="last", token="a", controls=0),  # noqa: S106  a text
        _steering,
    ),
    "steering_vector": _Case(
        "steering_vector", {"plus": ["Love", "I like it"], "minus": "Hate", "layer": 1}, _of(steering_vector, _directed)
    ),
    "steering_vector-mean": _Case(
        "steering_vector",
        {"plus": "Love it", "minus": ["Hate", "x"], "layer": 2, "position": "mean"},
        _of(steering_vector, _directed),
    ),
    "knockout": _Case("knockout", _prompted(edges=[("F", -1), (2, 5), (0, 5)], layers=[1, 2]), _of(knockout, _cut)),
    "knockout-heads": _Case(
        "knockout",
        _prompted(edges=[(0, -1)], heads=["L0H2", "L2H0", "L2H3"], metric=metrics.logit("a")),
        _of(knockout, _cut),
    ),
    "knockout_sweep": _Case(
        "knockout_sweep", _prompted(source=["F", 0], destination=[-1, -2], window=2), _of(knockout_sweep, _cuts)
    ),
    "compare": _Case("compare", {"a": _PROMPT, "b": "The capital of Italy is"}, _of(compare, _compared)),
    "dataflow": _Case("dataflow", _prompted(), _of(dataflow, _flowed)),
    "component": _Case("component", _prompted(site="L1H2", position=6), _of(component, _zoomed), _ALL),
    "generate": _Case("generate", _prompted(max_new_tokens=6), _of(generate, _generated), _REAL),
}
_PAIRS = [
    pytest.param(name, case_name, id=f"{case_name}-{name}", marks=[pytest.mark.slow] if name == _PRETRAINED else [])
    for case_name, case in _CASES.items()
    for name in case.models
]


def _program(case_name: str, library: str, model: Model) -> str:
    case = _CASES[case_name]
    return write(Manifest(f"tlab.experiments.{case.verb}", case.arguments, model.name), library, model)


def _found(program: str) -> _Numbers:
    """Run a program as a reader would, and return what it found."""
    namespace: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(program, "<program>", "exec"), namespace)  # noqa: S102  that is what programs are for
    assert said.getvalue().splitlines()[-1] == str(namespace["answer"])
    return namespace["answer"], namespace["table"]


# Runs every program of a folder and writes what they found into one file.
_RUNNER = """
import contextlib, io, json, pathlib, runpy, sys
import torch, transformers
torch.set_num_threads(1)
transformers.utils.logging.disable_progress_bar()
found = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.py")):
    with contextlib.redirect_stdout(io.StringIO()):
        namespace = runpy.run_path(str(path))
    found[path.stem] = [namespace["answer"], torch.as_tensor(namespace["table"]).tolist()]
pathlib.Path(sys.argv[2]).write_text(json.dumps(found))
"""


def _found_apart(programs: Mapping[str, str], folder: Path) -> dict[str, _Numbers]:
    """Run programs, each from a file, one after the other in one process of their own."""
    keys = dict(zip((f"{number:04}" for number in range(len(programs))), programs, strict=True))
    for stem, key in keys.items():
        (folder / f"{stem}.py").write_text(programs[key], encoding="utf-8")
    into = folder / "found.json"
    command = [sys.executable, "-c", _RUNNER, str(folder), str(into)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(into.read_text(encoding="utf-8"))
    return {keys[stem]: (answer, table) for stem, (answer, table) in found.items()}


@pytest.fixture(scope="module")
def loaded(tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """Load the small models that programs are written for."""
    folders = {name: tiny_folders[name] for name in _SMALL}
    folders |= {name: zoo.write(name, tmp_path_factory.mktemp(name)) for name in _OTHERS}
    return {name: tlab.load(str(folder)) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def traced(loaded: dict[str, Model], tmp_path_factory: pytest.TempPathFactory) -> dict[str, _Numbers]:
    """Run all of nnsight's programs for the small models."""
    programs = {
        f"{case_name}-{name}": _program(case_name, "nnsight", loaded[name])
        for case_name, case in _CASES.items()
        for name in case.models
        if name != _PRETRAINED
    }
    return _found_apart(programs, tmp_path_factory.mktemp("programs"))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("name", "case_name"), _PAIRS)
def test_a_program_gives_the_numbers_of_its_result(
    case_name: str, name: str, library: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    is_real = name == _PRETRAINED
    model: Model = request.getfixturevalue("model") if is_real else request.getfixturevalue("loaded")[name]
    key = f"{case_name}-{name}"
    if library != "nnsight":
        answer, table = _found(_program(case_name, library, model))
    elif is_real:
        answer, table = _found_apart({key: _program(case_name, library, model)}, tmp_path)[key]
    else:
        answer, table = request.getfixturevalue("traced")[key]
    case = _CASES[case_name]
    expected_answer, expected_table = case.expected(model, case.arguments)
    assert_close(float(answer), float(expected_answer), atol=_TOLERANCE, rtol=_TOLERANCE)
    assert_close(
        torch.as_tensor(table, dtype=torch.float32).detach(),
        torch.as_tensor(expected_table, dtype=torch.float32),
        atol=_TOLERANCE,
        rtol=_TOLERANCE,
        equal_nan=True,
    )


def test_every_verb_with_code_is_run() -> None:
    assert {case.verb for case in _CASES.values()} == set(VERBS)
