"""`why_different` names the cause that was put in, by computing it, and names none where there is none."""

from __future__ import annotations

import copy
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import torch
import zoo
from hypothesis import given, settings
from hypothesis import strategies as st
from transformer_lens.model_bridge import TransformerBridge

import tlab
from tlab.differences import Differences, why_different
from tlab.differences.changes import has_weights_of, in_dtype, naming, own_logits, rewritten, with_weights
from tlab.differences.quantities import gap_of, headline, numbers_of
from tlab.engine import Inputs, run
from tlab.errors import UnknownOption
from tlab.loading import dissect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from tlab import Model

_PROMPT = "The cat sat"
_SPECIAL = "<|endoftext|>"


def _logits(model: Model, text: str = _PROMPT) -> Tensor:
    return run(model, model.to_ids(text)).logits[0]


def _explained(report: Differences) -> tuple[str, ...]:
    """Return the causes, after checking that each leads where it says."""
    for _, row in report.frame[report.frame["explains"] == "yes"].iterrows():
        assert row["value"] == pytest.approx(report.b_value, rel=1e-2, abs=6e-3)
        assert row["left"] < report.gap
        assert row["cause"] in report.explain()
    return report.causes


# Two results.


@pytest.mark.parametrize(
    ("other", "cause"),
    [
        (f"{_PROMPT} ", "prompt: space at the end"),
        (f" {_PROMPT}", "prompt: space in front"),
        (f" {_PROMPT} ", "prompt: spaces"),
        ("The  cat sat", "prompt: spaces"),
        (f"{_SPECIAL}{_PROMPT}", "prompt: special token in front"),
        ("THE cat sat", "prompt: capitals"),
        ("The dog sat", "prompt: text"),
    ],
)
def test_another_prompt_is_named_and_how_it_differs(llama: Model, other: str, cause: str) -> None:
    one, two = (tlab.predict(llama, text, k=257) for text in (_PROMPT, other))
    report = why_different(one, two)
    assert _explained(report) == (cause,)
    assert report.frame.iloc[0].to_dict().items() >= {"a": repr(_PROMPT), "b": repr(other)}.items()


def test_another_form_of_the_same_letters_is_named(llama: Model) -> None:
    composed, decomposed = (tlab.predict(llama, text, k=257) for text in ("Zo\u00eb sat", "Zoe\u0308 sat"))
    assert _explained(why_different(composed, decomposed)) == ("prompt: unicode form",)


def test_a_seed_is_named(llama: Model) -> None:
    one, two = (
        tlab.ablate(llama, _PROMPT, "L1", method="resample", seed=seed, controls=0, compare_methods=False)
        for seed in (1, 2)
    )
    assert _explained(why_different(one, two)) == ("seed",)


def test_of_two_arguments_that_differ_the_one_that_matters_is_named(llama: Model) -> None:
    # The seed of a method that draws nothing changes nothing.
    one = tlab.ablate(llama, _PROMPT, "L1", method="zero", seed=1, controls=0, compare_methods=False)
    two = tlab.ablate(llama, _PROMPT, "L1", method="mean", seed=2, controls=0, compare_methods=False)
    report = why_different(one, two)
    verdicts = report.frame.set_index("cause")["explains"].to_dict()
    assert verdicts == {"method": "yes", "seed": "no", "all of these together": "yes"}
    assert report.frame.set_index("cause").loc["seed", "effect"] == 0


def test_what_two_causes_do_together_none_is_said_to_do_alone(llama: Model) -> None:
    one, two = tlab.ablate(llama, _PROMPT, "L1", controls=0), tlab.ablate(llama, "The dog sat", "L2", controls=0)
    assert _explained(why_different(one, two)) == ("all of these together",)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_another_kind_of_number_is_named(llama: Model, dtype: torch.dtype) -> None:
    other = tlab.load(llama.name, dtype=dtype)
    report = why_different(tlab.predict(llama, _PROMPT, k=257), tlab.predict(other, _PROMPT, k=257))
    if dtype == torch.float64:
        assert report.is_same
    else:
        assert _explained(report) == ("kind of number",)


