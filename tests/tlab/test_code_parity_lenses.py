"""Plain code of tuned lenses, which are trained again, and of dose curves: the same numbers, in three libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import PRETRAINED, Case, Numbers, of, parity_test

import tlab
from tlab import metrics
from tlab.code import write
from tlab.errors import UnknownOption
from tlab.experiments.tuned_lens import HELD_OUT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tlab import Model
    from tlab.experiments.dose import DoseCurve
    from tlab.experiments.tuned_lens import TunedLens, TunedLensResult

_TEXTS = (
    "The train left the station a few minutes after nine, and nobody waved.",
    "Water boils at a lower temperature on a mountain because the air is thinner there.",
    "She opened the letter, read it twice, and put it back into the drawer.",
    "Our survey covers three hundred households in the north of the country.",
)
_LENSES: dict[str, dict[str, Any]] = {
    "low-rank": {"texts": _TEXTS, "rank": 4, "steps": 25, "batch": 16, "context": 24},
    "any-rank": {"texts": _TEXTS, "rank": None, "steps": 12, "batch": 200, "layers": [0, 2], "seed": 3, "lr": 1e-3},
}
_NUMBERS = [0.1 * number for number in range(32)]


def _trained(lens: TunedLens) -> Numbers:
    columns = ["logit_lens_kl_nats", "tuned_lens_kl_nats"]
    held_out = lens.frame[lens.frame["texts"] == HELD_OUT]
    return float(held_out["tuned_lens_kl_nats"].mean()), lens.frame[columns].to_numpy().tolist()


def _read(result: TunedLensResult) -> Numbers:
    return result.tuned.first_layer, result.tuned.at(result.position)["target_probability"].tolist()


def _dosed(result: DoseCurve) -> Numbers:
    own = result.frame[result.frame["direction"] == "vector"]
    return float(own["damage_nats"].max()), result.frame[["value", "damage_nats"]].to_numpy().tolist()


def _pushed(model: Model, arguments: Mapping[str, Any]) -> Numbers:
    return _dosed(tlab.dose_curve(model, **{**arguments, "vector": torch.tensor(arguments["vector"])}))


def _through(model: Model) -> dict[str, Any]:
    return {"prompt": "The cat", "lens": tlab.train_tuned_lens(model, **_LENSES["any-rank"])}


def _along(model: Model) -> dict[str, Any]:
    vector = tlab.steering_vector(model, ["I love it"], ["I hate it"], layer=1)
    return {"prompt": "The film is", "vector": vector, "coefs": (2, -2.5), "controls": 0, "max_new_tokens": 0}


CASES = {
    **{
        f"train_tuned_lens-{name}": Case("train_tuned_lens", options, of(tlab.train_tuned_lens, _trained))
        for name, options in _LENSES.items()
    },
    "tuned_lens": Case("tuned_lens", _through, of(tlab.tuned_lens, _read)),
    "dose_curve": Case(
        "dose_curve",
        {"prompt": "The cat", "vector": _NUMBERS, "layer": 0, "coefs": (-1.5, 0, 3), "controls": 2, "seed": 4,
         "max_new_tokens": 0, "reference": ["A mat", "12 cats"]},
        _pushed,
    ),
    "dose_curve-metric": Case(
        "dose_curve",
        {"prompt": "The cat", "vector": _NUMBERS, "layer": 1, "coefs": [1], "controls": 1, "max_new_tokens": 0,
         "metric": metrics.logit_diff("a", "b")},
        _pushed,
    ),
    "dose_curve-made": Case("dose_curve", _along, of(tlab.dose_curve, _dosed), ("gpt2", PRETRAINED)),
}  # fmt: skip

test_a_program_gives_the_numbers_of_its_result = parity_test(CASES)


def test_a_lens_without_a_note_of_its_training_has_no_code(llama: Model) -> None:
    result = tlab.tuned_lens(llama, **_through(llama))
    assert result.manifest is not None
    result.manifest.arguments["lens"].__dict__.pop("_manifest")
    with pytest.raises(UnknownOption, match=r"lens refused: expected one with the note .* make it with"):
        write(result.manifest, "torch", llama)
