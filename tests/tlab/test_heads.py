"""Head scores are what their formulas say, on patterns made by hand and on those of plain Hugging Face."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import oracle
import pytest
import torch
from torch.testing import assert_close

from tlab.errors import UnknownOption
from tlab.experiments.heads import SCORES, HeadScores, _random_ids, _scored, head_scores
from tlab.results import Result
from tlab.views import heads as view

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor
    from transformers import PreTrainedModel

    from tlab import Model

_NAMES = (
    "gpt2",
    "gpt-neo",
    "bloom",
    "opt",
    "gpt-j",
    "gpt-neox",
    "falcon",
    "phi",
    "llama-grouped",
    "mistral",
    "gemma-2",
    "olmo-2",
    "gpt-oss",
    "bert",
    "modernbert",
)


def _made_by_hand(period: int, kind: str) -> Tensor:
    """A pattern `batch head dest_pos src_pos` of a head that does one thing only, and else reads itself."""
    n_pos = 2 * period
    pattern = torch.eye(n_pos)
    for dest in range(n_pos):
        source = {
            "previous_token": dest - 1,
            "duplicate_token": dest - period,
            "induction": dest - period + 1 if dest >= period else -1,
            "first_token": 0,
        }[kind]
        if source >= 0:
            pattern[dest] = 0
            pattern[dest, source] = 1
    return pattern[None, None]


@pytest.mark.parametrize("kind", ["previous_token", "duplicate_token", "induction", "first_token"])
def test_a_head_that_does_one_thing_has_that_score_alone(kind: str) -> None:
    found = dict(zip(SCORES, _scored(_made_by_hand(5, kind), 5)[:, 0].tolist(), strict=True))
    assert found[kind] == pytest.approx(1)
    others = [value for name, value in found.items() if name not in {kind, "entropy_nats"}]
    assert max(others) < 0.4
    assert found["entropy_nats"] == pytest.approx(0)


def test_a_head_that_reads_everything_alike_has_the_control_scores() -> None:
    pattern = torch.ones(8, 8).tril()
    pattern = (pattern / pattern.sum(-1, keepdim=True))[None, None]
    found = dict(zip(SCORES, _scored(pattern, 4)[:, 0].tolist(), strict=True))
    assert found["previous_token"] == pytest.approx(sum(1 / n for n in range(2, 9)) / 7)
    assert found["entropy_nats"] == pytest.approx(sum(math.log(n) for n in range(2, 9)) / 7)


def _by_loops(patterns: Tensor, period: int) -> dict[str, float]:
    """The five formulas, one entry after the other."""
    n_rows, n_pos = len(patterns), patterns.shape[-1]
    later, second = range(1, n_pos), range(period, n_pos)

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    rows = range(n_rows)
    return {
        "previous_token": mean([float(patterns[r, i, i - 1]) for r in rows for i in later]),
        "duplicate_token": mean([float(patterns[r, i, i - period]) for r in rows for i in second]),
        "induction": mean([float(patterns[r, i, i - period + 1]) for r in rows for i in second]),
        "first_token": mean([float(patterns[r, i, 0]) for r in rows for i in later]),
        "entropy_nats": mean(
            [-sum(float(p) * math.log(float(p)) for p in patterns[r, i] if p > 0) for r in rows for i in later]
        ),
    }


@pytest.mark.parametrize("name", _NAMES)
def test_scores_are_those_of_hugging_faces_patterns(
    name: str, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    model, period = dissected(name), 6
    found = head_scores(model, n_tokens=period, n_sequences=2, seed=4)
    fresh = _random_ids(model, 2, 2 * period, torch.Generator().manual_seed(4))
    for layer, head in ((0, 1), (2, 3)):
        repeated = oracle.attentions(untouched(name), fresh[:, :period].repeat(1, 2))[layer][:, head]
        expected = _by_loops(repeated, period)
        for score, value in expected.items():
            assert float(found.scores[score][layer, head]) == pytest.approx(value, abs=1e-4), score
        alone = _by_loops(oracle.attentions(untouched(name), fresh)[layer][:, head], period)
        assert float(found.controls["induction"][layer, head]) == pytest.approx(alone["induction"], abs=1e-4)
    seen = torch.full((11,), 12.0) if model.family == "encoder" else torch.arange(2.0, 13)
    assert_close(found.controls["first_token"], torch.full_like(found.scores["first_token"], float((1 / seen).mean())))


def test_random_tokens_are_all_different_and_none_is_special(llama: Model) -> None:
    ids = _random_ids(llama, 3, 100, torch.Generator().manual_seed(0))
    assert all(len(set(row)) == 100 for row in ids.tolist())
    assert not set(ids.flatten().tolist()) & set(llama.tokenizer.all_special_ids)
    # More than there are: then some come twice.
    assert _random_ids(llama, 1, 300, torch.Generator().manual_seed(0)).shape == (1, 300)


def test_scores_are_shares_and_the_seed_decides(specimen: str, dissected: Callable[..., Model]) -> None:
    model = dissected(specimen)
    if model.family == "encoder-decoder":
        with pytest.raises(UnknownOption, match=r"^head scores refused: expected a decoder or an encoder, got the"):
            head_scores(model, n_tokens=5)
        return
    found = head_scores(model, n_tokens=5, n_sequences=2)
    for name in SCORES:
        values = found.scores[name]
        assert values.shape == (model.n_layers, model.n_heads)
        assert bool((values >= 0).all())
        assert bool((values <= (math.log(10) if name == "entropy_nats" else 1) + 1e-5).all())
    if specimen == "gpt2":
        assert_close(head_scores(model, n_tokens=5, n_sequences=2).scores["induction"], found.scores["induction"])
        other = head_scores(model, n_tokens=5, n_sequences=2, seed=1).scores["induction"]
        assert float((other - found.scores["induction"]).abs().max()) > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_tokens": 1}, r"^n_tokens refused: expected a whole number from 2 to 48, got 1; try n_tokens=48"),
        ({"n_tokens": 49}, r"^n_tokens refused: .* got 49"),
        ({"n_tokens": 5.0}, r"^n_tokens refused: .* got 5\.0"),
        ({"n_sequences": 0}, r"^n_sequences refused: expected a whole number from 1 to 1000, got 0"),
        ({"n_sequences": True}, r"^n_sequences refused"),
        ({"show": "copying"}, r"^score refused: expected one of previous_token, .*, got 'copying'; try 'induction'"),
    ],
)
def test_options_out_of_range_are_refused(llama: Model, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownOption, match=message):
        head_scores(llama, **{"n_tokens": 8, **options})


def test_head_scores_say_and_draw_their_numbers(llama: Model) -> None:
    found = head_scores(llama, n_tokens=8, n_sequences=2)
    (name, value), *_ = found.strongest("induction", 1)
    assert value == pytest.approx(float(found.scores["induction"].max()))
    sentence = found.explain()
    assert re.fullmatch(r"[A-Z][^\n]*\.", sentence)
    assert f"induction {name} {value:.2f}" in sentence
    assert "natural text" in sentence
    frame = found.to_frame()
    assert len(frame) == 12
    layer, head = (int(part) for part in re.findall(r"\d+", name))
    assert frame.set_index(["layer", "head"])["induction"][layer, head] == pytest.approx(value)
    for score in SCORES:
        (heat,) = view.draw(found.at(score)).data
        assert_close(torch.tensor(heat.z), found.scores[score], atol=5e-4, rtol=0)
    with pytest.raises(UnknownOption, match=r"^score refused"):
        found.strongest("copying")


def test_head_scores_are_saved_and_done_again(llama: Model, tmp_path: Path) -> None:
    found = head_scores(llama, n_tokens=6, n_sequences=1)
    loaded = Result.load(found.save(tmp_path / "h.tlab"))
    assert isinstance(loaded, HeadScores)
    assert loaded.to_frame().equals(found.to_frame())
    assert loaded.replay(llama).to_frame().equals(found.to_frame())


@pytest.mark.slow
def test_smollm2_has_induction_heads_that_need_the_repetition(model: Model) -> None:
    for seed in (0, 1):
        found = head_scores(model, n_tokens=30, n_sequences=2, seed=seed)
        strongest = dict(found.strongest("induction", 4))
        assert {"L18H6", "L17H3", "L17H4"} <= set(strongest)
        assert strongest["L18H6"] > 0.75
        assert float(found.controls["induction"].max()) < 0.1
        assert found.strongest("previous_token", 1)[0][0] == "L16H0"
