"""Plain code against the results that it was written for: the same numbers, in three libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from programs import OTHERS, PRETRAINED, SMALL, Case, Numbers, all_cases, of, parity_test

import tlab
from tlab import metrics
from tlab.code import VERBS
from tlab.experiments.attribution import attribute
from tlab.experiments.attribution_patching import attribution_patch_sweep
from tlab.experiments.comparison import compare
from tlab.experiments.component import component
from tlab.experiments.dataflow import dataflow
from tlab.experiments.direction import steering_vector
from tlab.experiments.dose import dose_curve
from tlab.experiments.generate import generate
from tlab.experiments.heads import head_scores
from tlab.experiments.knockout import knockout, knockout_sweep
from tlab.experiments.path_patching import path_patch, path_patch_sweep
from tlab.experiments.steering import steer

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    from tlab.experiments.dose import DoseCurve
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


def _largest(table: Tensor) -> float:
    return float(table.flatten()[table.nan_to_num().abs().argmax()])


def _predicted(result: Prediction) -> Numbers:
    return result.probability, result.frame["probability"].tolist()


def _captured(result: Capture) -> Numbers:
    smallest = torch.finfo(torch.float32).min
    lengths = [float(value.masked_fill(value <= smallest, 0).norm(dim=-1).mean()) for value in result.values()]
    return lengths[-1], lengths


def _seen(result: AttentionResult) -> Numbers:
    return float(result.selected[-1].max()), result.selected


def _read(result: LensResult) -> Numbers:
    return result.first_layer, result.at(result.position)["target_probability"].tolist()


def _ablated(result: AblationResult) -> Numbers:
    return result.change, [result.clean_probability, result.patched_probability, result.kl_nats]


def _swept(result: AblationSweep) -> Numbers:
    changes = result.changes if result.over == "heads" else result.changes[:, 0]
    return _largest(changes), changes


def _patched(result: PatchResult | PathPatch) -> Numbers:
    return result.patched_value, [result.clean_value, result.corrupted_value, result.patched_value]


def _patches(result: PatchSweep | AttributionSweep | PathPatchSweep) -> Numbers:
    base = result.corrupted_value if result.direction == "denoise" else result.clean_value
    return _largest(result.values - base), result.values - base


def _shares(result: Attribution) -> Numbers:
    effects = torch.tensor(result.frame["effect"].tolist())
    return _largest(effects), effects


def _scored(result: HeadScores) -> Numbers:
    return float(result.scores[result.shown].max()), torch.stack(list(result.scores.values()))


def _steered(result: SteerResult) -> Numbers:
    return result.change, [result.clean_probability, result.steered_probability, result.kl_nats]


def _dosed(result: DoseCurve) -> Numbers:
    own = result.frame[result.frame["direction"] == "vector"]
    return own["damage_nats"].max(), result.frame[["value", "damage_nats"]].to_numpy(copy=True)


def _directed(result: SteeringVector) -> Numbers:
    return result.norm, result.vector


def _cut(result: Knockout) -> Numbers:
    return result.change, [result.clean_value, result.patched_value]


def _cuts(result: KnockoutSweep) -> Numbers:
    return _largest(result.values - result.clean_value), result.values - result.clean_value


def _compared(result: Comparison) -> Numbers:
    return result.kl_nats, result.cosine[:, -1]


def _flowed(result: Dataflow) -> Numbers:
    frame = result.to_frame().set_index("site")
    layers = range(sum(site.endswith("attn.out") for site in frame.index))
    columns = [("attn.out", "norm"), ("mlp.out", "norm"), ("mlp.out", "stream_norm")]
    table = [[float(frame.loc[f"blocks.{layer}.{part}", name]) for part, name in columns] for layer in layers]
    return result.probability, table


def _zoomed(result: HeadZoom) -> Numbers:
    return result.relative_size, result.write[result.position]


def _generated(result: Generation) -> Numbers:
    return result.loss_nats, result.frame["probability"].tolist()


def _steering(model: Model, arguments: Mapping[str, Any]) -> Numbers:
    return _steered(steer(model, **{**arguments, "vector": torch.tensor(arguments["vector"])}))


def _dosing(model: Model, arguments: Mapping[str, Any]) -> Numbers:
    return _dosed(dose_curve(model, **{**arguments, "vector": torch.tensor(arguments["vector"])}, max_new_tokens=0))


def _prompted(**arguments: object) -> dict[str, Any]:
    return {"prompt": _PROMPT, **arguments}


def _sweeps() -> dict[str, Case]:
    """Return every sweep's kinds of places: on the one with a fused projection, or on the one with shared keys."""
    fused, shared = SMALL
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
    estimate = of(attribution_patch_sweep, _patches)
    return {
        **{
            f"patch-{over}": Case("patch_sweep", {**_PAIR, "over": over}, of(tlab.patch_sweep, _patches), (name,))
            for over, name in places.items()
        },
        **{
            f"estimate-{over}": Case("attribution_patch_sweep", {**_PAIR, "over": over, **noise}, estimate, (name,))
            for over, name in places.items()
        },
    }