def test_other_weights_are_named(llama: Model, tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    other = tlab.load(tiny_folders["llama-one-key"])
    results = [tlab.predict(model, _PROMPT, k=257) for model in (llama, other)]
    for one, name in zip(results, "ab", strict=True):
        one.save(tmp_path / name)
    report = why_different(*results)
    assert _explained(report) == ("model", "all of these together")
    assert report.frame.set_index("cause").loc["tokenizer", "effect"] == 0


def test_another_tokenizer_is_named(llama: Model, tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "swapped"
    folder.mkdir()
    for file in tiny_folders["llama-grouped"].iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    path = folder / "tokenizer.json"
    # Two letters change places in the vocabulary.
    text = path.read_text()
    a, t = (text[text.index(f'"{letter}": ') :].split(",")[0] for letter in "at")
    path.write_text(
        text.replace(a, '"a": @').replace(t, t.replace(t.split()[1], a.split()[1])).replace("@", t.split()[1])
    )
    other = tlab.load(folder)
    assert other.to_ids("cat").tolist() != llama.to_ids("cat").tolist()
    models = why_different(llama, other, prompt=_PROMPT)
    assert _explained(models) == ("tokenizer",)
    results = why_different(tlab.predict(llama, _PROMPT, k=257), tlab.predict(other, _PROMPT, k=257))
    assert "tokenizer" in results.causes


def test_versions_are_named_only_where_doing_it_again_shows_it(llama: Model) -> None:
    # A result that came out otherwise where other versions were installed: its numbers are not those that are here.
    here, there = tlab.predict(llama, _PROMPT, k=257), tlab.predict(llama, "Elsewhere", k=257)
    assert here.manifest is not None
    old = {**here.manifest.versions, "torch": "1.0"}
    there.attach(replace(here.manifest, versions=old))
    for pair in ((here, there), (there, here)):
        report = why_different(*pair)
        assert report.causes == ("versions or machine",)
        row = report.frame.iloc[0]
        assert {row["a"].split(",")[0], row["b"].split(",")[0]} == {
            "torch 1.0",
            f"torch {here.manifest.versions['torch']}",
        }
    # The same versions said otherwise, and another prompt: the versions are not it.
    other = tlab.predict(llama, "The dog sat", k=257)
    assert other.manifest is not None
    other.attach(replace(other.manifest, versions=old))
    verdicts = why_different(here, other).frame.set_index("cause")["explains"]
    assert verdicts.to_dict() == {"prompt: text": "yes", "versions or machine": "no"}


def test_the_same_twice_leaves_nothing_to_explain(llama: Model) -> None:
    report = why_different(tlab.predict(llama, _PROMPT), tlab.predict(llama, _PROMPT))
    assert report.is_same
    assert (report.gap, report.causes, len(report.frame)) == (0, (), 0)
    assert report.explain().startswith("There is nothing to explain: ")
    assert report.text() == report.explain()


def test_a_difference_without_a_cause_is_left_unexplained(llama: Model) -> None:
    one, two = tlab.predict(llama, _PROMPT, k=257), tlab.predict(llama, "Elsewhere", k=257)
    assert one.manifest is not None
    two.attach(one.manifest)
    report = why_different(one, two)
    assert report.causes == ()
    assert report.frame["cause"].tolist() == ["chance: done again"]
    assert report.explain().startswith("None of the usual causes explains it: ")


def test_a_result_whose_model_is_gone_says_what_could_not_be_tried(llama: Model) -> None:
    one, two = tlab.predict(llama, _PROMPT), tlab.predict(llama, "The dog sat")
    for result in (one, two):
        assert result.manifest is not None
        result.attach(replace(result.manifest, model="/nowhere/at-all", fingerprint=""))
    # Without the model even the texts cannot be compared as the model reads them.
    with pytest.raises(tlab.TlabError):
        why_different(one, two)
    assert why_different(one, two, model=llama).causes == ("prompt: text",)
    assert one.manifest is not None
    one.attach(replace(one.manifest, fingerprint="0" * 64))
    with pytest.raises(
        UnknownOption, match=r"model refused: expected the weights 000000000000…, got \w{12}…; give the"
    ):
        why_different(one, two, model=llama)


# A number from elsewhere.


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (f"{_SPECIAL}{_PROMPT}", "prompt: special token in front"),
        (f" {_PROMPT}", "prompt: space in front"),
        (f"{_PROMPT} ", "prompt: space at the end"),
    ],
)
def test_a_probability_from_elsewhere_is_led_back_to_its_prompt(llama: Model, text: str, cause: str) -> None:
    result = tlab.ablate(llama, _PROMPT, "L1", token="a", controls=0, compare_methods=False)  # noqa: S106  no password
    there = tlab.ablate(llama, text, "L1", token="a", controls=0, compare_methods=False)  # noqa: S106
    report = why_different(result, there.patched_logit, quantity="patched_logit")
    assert cause in _explained(report)
    assert report.quantity == "patched_logit"


