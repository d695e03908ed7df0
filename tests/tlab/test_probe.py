"""Linear probes: equal to the library they are fitted with, fair splits, controls that can only be remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import torch
import zoo
from judging import assert_presents_itself
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch.testing import assert_close

import tlab
from tlab import probe as probes
from tlab.engine import Edit, run
from tlab.errors import UnsupportedModel
from tlab.probe import ProbeResult, erasure, fitting
from tlab.results import Result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor, nn

    from tlab import Model

_VOWELS = "aeiou"
# The label is a matter of the last letter, which stands behind many different beginnings.
_PROMPTS = tuple(f"{beginning} {letter}" for beginning in ("my <b>", "is it", "12", "so,") for letter in "abcdefghiou")
_LABELS = tuple("vowel" if prompt[-1] in _VOWELS else "consonant" for prompt in _PROMPTS)


@pytest.fixture(scope="module")
def trained(llama: Model) -> ProbeResult:
    """Train probes of what every layer of a small model begins with; in the first, that is the token's embedding."""
    return probes.train(llama, _PROMPTS, _LABELS, site="blocks.L.resid_pre", controls=2)


@pytest.fixture(scope="module")
def means(llama: Model) -> ProbeResult:
    """Train one probe by difference of means."""
    return probes.train(llama, _PROMPTS, _LABELS, layers=[1], method="difference_of_means", controls=1)


