"""What an experiment measures, beside plain Hugging Face's hooks: where it reads, on whose tokens, and how exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import oracle
import pytest
import torch

import tlab
from tlab import circuits, metrics
from tlab.errors import UnequalPrompts, UnknownOption, UnusablePrompt

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from transformers import PreTrainedModel

    from tlab import Model

_MASKED, _OTHER = "the [MASK] is", "one [MASK] is"
_ENCODERS = ("bert", "roberta")


@pytest.fixture(params=_ENCODERS)
def masked(
    request: pytest.FixtureRequest, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> tuple[str, Model, PreTrainedModel]:
    """Return an encoder that fills masks, by tlab and by Hugging Face alone."""
    return request.param, dissected(request.param), untouched(request.param)


def _at_mask(model: Model, logits: Tensor, text: str) -> Tensor:
    ids = model.to_ids(text)
    place = int((ids == model.tokenizer.mask_token_id).nonzero()[0])
    assert 0 < place < len(ids) - 1
    return logits[0, place]


def test_an_ablated_encoder_is_read_at_its_mask(masked: tuple[str, Model, PreTrainedModel]) -> None:
    name, model, hf = masked
    ids = model.to_ids(_MASKED)[None]
    clean = _at_mask(model, oracle.logits(hf, ids), _MASKED).softmax(-1)
    patched = _at_mask(model, oracle.ablate_head(hf, name, ids, 0, 1), _MASKED).softmax(-1)
    assert abs(float(clean[40] - patched[40])) > 1e-5
    result = tlab.ablate(model, _MASKED, "L0H1", token=40, controls=0, compare_methods=False)
    assert result.clean_probability == pytest.approx(float(clean[40]), rel=1e-3)
    assert result.patched_probability == pytest.approx(float(patched[40]), rel=1e-3)
    default = tlab.ablate(model, _MASKED, "L0H1", controls=0, compare_methods=False)
    assert default.token == tlab.predict(model, _MASKED, k=1).token
    swept = tlab.ablation_sweep(model, _MASKED, over="heads", method="zero", metric=metrics.prob(40))
    assert swept.clean_value == pytest.approx(float(clean[40]), rel=1e-3)
    assert float(swept.values[0, 1]) == pytest.approx(float(patched[40]), rel=1e-3)
    answer = tlab.ablation_sweep(model, _MASKED, over="mlp")
    assert answer.clean_value == pytest.approx(float(clean.max()), rel=1e-3)


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_a_patched_encoder_is_read_at_its_mask(masked: tuple[str, Model, PreTrainedModel], direction: str) -> None:
    name, model, hf = masked
    texts = (_MASKED, _OTHER)
    runs = [oracle.logits(hf, model.to_ids(text)[None]) for text in texts]
    base, source = (1, 0) if direction == "denoise" else (0, 1)
    given = oracle.contribution(hf, name, model.to_ids(texts[source])[None], 1, "mlp")
    edited = oracle.replaced(hf, name, model.to_ids(texts[base])[None], 1, "mlp", by=lambda _: given)
    expected = [float(_at_mask(model, logits, _MASKED)[40]) for logits in (*runs, edited)]
    metric = metrics.logit(40)
    found = tlab.patch(model, *texts, "L1.mlp", metric=metric, direction=direction, controls=0)
    values = [found.clean_value, found.corrupted_value, found.patched_value]
    assert values == pytest.approx(expected, abs=1e-3)
    for verb in (tlab.patch_sweep, tlab.attribution_patch_sweep):
        swept = verb(model, *texts, over="mlp_out", metric=metric, direction=direction)
        assert [swept.clean_value, swept.corrupted_value] == pytest.approx(expected[:2], abs=1e-3)
    answers = [tlab.predict(model, text, k=1).token for text in texts]
    assert all(repr(answer) in tlab.patch(model, *texts, "L0H0", controls=0).metric for answer in answers)


def test_edges_of_an_encoder_are_cut_for_its_mask(masked: tuple[str, Model, PreTrainedModel]) -> None:
    _, model, hf = masked
    clean = _at_mask(model, oracle.logits(hf, model.to_ids(_MASKED)[None]), _MASKED).softmax(-1)
    found = tlab.knockout(model, _MASKED, [(1, 5)], controls=0)
    swept = tlab.knockout_sweep(model, _MASKED, source=1, destination=5, controls=0)
    for result in (found, swept):
        assert result.clean_value == pytest.approx(float(clean.max()), rel=1e-3)
        assert repr(tlab.predict(model, _MASKED, k=1).token) in result.metric
    assert float(found.frame["clean"].max()) == pytest.approx(float(clean.max()), rel=1e-3)


def test_paths_and_circuits_of_an_encoder_end_at_its_mask(
    dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    model, hf = dissected("modernbert"), untouched("modernbert")
    expected = [
        float(_at_mask(model, oracle.logits(hf, model.to_ids(text)[None]), _MASKED)[40]) for text in (_MASKED, _OTHER)
    ]
    metric = metrics.logit(40)
    one = tlab.path_patch(model, _MASKED, _OTHER, "L0H1", "logits", metric=metric, controls=0)
    many = tlab.path_patch_sweep(model, _MASKED, _OTHER, "logits", metric=metric)
    for result in (one, many):
        assert [result.clean_value, result.corrupted_value] == pytest.approx(expected, abs=1e-3)
    task = circuits.task.task_of(model, _MASKED, _OTHER, metric)
    assert [float(task.clean_values), float(task.corrupted_values)] == pytest.approx(expected, abs=1e-3)


def test_an_explicit_position_is_kept(masked: tuple[str, Model, PreTrainedModel]) -> None:
    _, model, hf = masked
    text = "no mask here"
    logits = oracle.logits(hf, model.to_ids(text)[None])[0]
    swept = tlab.ablation_sweep(model, text, over="mlp", metric=metrics.logit(40, position=-2))
    assert swept.clean_value == pytest.approx(float(logits[-2, 40]), abs=1e-3)
    assert metrics.prob(40, position=-1).reads(model, model.to_ids(_MASKED)) == (len(model.to_ids(_MASKED)) - 1,)


@pytest.mark.parametrize(
    "call",
    [
        lambda m: tlab.ablate(m, "no mask", "L0H1"),
        lambda m: tlab.ablation_sweep(m, "no mask"),
        lambda m: tlab.patch(m, "no mask", "or mask", "L0H1"),
        lambda m: tlab.patch_sweep(m, "no mask", "or mask", metric=metrics.logit(40)),
        lambda m: tlab.attribution_patch_sweep(m, "no mask", "or mask"),
        lambda m: tlab.knockout(m, "no mask", [(1, 3)]),
        lambda m: tlab.knockout_sweep(m, "no mask", source=1, destination=3),
    ],
)
def test_an_encoder_without_a_mask_is_refused_as_by_predict(
    dissected: Callable[..., Model], call: Callable[[Model], object]
) -> None:
    with pytest.raises(UnusablePrompt, match=r"expected a text with \[MASK\], whose place the encoder fills, got none"):
        call(dissected("bert"))


def test_what_an_encoder_cannot_be_asked_is_refused(dissected: Callable[..., Model]) -> None:
    model = dissected("bert")
    with pytest.raises(UnknownOption, match=r"expected one that an encoder has, got loss\(\)"):
        tlab.ablation_sweep(model, _MASKED, metric=metrics.loss())
    with pytest.raises(UnequalPrompts, match=r"expected the encoder's mask at the same position in both, got 2 and 1"):
        tlab.patch(model, "a[MASK]", "[MASK]a", "L0H1")
    with pytest.raises(UnknownOption, match=r"position refused: expected a whole number, got '3'"):
        metrics.prob(40, position="3").reads(model, torch.arange(9))  # type: ignore[arg-type]


_CLEAN, _CORRUPTED = "one and two", "one or three"[:11]
_LOSS = metrics.loss()


def _loss(logits: Tensor, ids: Tensor) -> float:
    return float(torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:]))


@pytest.mark.parametrize("name", ["gpt2", "llama-grouped"])
@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_every_run_has_its_loss_on_its_own_tokens(
    name: str, direction: str, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    model, hf = dissected(name), untouched(name)
    ids = [model.to_ids(text)[None] for text in (_CLEAN, _CORRUPTED)]
    with torch.no_grad():
        own = [float(hf(one, labels=one).loss) for one in ids]
    base, source = (1, 0) if direction == "denoise" else (0, 1)
    given = oracle.contribution(hf, name, ids[source], 1, "mlp")
    patched = _loss(oracle.replaced(hf, name, ids[base], 1, "mlp", by=lambda _: given), ids[base])
    assert abs(patched - own[base]) > 1e-3

    texts, asked = (_CLEAN, _CORRUPTED), {"metric": _LOSS, "direction": direction}
    one = tlab.patch(model, *texts, "L1.mlp", controls=0, **asked)
    assert one.patched_value == pytest.approx(patched, abs=1e-4)
    path = tlab.path_patch(model, *texts, "L1.mlp", ["L2.mlp", "logits", "L2H0", "L2H1", "L2H2", "L2H3"], **asked)
    assert path.whole_value == pytest.approx(patched, abs=1e-4)
    swept = tlab.patch_sweep(model, *texts, over="mlp_out", **asked)
    guessed = tlab.attribution_patch_sweep(model, *texts, over="resid_pre", **asked)
    paths = tlab.path_patch_sweep(model, *texts, "logits", **asked)
    for result in (one, path, swept, guessed, paths):
        assert [result.clean_value, result.corrupted_value] == pytest.approx(own, abs=1e-4)
    assert "100 %" not in guessed.explain()
    at_end = oracle.contribution(hf, name, ids[source], 2, "mlp")[:, 9]

    def exchanged(out: Tensor) -> Tensor:
        return torch.cat([out[:, :9], at_end[:, None], out[:, 10:]], dim=1)

    by_hand = _loss(oracle.replaced(hf, name, ids[base], 2, "mlp", by=exchanged), ids[base])
    assert float(swept.values[2, 9]) == pytest.approx(by_hand, abs=1e-4)


def test_cut_edges_have_the_loss_of_the_prompt(llama: Model) -> None:
    ids = llama.to_ids(_CLEAN)[None]
    with torch.no_grad():
        own = float(llama.hf(ids, labels=ids).loss)
    assert tlab.knockout(llama, _CLEAN, [(2, -2)], metric=_LOSS).clean_value == pytest.approx(own, abs=1e-4)