def test_a_number_from_elsewhere_is_led_back_to_an_option(llama: Model) -> None:
    zero, mean = (
        tlab.ablate(llama, _PROMPT, "L1", method=method, controls=0, compare_methods=False)
        for method in ("zero", "mean")
    )
    report = why_different(zero, mean.kl_nats)
    assert "method: 'mean'" in _explained(report)
    assert report.quantity == "kl_nats"
    assert (report.a_value, report.b_value) == (zero.kl_nats, mean.kl_nats)


def test_a_number_in_bits_and_one_in_percent_are_recognised(llama: Model) -> None:
    result = tlab.ablate(llama, _PROMPT, "L1", controls=0, compare_methods=False)
    assert "read in bits, not in nats" in _explained(why_different(result, result.kl_nats / 0.6931471805599453))
    prediction = tlab.predict(llama, _PROMPT)
    report = why_different(prediction, round(100 * prediction.probability, 2))
    assert _explained(report) == ("read in percent",)
    assert report.quantity.startswith(f"frame.probability of {prediction.token!r}")


def test_a_rounded_number_is_the_number(llama: Model) -> None:
    prediction = tlab.predict(llama, _PROMPT)
    assert why_different(prediction, round(prediction.probability, 3)).is_same
    assert not why_different(prediction, round(prediction.probability, 3) + 0.002).is_same


def test_a_number_that_nothing_leads_to_is_left_unexplained(llama: Model) -> None:
    report = why_different(tlab.predict(llama, _PROMPT), 0.123456)
    assert report.causes == ()
    assert len(report.frame) > 8
    assert set(report.frame["explains"]) <= {"no", "partly"}


def test_logits_that_are_centred_are_recognised(llama: Model) -> None:
    logits = _logits(llama)
    centred = logits - logits.mean(-1, keepdim=True)
    for logits_elsewhere in (centred, centred[-1], centred[-1].bfloat16()):
        assert _explained(why_different(llama, logits_elsewhere, prompt=_PROMPT)) == ("read as centred logits",)
    for reading, function in (("probabilities", torch.softmax), ("log-probabilities", torch.log_softmax)):
        assert why_different(llama, function(logits, -1), prompt=_PROMPT).causes == (f"read as {reading}",)
    assert why_different(llama, logits, prompt=_PROMPT).is_same


def test_logits_of_the_position_before_are_recognised(llama: Model) -> None:
    assert why_different(llama, _logits(llama)[-2], prompt=_PROMPT).causes == ("read one position before",)


def test_a_special_token_in_front_is_recognised_in_all_logits(llama: Model) -> None:
    report = why_different(llama, _logits(llama, _SPECIAL + _PROMPT), prompt=_PROMPT)
    assert _explained(report) == ("prompt: special token in front",)
    assert (report.quantity, report.a_value, report.b_value) == ("the number of positions", 11, 12)


def test_bfloat16_is_recognised_in_a_token_s_probability(llama: Model) -> None:
    other = tlab.load(llama.name, dtype=torch.bfloat16)
    token = int(_logits(llama)[-1].argmax())
    there = float(_logits(other)[-1].float().softmax(-1)[token])
    assert "kind of number: bfloat16" in _explained(why_different(llama, there, prompt=_PROMPT, token=token))


