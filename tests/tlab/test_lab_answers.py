"""The Lab's answers: every number in them is the one that a verb of tlab returns, shortened."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch

import tlab
from tlab.experiments.ablation import ablate_each
from tlab.lab import answer, answers
from tlab.lab.digits import digits
from tlab.lab.intervening import N_CONTROLS, N_NEW_TOKENS, OVER
from tlab.lab.questions import ASKS, canonical, checked_question

if TYPE_CHECKING:
    from tlab import Model

_PROMPT, _OTHER = "The cat sat", "The dog sat"


def _asked(model: Model, ask: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"ask": ask, "model": model.name, "prompt": _PROMPT, **fields}


def every_question(model: Model) -> dict[str, dict[str, Any]]:
    """Return one question of every kind, and of every kind of part."""
    ablate = _asked(model, "ablate", parts=["L1H2", "L0.mlp"], method="mean", seed=3)
    parts = {
        f"part {part}": _asked(model, "part", part=part, position=4) for part in ("L1H2", "L1.mlp", "L1.attn", "embed")
    }
    return {
        "open": _asked(model, "open"),
        "flow": _asked(model, "flow", position=4),
        **parts,
        "lens": _asked(model, "lens", kind="logit"),
        "heads": _asked(model, "heads"),
        "ablate": ablate,
        "head_map": _asked(model, "head_map", method="zero", seed=0),
        "patch": _asked(model, "patch", corrupted=_OTHER, part="L1.attn", position=5),
        "patch everywhere": _asked(model, "patch", corrupted=_OTHER, part="L0.resid_pre", position=None),
        **{f"patch_map {over}": _asked(model, "patch_map", corrupted=_OTHER, over=over) for over in OVER},
        "steer": _asked(model, "steer", toward="I love it", away="I hate it", layer=1, coef=2.5),
        "compare": _asked(model, "compare", other=_OTHER),
        "code": _asked(model, "code", about=ablate, dialect="tlab"),
        "identities": _asked(model, "identities"),
    }


def test_every_kind_of_question_is_asked_here(llama: Model) -> None:
    assert {question["ask"] for question in every_question(llama).values()} == set(ASKS)


def test_every_answer_is_json_says_something_and_comes_again_the_same(tiny: Model) -> None:
    for name, question in every_question(tiny).items():
        found = answer(tiny, question)
        text = json.dumps(found, allow_nan=False)
        assert json.loads(text) == found, name
        assert found["explain"].endswith("."), name
        assert found["caveats"], name
        assert json.dumps(answer(tiny, json.loads(canonical(checked_question(question))))) == text, name


def test_the_first_view_is_what_the_verbs_say_one_by_one(tiny: Model) -> None:
    found = answer(tiny, _asked(tiny, "open"))
    lens = tlab.logit_lens(tiny, _PROMPT)
    n_pos = len(found["tokens"])
    for pos in range(n_pos):
        said = tlab.predict(tiny, _PROMPT, k=5, position=pos).frame
        assert [guess["token"] for guess in found["next"][pos]] == said["token"].tolist()
        assert [guess["p"] for guess in found["next"][pos]] == pytest.approx(said["probability"].tolist(), rel=1e-3)
        flow = tlab.dataflow(tiny, _PROMPT, position=pos)
        writes = flow.writes
        for part in ("attn", "mlp"):
            expected = writes[writes["kind"] == part]["relative"].tolist()
            assert [row[pos] for row in found[part]] == pytest.approx(expected, rel=1e-3)
        behind = flow.frame[flow.frame["kind"] == "mlp"]["stream_norm"].tolist()
        assert [row[pos] for row in found["stream"][1:]] == pytest.approx(behind, rel=1e-3)
        rows = lens.at(pos)
        assert [row[pos] for row in found["lens"]["token"]] == rows["top_token"].tolist()
        assert [row[pos] for row in found["lens"]["p"]] == pytest.approx(rows["probability"].tolist(), rel=1e-3)
        answers_p = rows["target_probability"].tolist()
        assert [row[pos] for row in found["lens"]["answer"]] == pytest.approx(answers_p, rel=1e-3)
    assert [token["text"] for token in found["tokens"]] == list(lens.tokens)
    direct = tlab.attribute(tiny, _PROMPT, found["next"][-1][0]["id"], by="head", controls=0)
    _near(found["direct"]["head"], direct.grid())
    mlps = direct.frame[direct.frame["kind"] == "mlp"]["effect"].tolist()
    assert found["direct"]["mlp"] == pytest.approx(mlps, rel=1e-3, abs=1e-6)


def _near(found: object, expected: torch.Tensor) -> None:
    torch.testing.assert_close(
        torch.tensor(found, dtype=torch.float64), expected.double(), rtol=1e-3, atol=1e-6, equal_nan=True
    )


def test_lines_of_flow_add_up_to_what_attention_wrote(tiny: Model) -> None:
    position = 5
    found = answer(tiny, _asked(tiny, "flow", position=position))
    for layer in range(tiny.n_layers):
        heads = [tlab.component(tiny, _PROMPT, f"L{layer}H{head}", position=position) for head in range(tiny.n_heads)]
        outputs = torch.stack([_carried(tiny, layer, head, zoom) for head, zoom in enumerate(heads)])
        site = f"blocks.{layer}.attn.out"
        wrote = tlab.capture(tiny, _PROMPT, sites=[site])[site][0, position]
        bias = tiny.anatomy.decoder.blocks[layer].attn.b_O
        torch.testing.assert_close(outputs.sum((0, 1)), wrote if bias is None else wrote - bias, rtol=1e-4, atol=1e-5)
        _near(found["weight"][layer], (outputs.sum(0).norm(dim=-1) / wrote.norm())[: position + 1])
        assert found["head"][layer] == outputs.norm(dim=-1).argmax(0)[: position + 1].tolist()


def _carried(model: Model, layer: int, head: int, zoom: Any) -> torch.Tensor:  # noqa: ANN401
    """Return what one head carried to the zoom's position from every other, by hand."""
    block = model.anatomy.decoder.blocks[layer]
    return zoom.pattern[zoom.position][:, None] * (zoom.v @ block.attn.W_O[head])


