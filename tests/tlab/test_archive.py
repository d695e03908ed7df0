"""Saved results come back as they were and can be done again; what is no saved result is refused in one sentence."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import assert_same
from torch.testing import assert_close

import tlab
from tlab import archive
from tlab.errors import DamagedResult
from tlab.experiments.capture import Capture
from tlab.experiments.predict import Prediction
from tlab.loading import dissect
from tlab.manifest import Manifest
from tlab.results import Result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tlab import Model

_PROMPT = "The cat sat"
_ARGUMENTS: dict[str, Any] = {
    "prompt": _PROMPT,
    "clean": _PROMPT,
    "corrupted": "The dog sat",
    "a": _PROMPT,
    "b": "The dogs sit",
    "targets": ("L1.attn", "L2H3"),
    "site": "L1H2",
    "n_tokens": 20,
    "target": "a",
    "metric": tlab.metrics.logit_diff("a", "b"),
}


def _verbs() -> list[str]:
    """Return the public experiments whose arguments this module knows; the others are saved in their own tests."""
    found = []
    for name in tlab.__all__:
        function = getattr(tlab, name)
        if not inspect.isfunction(function) or not hasattr(function, "__wrapped__"):
            continue
        _, *rest = inspect.signature(function).parameters.values()
        if all(one.name in _ARGUMENTS for one in rest if one.default is one.empty):
            found.append(name)
    return found


def _done(model: Model, verb: str) -> Result:
    function = getattr(tlab, verb)
    _, *rest = inspect.signature(function).parameters.values()
    given = {one.name: _ARGUMENTS[one.name] for one in rest if one.default is one.empty or one.name == "n_tokens"}
    result: Result = function(model, **given)
    return result


def test_the_verbs_are_found() -> None:
    assert {"ablate", "attention", "capture", "logit_lens", "patch", "patch_sweep", "predict"} <= set(_verbs())


@pytest.mark.parametrize("verb", _verbs())
def test_a_saved_result_is_the_same_table_sentence_and_picture(llama: Model, tmp_path: Path, verb: str) -> None:
    result = _done(llama, verb)
    loaded = Result.load(result.save(tmp_path / "result.tlab"))
    assert type(loaded) is type(result)
    assert_same(result, loaded)
    pd.testing.assert_frame_equal(loaded.to_frame(), result.to_frame())
    assert loaded.text() == result.text()
    assert loaded.plot() == result.plot()
    assert loaded._repr_mimebundle_() == result._repr_mimebundle_()


@pytest.mark.parametrize("verb", _verbs())
def test_a_saved_result_can_be_done_again_and_gives_the_same(llama: Model, tmp_path: Path, verb: str) -> None:
    result = _done(llama, verb)
    loaded = Result.load(result.save(tmp_path / "result.tlab"))
    manifest = loaded.manifest
    assert manifest is not None
    assert manifest.name == verb
    assert manifest.fingerprint == llama.fingerprint
    assert set(manifest.versions) >= {"python", "torch", "transformers"}
    again = loaded.replay()
    assert again.explain() == result.explain()
    pd.testing.assert_frame_equal(again.to_frame(), result.to_frame())


def test_a_replay_on_other_weights_is_refused(llama: Model, tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    loaded = Result.load(tlab.predict(llama, _PROMPT).save(tmp_path / "result.tlab"))
    other = tlab.load(tiny_folders["llama"])
    with pytest.raises(
        DamagedResult, match=r"replay refused: expected the weights \w{12}…, got \w{12}… in '.*'; load the model that"
    ):
        loaded.replay(other)


def test_a_checkpoint_is_saved_and_done_again_with_its_own_weights(tmp_path: Path) -> None:
    early, last = tlab.load("toy-induction", step=960), tlab.load("toy-induction")
    result = tlab.predict(early, "bag bed bell boat bag bed bell", k=3)
    assert result.probability != tlab.predict(last, "bag bed bell boat bag bed bell", k=3).probability
    loaded = Result.load(result.save(tmp_path / "result.tlab"))
    assert loaded.manifest is not None
    assert (loaded.manifest.step, loaded.manifest.fingerprint) == (960, early.fingerprint)
    assert early.fingerprint != last.fingerprint
    assert loaded.replay().explain() == result.explain()
    with pytest.raises(DamagedResult, match="replay refused: expected the weights"):
        loaded.replay(last)


def test_the_model_that_ran_is_the_one_that_is_noted_and_runs_again(
    dissected: Callable[..., Model], tmp_path: Path
) -> None:
    # A model that nobody could load by its name, and one that bears another's.
    nameless = dissected("gpt2")
    early = tlab.load("toy-induction", step=960)
    altered = dissect("toy-induction", copy.deepcopy(early.hf), early.tokenizer)
    for model in (nameless, altered):
        result = tlab.predict(model, "abc" if model is nameless else "bag bed", k=3)
        assert result.replay().explain() == result.explain()
        loaded = Result.load(result.save(tmp_path / "result.tlab"))
        assert loaded.manifest is not None
        assert loaded.manifest.fingerprint == model.fingerprint
        assert loaded.replay(model).explain() == result.explain()


def test_a_result_that_is_copied_leaves_the_model_where_it_is(llama: Model) -> None:
    result = tlab.predict(llama, _PROMPT)
    assert result.manifest is not None
    assert result.manifest.subject is llama
    for copied in (copy.deepcopy(result), pickle.loads(pickle.dumps(result))):  # noqa: S301  written a moment ago
        assert copied.manifest.subject is None
        assert copied.manifest == result.manifest
        assert copied.replay().explain() == result.explain()


def test_what_the_caller_does_with_his_lists_afterwards_changes_no_manifest(llama: Model) -> None:
    targets, vector = ["L0H1"], torch.ones(llama.d_model)
    ablated = tlab.ablate(llama, _PROMPT, targets, controls=0, compare_methods=False)
    steered = tlab.steer(llama, _PROMPT, vector, layer=1, max_new_tokens=1, controls=0)
    targets.append("L0")
    vector.zero_()
    assert ablated.manifest is not None
    assert steered.manifest is not None
    assert ablated.manifest.arguments["targets"] == ["L0H1"]
    assert steered.manifest.arguments["vector"].all()
    assert ablated.replay().explain() == ablated.explain()


def test_what_no_experiment_made_has_no_manifest_and_no_replay() -> None:
    made = Prediction(prompt="a", frame=pd.DataFrame({"token": ["b"], "probability": [1.0]}))
    assert made.manifest is None
    with pytest.raises(
        DamagedResult, match=r"no manifest: expected a result that an experiment made, got Prediction; "
    ):
        made.replay()


_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
)
_columns = st.one_of(
    st.lists(st.integers(-(2**40), 2**40), min_size=3, max_size=3),
    st.lists(st.floats(), min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=5), min_size=3, max_size=3),
)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3).map(tuple) | st.dictionaries(st.text("abc"), inner, max_size=3)
)


@settings(derandomize=True, deadline=None, max_examples=60, database=None)
@given(arguments=st.dictionaries(st.text("abcdef", min_size=1), _values, max_size=4), data=st.data())
def test_any_plain_value_comes_back_as_it_was(tmp_path_factory: Any, arguments: dict[str, Any], data: Any) -> None:  # noqa: ANN401
    names = data.draw(st.lists(st.text("xyz$", min_size=1, max_size=3), max_size=3, unique=True))
    frame = pd.DataFrame({name: data.draw(_columns) for name in names})
    result = Prediction(prompt=data.draw(_scalars), frame=frame)
    result.attach(Manifest(verb="tlab.experiments.predict.predict", arguments=arguments, model="m", fingerprint="f"))
    loaded = Result.load(result.save(tmp_path_factory.mktemp("any") / "result.tlab"))
    assert_same(result, loaded)
    assert_same(result.manifest, loaded.manifest)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(1.5),
        torch.zeros(0, 3),
        torch.arange(6).view(2, 3).T,
        torch.tensor([True, False]),
        torch.tensor([float("nan"), float("inf"), -0.0]),
        torch.randn(3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
        torch.ones(2, dtype=torch.bfloat16),
    ],
    ids=str,
)
def test_any_tensor_comes_back_as_it_was(tmp_path: Path, tensor: torch.Tensor) -> None:
    # Twice the same: each comes back with memory of its own.
    result = Capture(tokens=("a",), tensors={"one": tensor, "two": tensor}, prompts=(("a",),))
    loaded = Result.load(archive.save(result, tmp_path / "result.tlab"))
    assert isinstance(loaded, Capture)
    for name in ("one", "two"):
        assert loaded[name].dtype == tensor.dtype
        assert_close(loaded[name], tensor, rtol=0, atol=0, equal_nan=True)
    loaded["one"].fill_(1)
    assert_close(loaded["two"], tensor, rtol=0, atol=0, equal_nan=True)
