"""Frozen files: whole, small, the same twice, and holding what a live Lab answers to the same questions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import tlab
from tlab.lab import answer
from tlab.lab.__main__ import main
from tlab.lab.frozen import COEFS, frozen_text, shortened
from tlab.lab.prompts import PROMPTS, LabPrompt
from tlab.lab.questions import canonical, checked_question

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tlab import Model

_SMALL = LabPrompt("small", "a test", "The cat sat", "The dog sat", toward="I love it", away="I hate it", layer=1)
_LARGEST_BYTES = 1_500_000


def _silent(_: str) -> None:
    return


@pytest.fixture(scope="module")
def frozen(llama: Model) -> dict[str, Any]:
    """Freeze a small model once."""
    found: dict[str, Any] = json.loads(frozen_text(llama, _SMALL, _silent))
    return found


def _near(found: object, expected: object, place: str = "") -> None:
    """Compare two answers: words exactly, numbers up to the order in which sums were rounded."""
    assert type(found) is type(expected) or {type(found), type(expected)} == {int, float}, place
    if isinstance(found, dict) and isinstance(expected, dict):
        assert found.keys() == expected.keys(), place
        for name, value in found.items():
            # An explanation says numbers too, an error of rounding is none that must come again.
            if name not in {"explain", "error", "code", "manifest"}:
                _near(value, expected[name], f"{place}.{name}")
    elif isinstance(found, list) and isinstance(expected, list):
        assert len(found) == len(expected), place
        for index, pair in enumerate(zip(found, expected, strict=True)):
            _near(*pair, f"{place}[{index}]")
    elif isinstance(found, int | float) and not isinstance(found, bool):
        assert found == pytest.approx(expected, rel=5e-3, abs=2e-3), place
    else:
        assert found == expected, place


def test_a_file_has_an_answer_to_every_question_each_in_its_one_spelling(frozen: dict[str, Any], llama: Model) -> None:
    assert (frozen["version"], frozen["model"], frozen["prompt"]) == (1, llama.name, _SMALL.prompt)
    assert len(frozen["questions"]) == len(frozen["answers"]) == len(set(frozen["questions"]))
    for spelled in frozen["questions"]:
        question = json.loads(spelled)
        assert canonical(checked_question(question)) == spelled
        assert (question["model"], question["prompt"]) == (llama.name, _SMALL.prompt)


def test_whatever_can_be_clicked_is_there(frozen: dict[str, Any], llama: Model) -> None:
    asked = [json.loads(spelled) for spelled in frozen["questions"]]
    heads = {f"L{layer}H{head}" for layer in range(llama.n_layers) for head in range(llama.n_heads)}
    mlps = {f"L{layer}.mlp" for layer in range(llama.n_layers)}
    assert {one["parts"][0] for one in asked if one["ask"] == "ablate"} == heads | mlps
    assert {one["part"] for one in asked if one["ask"] == "part"} > heads | mlps
    assert [one["position"] for one in asked if one["ask"] == "flow"] == list(range(len(llama.to_ids(_SMALL.prompt))))
    assert {one["over"] for one in asked if one["ask"] == "patch_map"} == {"resid_pre", "attn_out", "mlp_out", "head"}
    assert [one["coef"] for one in asked if one["ask"] == "steer"] == list(COEFS)
    assert {one["dialect"] for one in asked if one["ask"] == "code"} == {"tlab", "transformer_lens", "nnsight", "torch"}
    assert {"open", "lens", "heads", "head_map", "patch", "compare", "identities"} < {one["ask"] for one in asked}


def test_what_is_frozen_is_what_is_answered_live(frozen: dict[str, Any], llama: Model) -> None:
    for spelled, found in zip(frozen["questions"], frozen["answers"], strict=True):
        _near(found, shortened(answer(llama, json.loads(spelled))), spelled)


def test_the_same_model_gives_the_same_file(frozen: dict[str, Any], llama: Model) -> None:
    assert json.loads(frozen_text(llama, _SMALL, _silent)) == frozen


def test_a_program_in_a_file_names_no_place_of_this_machine(frozen: dict[str, Any], llama: Model) -> None:
    plain = [found["code"] for found in frozen["answers"] if found.get("dialect") in {"torch", "nnsight"}]
    assert len(plain) == 2
    assert llama.folder is not None
    assert all(f"…/{llama.folder.name}" in program and str(llama.folder) not in program for program in plain)


def test_a_model_without_mlps_is_frozen_too() -> None:
    prompt = "bag bed bell boat bag bed bell"
    small = LabPrompt("toy", "a test", prompt, "bag bell bed boat bag bell bed", toward="bag", away="bed", layer=0)
    found = json.loads(frozen_text(tlab.load("toy-induction"), small, _silent))
    assert not any(json.loads(spelled).get("over") == "mlp_out" for spelled in found["questions"])


def test_the_command_writes_one_file_a_prompt_and_refuses_in_a_line(
    tmp_path: Path, small: Callable[[str], Model], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["freeze", str(tmp_path / "new"), "--model", "no such model", "--only", "capital"]) == 1
    assert "tlab.lab freeze: model unknown" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["freeze", str(tmp_path), "--only", "nothing"])
    assert str(small("llama-grouped").folder)
    assert main(["freeze", str(tmp_path / "new"), "--model", "minilm-l6", "--only", "capital"]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("chosen", PROMPTS, ids=lambda one: one.name)
def test_a_prompt_of_the_lab_and_its_partner_are_as_long_and_answered_otherwise(
    model: Model, chosen: LabPrompt
) -> None:
    assert len(model.to_ids(chosen.prompt)) == len(model.to_ids(chosen.corrupted)) <= 12
    clean, corrupted = (tlab.predict(model, text, k=1) for text in (chosen.prompt, chosen.corrupted))
    assert clean.token != corrupted.token
    last = COEFS[-1] * chosen.scale
    asked = {"ask": "steer", "model": model.name, "prompt": chosen.prompt, "layer": chosen.layer, "coef": last}
    pushed = answer(model, {**asked, "toward": chosen.toward, "away": chosen.away})
    assert pushed["kl_nats"] > 0.3
    assert pushed["steered_text"] != pushed["clean_text"]


@pytest.mark.slow
def test_a_file_of_the_pretrained_model_is_small_and_true(model: Model) -> None:
    chosen = max(PROMPTS, key=lambda one: len(one.prompt))
    text = frozen_text(model, chosen, _silent)
    assert len(text.encode()) <= _LARGEST_BYTES
    found = json.loads(text)
    for spelled, kept in list(zip(found["questions"], found["answers"], strict=True))[::97]:
        _near(kept, shortened(answer(model, json.loads(spelled))), spelled)