def test_a_head_seen_closely_is_the_component(tiny: Model) -> None:
    found = answer(tiny, _asked(tiny, "part", part="L1H2", position=4))
    zoom = tlab.component(tiny, _PROMPT, "L1H2", position=4)
    assert found["kind"] == "head"
    for name, expected in (("pattern", zoom.pattern), ("scores", zoom.scores)):
        assert found[name] == [digits(expected[dest, : dest + 1]) for dest in range(len(zoom.tokens))]
    for name in ("q", "z", "write"):
        vector = getattr(zoom, name)[4]
        assert found["vectors"][name] == {"norm": digits(vector.norm()), "first": digits(vector[:16])}
    assert [one["norm"] for one in found["vectors"]["v"]] == digits(zoom.v[:5].norm(dim=-1))
    assert [one["token"] for one in found["effects"]] == zoom.effects["token"].tolist()
    assert found["answer_effect"] == digits(zoom.answer_effect)
    assert found["explain"] == zoom.explain()
    assert all(one["holds"] for one in found["identities"])


def test_an_mlp_seen_closely_names_its_neurons_tokens_one_by_one(tiny: Model) -> None:
    found = answer(tiny, _asked(tiny, "part", part="L1.mlp", position=4))
    zoom = tlab.component(tiny, _PROMPT, "L1.mlp", position=4)
    assert [one["neuron"] for one in found["neurons"]] == zoom.frame["neuron"].tolist()
    for one, promoted in zip(found["neurons"], zoom.frame["promoted"], strict=True):
        assert ", ".join(map(repr, one["promoted"])) == promoted


def test_an_ablation_is_the_verbs_with_its_controls(tiny: Model) -> None:
    asked = every_question(tiny)["ablate"]
    found = answer(tiny, asked)
    same = tlab.ablate(
        tiny,
        _PROMPT,
        asked["parts"],
        method="mean",
        seed=3,
        controls=N_CONTROLS,
        compare_methods=False,
        everywhere=True,
    )
    assert found["controls"] == [digits(p) for p in same.controls.values()]
    assert (found["clean_p"], found["patched_p"]) == (digits(same.clean_probability), digits(same.patched_probability))
    assert found["kl_nats"] == digits(same.kl_nats)
    assert [one["token"] for one in found["next"]] == same.everywhere["token"].tolist()
    last = found["next"][-1]
    assert last["id"] == found["patched"][0]["id"]
    assert last["p"] == pytest.approx(found["patched"][0]["p"], rel=1e-3)
    assert found["patched"] == sorted(found["patched"], key=lambda guess: -guess["p"])


@pytest.mark.parametrize("method", ["zero", "mean", "resample"])
def test_the_map_of_heads_is_the_sweep_and_grows_into_it(tiny: Model, method: str) -> None:
    steps: list[dict[str, Any]] = []
    steps.append(answer(tiny, _asked(tiny, "head_map", method=method, seed=1), steps.append))
    token = tlab.predict(tiny, _PROMPT, k=1)
    metric = tlab.metrics.logit(int(token.frame["token_id"].iloc[0]))
    swept = tlab.ablation_sweep(tiny, _PROMPT, metric=metric, method=method, seed=1)  # type: ignore[arg-type]
    assert steps[-1]["token"] == token.token
    _near(steps[-1]["effect"], swept.changes)


