"""`ablation_sweep` and the controls of `ablate`: the map is what single ablations give, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

import tlab
from tlab import metrics
from tlab.errors import UnknownOption

if TYPE_CHECKING:
    from tlab import Model

PROMPT = "The capital"
NAMES = {"heads": "L{}H{}", "attn": "L{}.attn", "mlp": "L{}.mlp", "layers": "L{}"}


@pytest.mark.parametrize("method", ["zero", "mean", "resample"])
@pytest.mark.parametrize("over", NAMES)
def test_every_cell_is_one_ablation(tiny: Model, over: str, method: str) -> None:
    reference = ("one two", "three", "four five six")
    swept = tlab.ablation_sweep(tiny, PROMPT, over=over, method=method, reference=reference, metric=metrics.logit("e"))
    assert swept.is_complete
    for layer, head in [(0, 0), (1, swept.values.shape[1] - 1), (2, 0)]:
        target = NAMES[over].format(layer, head)
        alone = tlab.ablate(tiny, PROMPT, target, method=method, reference=reference, token="e", controls=0)  # noqa: S106
        torch.testing.assert_close(float(swept.values[layer, head]), alone.patched_logit, rtol=0, atol=1e-4)
        torch.testing.assert_close(swept.clean_value, alone.clean_logit, rtol=0, atol=1e-4)


def test_the_table_names_every_part_once(llama: Model) -> None:
    frame = tlab.ablation_sweep(llama, PROMPT, over="heads").to_frame()
    assert frame["part"].tolist() == [f"L{layer}H{head}" for layer in range(3) for head in range(4)]
    assert (frame["change"].abs() > 0).all()


def test_the_default_metric_is_the_answers_probability(llama: Model) -> None:
    answer = tlab.predict(llama, PROMPT, k=1)
    swept = tlab.ablation_sweep(llama, PROMPT, over="mlp")
    torch.testing.assert_close(swept.clean_value, answer.probability, rtol=1e-4, atol=0)
    assert repr(answer.token) in swept.metric


@pytest.mark.parametrize(
    "metric", [metrics.prob("a"), metrics.logit("a"), metrics.logit_diff("a", 98), metrics.kl(), metrics.loss()]
)
def test_every_metric_can_be_swept(llama: Model, metric: metrics.Metric) -> None:
    swept = tlab.ablation_sweep(llama, PROMPT, over="attn", metric=metric)
    assert bool(swept.values.isfinite().all())
    assert metric.label in swept.explain()
    assert float(swept.changes.abs().max()) > 0


def test_the_loss_is_that_of_hugging_face(llama: Model) -> None:
    swept = tlab.ablation_sweep(llama, PROMPT, over="attn", metric=metrics.loss())
    ids = llama.to_ids(PROMPT)[None]
    with torch.no_grad():
        expected = llama.hf(ids, labels=ids).loss
    torch.testing.assert_close(swept.clean_value, float(expected), rtol=1e-4, atol=0)


def test_the_divergence_of_the_clean_run_from_itself_is_zero(llama: Model) -> None:
    assert tlab.ablation_sweep(llama, PROMPT, over="mlp", metric=metrics.kl()).clean_value == pytest.approx(0, abs=1e-6)


def test_methods_and_controls_stand_beside_an_ablation(llama: Model) -> None:
    result = tlab.ablate(llama, PROMPT, "L1H2", method="mean", controls=3, seed=5)
    assert set(result.by_method) == {"zero", "mean", "resample"}
    assert result.by_method["mean"] == pytest.approx(result.patched_probability)
    for method, probability in result.by_method.items():
        alone = tlab.ablate(llama, PROMPT, "L1H2", method=method, controls=0, compare_methods=False, seed=5)
        assert alone.patched_probability == pytest.approx(probability, abs=1e-6)
        assert alone.controls == {}
    assert len(result.controls) == 3
    for name, probability in result.controls.items():
        assert name != "L1H2"
        alone = tlab.ablate(llama, PROMPT, name, method="mean", controls=0, compare_methods=False, token=result.token)
        assert alone.patched_probability == pytest.approx(probability, abs=1e-6)
    assert "3 random choices" in result.explain()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"over": "neurons"}, "over refused: expected one of heads, attn, mlp, layers, got 'neurons'"),
        ({"method": "noise"}, "method refused: expected one of zero, mean, resample, got 'noise'"),
        ({"metric": 3}, "metric refused: expected one of tlab.metrics, got 3"),
        ({"metric": metrics.prob("a", position=40)}, "position refused: expected -11 to 10, got 40"),
    ],
)
def test_bad_input_gets_one_clear_sentence(llama: Model, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UnknownOption, match=message):
        tlab.ablation_sweep(llama, PROMPT, **arguments)


@pytest.mark.slow
def test_head_4_of_layer_23_costs_paris_most(model: Model) -> None:
    swept = tlab.ablation_sweep(model, "The capital of France is", over="heads")
    layer, head = divmod(int(swept.changes.argmin()), model.n_heads)
    assert (layer, head) == (23, 4)
    assert float(swept.changes[23, 4]) < -0.5