def _paths() -> dict[str, Case]:
    ends = [
        ("L0H1", ["L1H2.q", "L2H0.q", "L2.mlp"]),
        ("L1.mlp", "logits"),
        ("embed", ["L0.mlp", "L1H3.q", "logits"]),
        ("L0.attn", ["L0.mlp", "L1H0.q", "L1H1.q"]),
    ]
    one, many = of(path_patch, _patched), of(path_patch_sweep, _patches)
    denoise = {"direction": "denoise", "metric": _DIFFERENCE}
    return {
        **{
            f"path-{number}": Case("path_patch", {**_PAIR, "sender": sender, "receivers": receivers}, one)
            for number, (sender, receivers) in enumerate(ends)
        },
        "path-loss": Case(
            "path_patch", {**_PAIR, "sender": "L0H1", "receivers": "L2.mlp", "metric": metrics.loss()}, one
        ),
        "path-whole-head": Case("path_patch", {**_PAIR, "sender": "L0H3", "receivers": "L2H1"}, one, ("gpt2",)),
        **{
            f"paths-{number}": Case("path_patch_sweep", {**_PAIR, "receivers": receivers, **denoise}, many)
            for number, receivers in enumerate([["L2H0.q", "L2H1.q"], "L1.mlp", "logits"])
        },
    }