def _clusters(n_classes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    classes = torch.arange(60) % n_classes
    centres = 2 * torch.randn(n_classes, 6, generator=generator)
    return centres[classes] + 3 * torch.randn(60, 6, generator=generator) + 5, classes


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_logistic_probe_is_scikit_learns_in_the_vectors_own_units(n_classes: int) -> None:
    vectors, classes = _clusters(n_classes)
    probe = fitting.fit(vectors, classes, n_classes, "logistic", l2=0.5)
    # Its scaler divides by the population's deviation, ours by the sample's.
    scaled = StandardScaler().fit_transform(vectors.double().numpy()) * (59 / 60) ** 0.5
    theirs = LogisticRegression(C=2.0, max_iter=1000).fit(scaled, classes.numpy())
    assert_close(
        probe.scores(vectors).softmax(-1), torch.from_numpy(theirs.predict_proba(scaled)).float(), atol=1e-4, rtol=0
    )
    assert probe.accuracy(vectors, classes) == pytest.approx(theirs.score(scaled, classes.numpy()))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_difference_of_means_answers_with_the_nearest_mean(n_classes: int) -> None:
    vectors, classes = _clusters(n_classes)
    probe = fitting.fit(vectors, classes, n_classes, "difference_of_means", l2=1.0)
    centres = torch.stack([vectors[classes == number].mean(0) for number in range(n_classes)])
    assert torch.equal(probe.scores(vectors).argmax(-1), torch.cdist(vectors, centres).argmin(-1))


def test_a_probe_finds_a_known_direction() -> None:
    generator = torch.Generator().manual_seed(0)
    direction = torch.nn.functional.normalize(torch.randn(20, generator=generator), dim=0)
    classes = torch.arange(2000) % 2
    vectors = torch.randn(2000, 20, generator=generator) + 3 * (2 * classes[:, None] - 1) * direction
    for method in fitting.METHODS:
        weights = fitting.fit(vectors, classes, 2, method, l2=1.0).weights
        found = weights[1] - weights[0]
        assert float(found @ direction / found.norm()) > 0.95


def test_a_fit_that_stops_early_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, classes = _clusters(2)
    assert fitting.fit(vectors, classes, 2, "logistic", l2=1.0).has_converged
    monkeypatch.setattr(fitting, "_MOST_ITERATIONS", 1)
    assert not fitting.fit(vectors, classes, 2, "logistic", l2=1e-6).has_converged


@pytest.mark.parametrize(
    ("share", "n_trials", "low", "high"),
    # Worked out by hand from the formula, z = 1.959964.
    [(0.8, 10, 0.4902, 0.9433), (1.0, 20, 0.8389, 1.0), (0.0, 5, 0.0, 0.4345), (0.5, 100, 0.4038, 0.5962)],
)
def test_the_interval_is_wilsons(share: float, n_trials: int, low: float, high: float) -> None:
    assert fitting.wilson(share, n_trials) == pytest.approx((low, high), abs=5e-5)


def test_every_class_is_on_both_sides_of_the_split() -> None:
    classes = [0] * 20 + [1] * 10 + [2] * 2
    for seed in range(5):
        mask = fitting.held_out_mask(classes, 0.3, seed)
        assert [int(mask[torch.tensor(classes) == number].sum()) for number in range(3)] == [6, 3, 1]
    assert not torch.equal(fitting.held_out_mask(classes, 0.3, 0), fitting.held_out_mask(classes, 0.3, 1))


def test_a_controls_label_depends_on_the_type_and_on_nothing_else() -> None:
    types = ["cat", "dog", "cow", "cat", "hen", "dog", "owl", "cat"]
    classes = [0, 0, 1, 1, 1, 0, 1, 0]
    draws = [fitting.control_classes(types, classes, seed) for seed in range(20)]
    for labels in draws:
        given = {}
        for kind, label in zip(types, labels.tolist(), strict=True):
            assert given.setdefault(kind, label) == label
        assert set(given.values()) == {0, 1}
    assert len({tuple(labels.tolist()) for labels in draws}) > 3


def test_what_the_last_token_decides_is_read_off_and_its_control_is_remembered(trained: ProbeResult) -> None:
    frame = trained.to_frame()
    assert frame["site"].tolist() == [f"blocks.{layer}.resid_pre" for layer in range(3)]
    assert frame["layer"].tolist() == [0, 1, 2]
    assert trained.best_site == "blocks.0.resid_pre"
    assert frame["accuracy"].iloc[0] == 1.0
    assert trained.labels == ("consonant", "vowel")
    assert (trained.control_by, trained.n_types, trained.types_met) == ("token", 11, 1.0)
    assert (trained.n_train, trained.n_test) == (31, 13)
    assert trained.baseline == pytest.approx(7 / 13)
    assert_close(
        torch.tensor(frame["selectivity"].tolist()), torch.tensor((frame["accuracy"] - frame["control"]).tolist())
    )
    # A single token a type can be remembered, which is what the control is there to show.
    assert frame["control"].iloc[0] == 1.0
    assert ((frame["low"] <= frame["accuracy"]) & (frame["accuracy"] <= frame["high"])).all()


def test_labels_that_mean_nothing_are_not_read_off(llama: Model) -> None:
    order = torch.randperm(len(_PROMPTS), generator=torch.Generator().manual_seed(0)).tolist()
    labels = [bool(place % 2) for place in order]
    result = probes.train(llama, _PROMPTS, labels, layers=[2], test_fraction=0.5, controls=1)
    assert result.labels == (False, True)
    assert result.to_frame()["low"].iloc[0] < result.baseline
    assert "not clearly better than the baseline" in result.explain()


@pytest.mark.parametrize("position", [-1, "all"])
def test_a_probe_is_judged_on_the_held_out_prompts_and_on_all_of_them(llama: Model, position: int | str) -> None:
    result = probes.train(llama, _PROMPTS, _LABELS, layers=[0], position=position, controls=1)
    is_test = fitting.held_out_mask([result.labels.index(label) for label in _LABELS], 0.3, 0)
    held_out = [prompt for prompt, is_one in zip(_PROMPTS, is_test.tolist(), strict=True) if is_one]
    answers = probes.apply(llama, held_out, result).to_frame()
    right = [
        label == _LABELS[_PROMPTS.index(prompt)]
        for prompt, label in zip(answers["prompt"], answers["label"], strict=True)
    ]
    assert len(held_out) == result.n_test
    assert result.to_frame()["accuracy"].iloc[0] == pytest.approx(sum(right) / len(right))
    assert len(right) == (sum(len(prompt) - 1 for prompt in held_out) if position == "all" else len(held_out))


def test_prompts_read_at_one_token_have_a_control_that_shows_chance(llama: Model) -> None:
    prompts = [f"{prompt}." for prompt in _PROMPTS]
    result = probes.train(llama, prompts, _LABELS, layers=[1], controls=5)
    assert (result.control_by, result.types_met) == ("prompt", 0.0)
    assert "it shows chance only" in result.explain()
    given = probes.train(llama, prompts, _LABELS, layers=[1], controls=5, types=[prompt[-2] for prompt in prompts])
    assert (given.control_by, given.n_types, given.types_met) == ("given", 11, 1.0)
    assert given.to_frame()["accuracy"].tolist() == result.to_frame()["accuracy"].tolist()


@pytest.mark.parametrize("position", [-2, 0, "all", "mean"])
def test_the_vectors_are_those_of_a_capture(llama: Model, position: int | str) -> None:
    result = probes.train(
        llama, _PROMPTS, _LABELS, layers=[2], position=position, method="difference_of_means", controls=1
    )
    is_test = fitting.held_out_mask([result.labels.index(label) for label in _LABELS], 0.3, 0)
    rows = []
    for prompt, held_out in zip(_PROMPTS, is_test.tolist(), strict=True):
        stream = tlab.capture(llama, prompt, sites=["blocks.2.resid_post"])["blocks.2.resid_post"][0]
        read = {"all": stream[1:], "mean": stream[1:].mean(0, keepdim=True)}.get(str(position))
        rows += [] if held_out else [stream[[position]] if read is None else read]
    assert_close(result.mean[0], torch.cat(rows).mean(0), atol=1e-5, rtol=1e-5)


def test_the_direction_moves_one_class_mean_to_the_other(means: ProbeResult, trained: ProbeResult) -> None:
    assert_close(means.direction(), means.class_means[0, 1] - means.class_means[0, 0])
    assert_close(means.direction(toward="consonant"), -means.direction(toward="vowel"))
    for layer in range(3):
        direction = trained.direction(layer)
        unit = direction / direction.norm()
        low, high = trained.class_means[layer] @ unit
        assert float(direction.norm()) == pytest.approx(float(high - low), rel=1e-4)
        scores = trained.classifiers[layer].scores(torch.stack([trained.mean[layer], trained.mean[layer] + direction]))
        assert float((scores[1] - scores[0]) @ torch.tensor([-1.0, 1.0])) > 0


def test_three_classes_have_a_direction_each(llama: Model) -> None:
    labels = [prompt[0] for prompt in _PROMPTS]
    result = probes.train(llama, _PROMPTS, labels, layers=[1], position="mean", controls=1)
    assert result.labels == ("1", "i", "m", "s")
    directions = torch.stack([result.direction(toward=label) for label in result.labels])
    scores = result.classifiers[0].scores(result.mean[0] + 2 * directions)
    assert scores.argmax(-1).tolist() == [0, 1, 2, 3]
    assert erasure._basis(result.weights[0]).shape == (3, 32)


def test_a_single_site_is_probed(llama: Model) -> None:
    result = probes.train(llama, _PROMPTS, _LABELS, site="blocks.2.mlp.post", controls=1)
    assert result.sites == ("blocks.2.mlp.post",)
    assert result.weights.shape == (1, 2, llama.d_mlp)
    embedded = probes.train(llama, _PROMPTS, _LABELS, site="embed", controls=1)
    assert embedded.layers == (None,)
    assert embedded.direction().shape == (32,)
    assert embedded.plot().layout.xaxis.title.text == "site"


def test_an_encoder_is_probed(tmp_path: Path) -> None:
    encoder = tlab.load(str(zoo.write("bert", tmp_path)))
    result = probes.train(encoder, _PROMPTS, _LABELS, position="mean", controls=1)
    assert len(result.sites) == encoder.n_layers
    with pytest.raises(
        UnsupportedModel, match=r"model unusable here: expected a decoder, .*, got the encoder '.*'; take"
    ):
        probes.erase(encoder, "my a", result, 0)


def test_probes_read_new_prompts(llama: Model, trained: ProbeResult) -> None:
    reading = trained.apply(llama, ["oh e", "oh b"])
    frame = reading.to_frame()
    assert frame["label"].tolist()[:2] == ["vowel", "consonant"]
    assert frame["layer"].tolist() == [0, 0, 1, 1, 2, 2]
    assert (frame["margin"] > 0).all()
    stream = tlab.capture(llama, "oh e")["blocks.0.resid_post"][0, -1]
    scores = trained.weights[1] @ stream + trained.biases[1]
    assert frame["margin"].iloc[2] == pytest.approx(abs(float(scores[1] - scores[0])), abs=1e-3)
    assert frame["label"].iloc[2] == trained.labels[int(scores.argmax())]
    assert reading.manifest is not None
    assert probes.apply(llama, "oh e", trained).to_frame()["prompt"].tolist() == ["oh e"] * 3


def _plain_probability(model: Model, prompt: str, change: Callable[[Tensor], Tensor], token: str) -> float:
    """Run Hugging Face's model by itself, with the output of its block 1 changed by a plain hook."""

    def hook(_module: nn.Module, _inputs: object, output: Any) -> Any:  # noqa: ANN401
        stream = output[0] if isinstance(output, tuple) else output
        changed = change(stream.clone())
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    handle = model.hf.model.layers[1].register_forward_hook(hook)
    try:
        with torch.no_grad():
            logits = model.hf(model.to_ids(prompt)[None], use_cache=False).logits[0, -1]
    finally:
        handle.remove()
    return float(logits.float().softmax(-1)[model.to_id(token)])


@pytest.mark.parametrize("method", ["mean", "zero"])
def test_erasing_equals_a_plain_projection(llama: Model, means: ProbeResult, method: str) -> None:
    direction = means.direction(1)
    unit = direction / direction.norm()
    centre = means.mean[0] if method == "mean" else torch.zeros(32)

    def projected(stream: Tensor) -> Tensor:
        stream[:, 1:] -= ((stream[:, 1:] - centre) @ unit)[..., None] * unit
        return stream

    result = probes.erase(llama, "my cat a", means, 1, method=method, token="e")  # noqa: S106  no password
    assert result.kl_nats > 0
    assert result.n_pushed == 7
    expected = _plain_probability(llama, "my cat a", projected, "e")
    assert result.patched_probability == pytest.approx(expected, abs=1e-5)
    assert len(result.controls) == 5
    assert min(result.controls.values()) > 0


def test_after_erasing_the_probe_reads_the_same_everywhere_and_erasing_again_changes_nothing(
    llama: Model, trained: ProbeResult
) -> None:
    site, basis, centre = trained.sites[2], erasure._basis(trained.weights[2]), trained.mean[2]
    stream = tlab.capture(llama, _PROMPTS[0], sites=[site])[site][0]
    once = stream + torch.matmul(*erasure._erasing(stream, basis, centre))
    scores = trained.classifiers[2].scores(once[1:])
    assert_close(scores[:, 1] - scores[:, 0], (scores[0, 1] - scores[0, 0]).expand(len(scores)), atol=1e-3, rtol=0)
    twice = once + torch.matmul(*erasure._erasing(once, basis, centre))
    assert_close(twice, once, atol=1e-5, rtol=0)
    assert torch.equal(once[0], stream[0])
    edited = run(llama, llama.to_ids(_PROMPTS[0]), edits=[Edit(site, lambda tensor: once.to(tensor)[None])])
    result = probes.erase(llama, _PROMPTS[0], trained, 2, controls=0)
    assert result.to_frame()["patched"].max() == pytest.approx(float(edited.logits[0, -1].softmax(-1).max()), abs=1e-5)


def test_results_are_saved_loaded_and_done_again(llama: Model, trained: ProbeResult, tmp_path: Path) -> None:
    loaded = Result.load(trained.save(tmp_path / "probe.zip"))
    assert isinstance(loaded, ProbeResult)
    assert loaded.explain() == trained.explain()
    assert torch.equal(loaded.weights, trained.weights)
    replayed = loaded.replay(llama)
    pd.testing.assert_frame_equal(replayed.to_frame(), trained.to_frame())
    erased = probes.erase(llama, "my a", loaded, 0)
    again = Result.load(erased.save(tmp_path / "erasure.zip")).replay(llama)
    assert again.explain() == erased.explain()


_DRAWN: list[tuple[str, Callable[[Any, Any], Result]]] = [
    ("training", lambda _model, trained: trained),
    ("reading", lambda model, trained: probes.apply(model, ["my <b>", "is i"], trained)),
    ("erasure", lambda model, trained: probes.erase(model, "my <b>", trained, 1)),
]


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in _DRAWN])
def test_a_result_is_a_table_a_picture_and_a_sentence(
    llama: Model, trained: ProbeResult, make: Callable[[Any, Any], Result]
) -> None:
    assert_presents_itself(make(llama, trained))


@pytest.mark.slow
def test_the_pretrained_models_stream_tells_animals_from_vehicles(model: Model) -> None:
    animals = ("dog", "cat", "horse", "cow", "sheep", "lion", "wolf", "bear", "mouse", "goat")
    vehicles = ("car", "truck", "bus", "train", "boat", "plane", "van", "tram", "bike", "ship")
    prompts = [f"Yesterday I saw a {word} near the old bridge" for word in (*animals, *vehicles)]
    labels = ["animal"] * len(animals) + ["vehicle"] * len(vehicles)
    result = probes.train(model, prompts, labels, layers=[10, 20], position="mean", controls=2)
    assert result.to_frame()["accuracy"].max() >= 5 / 6
    erased = probes.erase(model, "The dog chased the", result, 20)
    assert erased.kl_nats > 0
    assert "' dog'" not in result.explain()