def test_another_attention_implementation_is_computed(llama: Model) -> None:
    report = why_different(llama, _logits(llama)[-1] + 1, prompt=_PROMPT)
    row = report.frame.set_index("cause").loc["attention implementation"]
    assert (row["a"], row["b"], row["explains"]) == ("eager", "sdpa", "no")
    assert row["effect"] < 1e-5
    # In float32 the two agree but for rounding; a row that is hidden altogether is where they part.
    ids = llama.to_ids(_PROMPT)[None]
    eager, sdpa = (own_logits(llama, Inputs(ids), name) for name in ("eager", "sdpa"))
    torch.testing.assert_close(eager, sdpa, rtol=0, atol=1e-4)
    assert llama.hf.config._attn_implementation == "tlab"


@pytest.mark.parametrize("name", ["gpt2", "llama-grouped"])
def test_transformer_lens_is_led_back_to_its_token_in_front_and_its_centred_logits(
    name: str, tiny_folders: dict[str, Path]
) -> None:
    """TransformerLens with the numbers that its HookedTransformer gave by default: norms folded, logits centred."""
    logging.disable(logging.WARNING)
    try:
        theirs = TransformerBridge.boot_transformers(str(tiny_folders[name]), device="cpu", dtype=torch.float32)
        theirs.enable_compatibility_mode()
        with torch.no_grad():
            logits = theirs(_PROMPT, prepend_bos=True)[0]
    finally:
        logging.disable(logging.NOTSET)
    ours = tlab.load(tiny_folders[name])
    report = why_different(ours, logits, prompt=_PROMPT)
    assert _explained(report) == ("prompt: special token in front, and read as centred logits",)
    assert why_different(ours, logits, prompt=_SPECIAL + _PROMPT).causes == ("read as centred logits",)


# Two models.


def test_two_models_that_differ_in_their_weights_are_told_apart(dissected: Callable[..., Model]) -> None:
    one = dissected("llama-grouped")
    hf = copy.deepcopy(zoo.build("llama-grouped"))
    hf.model.layers[1].mlp.down_proj.weight.data.mul_(0.5)
    two = dissect("halved", hf, one.tokenizer)
    report = why_different(one, two, prompt=_PROMPT)
    assert _explained(report) == ("weights",)
    assert (report.a, report.b) == ("llama-grouped", "halved")
    assert not has_weights_of(one, two)


def test_two_models_that_differ_in_their_configuration_are_told_apart(dissected: Callable[..., Model]) -> None:
    one = dissected("llama-grouped")
    config = copy.deepcopy(zoo.SPECIMENS["llama-grouped"].config)
    config.rope_parameters = {"rope_type": "default", "rope_theta": 100.0}
    hf = zoo.SPECIMENS["llama-grouped"].kind._from_config(config, attn_implementation="eager")
    hf.load_state_dict(one.hf.state_dict())
    two = dissect("slower", hf, one.tokenizer)
    report = why_different(one, two, prompt=_PROMPT)
    assert _explained(report) == ("configuration",)
    assert "rope_parameters" in report.frame.iloc[0]["a"]
    assert "100.0" in report.frame.iloc[0]["b"]


def test_two_models_in_two_kinds_of_number_have_the_same_weights(dissected: Callable[..., Model]) -> None:
    one, two = dissected("gpt2"), dissected("gpt2", torch.bfloat16)
    assert has_weights_of(one, two)
    report = why_different(one, two, prompt=_PROMPT)
    assert report.frame["cause"].tolist() == ["kind of number"]
    assert _explained(report) == ("kind of number",)


def test_weights_that_fit_nowhere_are_said_to(dissected: Callable[..., Model]) -> None:
    report = why_different(dissected("llama"), dissected("llama-grouped"), prompt=_PROMPT)
    verdicts = report.frame.set_index("cause")["explains"]
    assert verdicts["weights"].startswith("not tried: Error(s) in loading state_dict")
    assert verdicts["configuration"].startswith("not tried: ")
    assert report.explain().startswith("No cause was found that could be tried: ")