_ALL = (*SMALL, *OTHERS)
_REAL = (*SMALL, PRETRAINED)
CASES: dict[str, Case] = {
    "predict": Case("predict", _prompted(k=4), of(tlab.predict, _predicted), _REAL),
    "predict-earlier": Case("predict", _prompted(position=-3), of(tlab.predict, _predicted)),
    "capture": Case("capture", _prompted(sites=_SITES), of(tlab.capture, _captured), _ALL),
    "capture-streams": Case("capture", _prompted(), of(tlab.capture, _captured)),
    "attention": Case("attention", _prompted(layer=1, head=2), of(tlab.attention, _seen)),
    "logit_lens": Case("logit_lens", {"prompt": "Water, water"}, of(tlab.logit_lens, _read)),
    "logit_lens-bare": Case(
        "logit_lens", {"prompt": "Water, water", "use_final_norm": False}, of(tlab.logit_lens, _read)
    ),
    "ablate-zero": Case("ablate", _prompted(targets=["L1H2", "L1H0", "L2.mlp"]), of(tlab.ablate, _ablated)),
    "ablate-mean": Case(
        "ablate", _prompted(targets=["L1", "L2H3"], method="mean"), of(tlab.ablate, _ablated), (*_ALL, PRETRAINED)
    ),
    "ablate-resample": Case(
        "ablate",
        _prompted(targets=["L0.attn", "L2H3"], method="resample", seed=4, reference=["A mat", "12 cats"], token=97),
        of(tlab.ablate, _ablated),
    ),
    "sweep-heads": Case("ablation_sweep", _prompted(), of(tlab.ablation_sweep, _swept)),
    "sweep-layers": Case(
        "ablation_sweep",
        _prompted(over="layers", method="zero", metric=metrics.loss()),
        of(tlab.ablation_sweep, _swept),
    ),
    "sweep-mlp": Case(
        "ablation_sweep",
        _prompted(over="mlp", method="resample", metric=metrics.kl(position=2)),
        of(tlab.ablation_sweep, _swept),
    ),
    "patch": Case(
        "patch",
        {**_PAIR, "targets": ["L0H1", "L1.resid_mid", "L2.mlp", "L2H0"], "positions": [0, 2, -1]},
        of(tlab.patch, _patched),
        _ALL,
    ),
    "patch-noise": Case(
        "patch",
        {**_PAIR, "targets": "L1", "direction": "noise", "metric": metrics.logit("c")},
        of(tlab.patch, _patched),
    ),
    **_sweeps(),
    **_paths(),
    **{
        f"attribute-{by}": Case("attribute", _prompted(target="a", against="b", by=by), of(attribute, _shares))
        for by in ("component", "layer")
    },
    "attribute-head": Case("attribute", _prompted(target=97, by="head", position=3), of(attribute, _shares), _ALL),
    "attribute-answer": Case("attribute", _prompted(target=" Paris"), of(attribute, _shares), (PRETRAINED,)),
    "head_scores": Case("head_scores", {"n_tokens": 9, "n_sequences": 2, "seed": 3}, of(head_scores, _scored), _REAL),
    "steer": Case(
        "steer", _prompted(vector=[0.1 * number for number in range(32)], layer=1, coef=2.5, controls=0), _steering
    ),
    "steer-last": Case(
        "steer",
        _prompted(vector=[0.3] * 31 + [-9.0], layer=0, positions="last", token="a", controls=0),  # noqa: S106  a text
        _steering,
    ),
    "dose_curve": Case(
        "dose_curve",
        _prompted(
            vector=[0.1 * number for number in range(32)],
            layer=1,
            coefs=[2, -1.5, 0],
            controls=2,
            seed=3,
            reference=["A mat", "12 cats"],
        ),
        _dosing,
    ),
    "dose_curve-logit": Case(
        "dose_curve",
        _prompted(vector=[0.3] * 31 + [-9.0], layer=0, coefs=[0.5], controls=0, metric=metrics.logit("a")),
        _dosing,
    ),
    "steering_vector": Case(
        "steering_vector", {"plus": ["Love", "I like it"], "minus": "Hate", "layer": 1}, of(steering_vector, _directed)
    ),
    "steering_vector-mean": Case(
        "steering_vector",
        {"plus": "Love it", "minus": ["Hate", "x"], "layer": 2, "position": "mean"},
        of(steering_vector, _directed),
    ),
    "knockout": Case("knockout", _prompted(edges=[("F", -1), (2, 5), (0, 5)], layers=[1, 2]), of(knockout, _cut)),
    "knockout-heads": Case(
        "knockout",
        _prompted(edges=[(0, -1)], heads=["L0H2", "L2H0", "L2H3"], metric=metrics.logit("a")),
        of(knockout, _cut),
    ),
    "knockout_sweep": Case(
        "knockout_sweep", _prompted(source=["F", 0], destination=[-1, -2], window=2), of(knockout_sweep, _cuts)
    ),
    "compare": Case("compare", {"a": _PROMPT, "b": "The capital of Italy is"}, of(compare, _compared)),
    "dataflow": Case("dataflow", _prompted(), of(dataflow, _flowed)),
    "component": Case("component", _prompted(site="L1H2", position=6), of(component, _zoomed), _ALL),
    "generate": Case("generate", _prompted(max_new_tokens=6), of(generate, _generated), _REAL),
}

test_a_program_gives_the_numbers_of_its_result = parity_test(CASES)


def test_every_verb_with_code_is_run() -> None:
    assert {case.verb for case in all_cases()} == set(VERBS)