def test_a_patch_recovers_what_the_verb_says(tiny: Model) -> None:
    found = answer(tiny, _asked(tiny, "patch", corrupted=_OTHER, part="L1.attn", position=5))
    same = tlab.patch(tiny, _PROMPT, _OTHER, "L1.attn", positions=[5])
    assert found["recovered"] == digits(same.share)
    assert found["kl_nats"] == digits(same.kl_nats)
    for run in ("clean", "corrupted", "patched"):
        likeliest = same.frame.sort_values(run, ascending=False).head(5)
        assert [one["token"] for one in found[run]] == likeliest["token"].tolist()
        assert [one["p"] for one in found[run]] == digits(likeliest[run].tolist())
    first = same.frame.loc[same.frame["clean"].idxmax()]
    assert (found["token"], found["clean_p"]) == (first["token"], digits(first["clean"]))
    assert (found["clean_logit"], found["patched_logit"]) == (
        digits(first["clean_logit"]),
        digits(first["patched_logit"]),
    )
    everything = answer(tiny, _asked(tiny, "patch", corrupted=_OTHER, part="L0.resid_pre", position=None))
    assert everything["kl_nats"] == pytest.approx(0, abs=1e-6)
    assert everything["patched"][0] == everything["clean"][0]


@pytest.mark.parametrize("over", sorted(OVER))
def test_a_map_of_patches_is_the_sweep(tiny: Model, over: str) -> None:
    found = answer(tiny, _asked(tiny, "patch_map", corrupted=_OTHER, over=over))
    swept = tlab.patch_sweep(tiny, _PROMPT, _OTHER, over=OVER[over])  # type: ignore[arg-type]
    _near([[float("nan") if one is None else one for one in row] for row in found["recovered"]], swept.shares)
    assert found["tokens"] == tiny.to_tokens(_PROMPT)
    assert found["answer"] == tlab.predict(tiny, _PROMPT).token


def test_steering_grows_token_by_token_into_what_the_verb_returns(tiny: Model) -> None:
    asked = every_question(tiny)["steer"]
    steps: list[dict[str, Any]] = []
    steps.append(answer(tiny, asked, steps.append))
    vector = tlab.steering_vector(tiny, asked["toward"], asked["away"], layer=1)
    same = tlab.steer(tiny, _PROMPT, vector, coef=2.5, max_new_tokens=N_NEW_TOKENS)
    assert steps[-1]["steered_text"] == same.steered_continuation
    assert steps[-1]["clean_text"] == same.clean_continuation
    assert steps[-1]["steered_loss_nats"] == digits(same.steered_loss_nats)
    assert steps[-1]["random_kl_nats"] == digits(list(same.random_kl_nats))
    assert [step["steered_loss_nats"] for step in steps[:-1]] == [None] * (len(steps) - 1)
    assert len(steps) > N_NEW_TOKENS


def test_a_single_token_steers_by_its_row_in_the_unembedding(tiny: Model) -> None:
    found = answer(tiny, {**every_question(tiny)["steer"], "toward": "a", "away": ""})
    vector = tlab.steering_vector(tiny, "a", layer=1, source="unembedding")
    assert found["push_norm"] == digits(2.5 * vector.norm)


def test_two_prompts_beside_each_other_are_both_whole(tiny: Model) -> None:
    found = answer(tiny, _asked(tiny, "compare", other=_OTHER))
    same = tlab.compare(tiny, _PROMPT, _OTHER)
    assert found["a"] == answer(tiny, _asked(tiny, "open"))
    assert found["b"] == answer(tiny, {**_asked(tiny, "open"), "prompt": _OTHER})
    assert found["stream"] == digits(same.distance)
    assert found["pattern"] == digits(same.attention_everywhere)


def test_parts_ablated_together_in_one_sweep_are_those_ablated_one_by_one(tiny: Model) -> None:
    names = ["L0H1", "L1.mlp", "L1H0", "L2"]
    each = ablate_each(tiny, _PROMPT, names, controls=3, everywhere=True)
    for name, found in zip(names, each, strict=True):
        alone = tlab.ablate(tiny, _PROMPT, name, controls=3, compare_methods=False, everywhere=True)
        assert found.targets == alone.targets
        assert found.controls == pytest.approx(alone.controls, rel=1e-4)
        assert found.kl_nats == pytest.approx(alone.kl_nats, rel=1e-3, abs=1e-6)
        assert found.everywhere["token"].tolist() == alone.everywhere["token"].tolist()


def test_a_question_stopped_between_its_parts_leaves_the_model_as_it_was(llama: Model) -> None:
    before = tlab.predict(llama, _PROMPT).frame
    for question in every_question(llama).values():
        for n_parts in (1, 2):
            steps = answers(llama, question)
            for _ in range(n_parts):
                next(steps, None)
            steps.close()
    assert tlab.predict(llama, _PROMPT).frame.equals(before)


@pytest.mark.parametrize(
    ("number", "short"),
    [(0.123456, 0.1235), (123456.0, 123500.0), (-0.0, 0), (4.0, 4), (float("nan"), None), (1e-9, 1e-9), ([1.0], [1])],
)
def test_numbers_have_four_significant_digits(number: object, short: object) -> None:
    assert digits(number) == short
    assert json.dumps(digits(number)) == json.dumps(short)