# Changes are made to copies, and are what they say.


@pytest.mark.parametrize(
    "name", ["gpt2", "llama-grouped", "gemma-2", "bloom", "bart", "bert", "marian", "mixtral", "gpt-oss"]
)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
def test_a_model_in_another_kind_of_number_is_what_loading_it_so_gives(
    name: str, dtype: torch.dtype, tmp_path: Path, prompted: Callable[..., Inputs]
) -> None:
    folder, inputs = zoo.write(name, tmp_path / name), prompted(name)
    loaded = tlab.load(folder)
    fingerprint, clean = loaded.fingerprint, run(loaded, inputs).logits
    found = run(in_dtype(loaded, dtype), inputs).logits
    assert found.dtype == dtype
    # Loaded in float64, a model computes its constants in it too, which float32 has rounded here.
    atol = {torch.bfloat16: 0, torch.float64: 1e-5}[dtype]
    torch.testing.assert_close(found, run(tlab.load(folder, dtype=dtype), inputs).logits, rtol=0, atol=atol)
    assert torch.equal(run(loaded, inputs).logits, clean)
    assert replace(loaded).fingerprint == fingerprint


def test_taking_another_ones_weights_changes_neither(
    dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    one = dissected("gpt2")
    other = dissect("other", copy.deepcopy(zoo.build("gpt2")), one.tokenizer)
    other.hf.transformer.h[0].mlp.c_proj.weight.data.zero_()
    before = [model.fingerprint for model in (one, other)]
    inputs = prompted("gpt2")
    torch.testing.assert_close(run(with_weights(one, other), inputs).logits, run(other, inputs).logits, rtol=0, atol=0)
    assert [replace(model).fingerprint for model in (one, other)] == before


@settings(derandomize=True, deadline=None, max_examples=100, database=None)
@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=8))
def test_every_way_to_rewrite_a_text_is_named_as_what_it_is(llama: Model, text: str) -> None:
    for way, new in rewritten(text, llama):
        assert new != text
        if way.startswith("unicode"):
            assert naming(text, new, llama) in {"unicode form", "spaces", "space in front", "space at the end"}
        else:
            assert naming(text, new, llama) == way.removeprefix("no ")


def test_numbers_of_two_tables_are_found_by_their_words_and_not_by_their_rows() -> None:
    one = numbers_of(pd.DataFrame({"token": ["a", "b"], "rank": [1, 2], "p": [0.7, 0.2]}), "f")
    two = numbers_of(pd.DataFrame({"token": ["b", "a", "c"], "rank": [1, 2, 3], "p": [0.2, 0.7, 0.1]}), "f")
    assert gap_of(one, two)[0] == 0
    three = numbers_of(pd.DataFrame({"token": ["b", "a"], "rank": [1, 2], "p": [0.2, 0.6]}), "f")
    gap, name, label = gap_of(one, three)
    assert gap == pytest.approx(0.1 / 0.7)
    assert (name, label) == ("f.p", "a")


def test_numbers_of_other_shapes_are_not_compared() -> None:
    one, two = (numbers_of(torch.zeros(n), "t") for n in (2, 3))
    assert gap_of(one, two)[0] == float("inf")
    assert gap_of(numbers_of(float("nan"), "x"), numbers_of(float("nan"), "x"))[0] == 0
    assert gap_of(numbers_of(float("nan"), "x"), numbers_of(1.0, "x"))[0] == float("inf")
    assert numbers_of({"a": (1.5, 2, True, "text", None)}, "n").keys() == {"n[a][0]"}


def test_a_result_is_quoted_with_what_stands_alone_and_its_first_row(llama: Model) -> None:
    prediction = tlab.predict(llama, _PROMPT)
    found = headline(prediction)
    assert set(found) == {"frame.probability", "frame.logit"}
    assert float(found["frame.probability"].iloc[0]) == prediction.probability
