"""A model in float64 gives float64's numbers: every verb is plain Hugging Face's to a billionth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import oracle
import pytest
import torch

import tlab
from tlab import circuits, metrics
from tlab.engine import run
from tlab.precision import precise

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from transformers import PreTrainedModel

    from tlab import Model

_CLEAN, _CORRUPTED = "one and two", "one or three"[:11]
_CLOSE = 1e-9
_METRIC = metrics.logit_diff("a", "b")


class _Double:
    """One architecture in float64, by tlab and by Hugging Face alone, and two prompts."""

    def __init__(self, name: str, model: Model, hf: PreTrainedModel) -> None:
        self.name, self.model, self.hf = name, model, hf
        self.clean, self.corrupted = (model.to_ids(text)[None] for text in (_CLEAN, _CORRUPTED))
        self.ids = [model.to_id(token) for token in ("a", "b")]

    def difference(self, logits: Tensor) -> float:
        """Return the metric by hand."""
        return float(logits[0, -1, self.ids[0]] - logits[0, -1, self.ids[1]])

    def plain(self, ids: Tensor) -> Tensor:
        """Return plain logits."""
        return oracle.logits(self.hf, ids)


@pytest.fixture(params=["gpt2", "llama-grouped"])
def double(
    request: pytest.FixtureRequest, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> _Double:
    """Return a model in float64."""
    name = request.param
    return _Double(name, dissected(name, torch.float64), untouched(name, torch.float64))


def _near(expected: object) -> object:
    return pytest.approx(expected, rel=0, abs=_CLOSE)


def test_a_prediction_is_exact(double: _Double) -> None:
    logits = double.plain(double.clean)[0, -1]
    top = logits.softmax(-1).topk(5)
    found = tlab.predict(double.model, _CLEAN, k=5).frame
    assert found["probability"].tolist() == _near(top.values.tolist())
    assert found["logit"].tolist() == _near(logits[top.indices].tolist())


def test_a_lens_is_exact(double: _Double) -> None:
    norm, head = {
        "gpt2": lambda hf: (hf.transformer.ln_f, hf.lm_head),
        "llama-grouped": lambda hf: (hf.model.norm, hf.lm_head),
    }[double.name](double.hf)
    answer = int(double.plain(double.clean)[0, -1].argmax())
    frame = tlab.logit_lens(double.model, _CLEAN).frame
    for layer in range(double.model.n_layers):
        with torch.no_grad():
            pre, _ = oracle.residuals(double.hf, double.name, double.clean, layer)
            expected = head(norm(pre))[0].softmax(-1)
        rows = frame[frame["layer"] == layer]
        assert rows["target_probability"].tolist() == _near(expected[:, answer].tolist())
        assert rows["probability"].tolist() == _near(expected.max(-1).values.tolist())


def test_an_attribution_is_exact(double: _Double) -> None:
    found = tlab.attribute(double.model, _CLEAN, "a", against="b")
    assert found.model_value == _near(double.difference(double.plain(double.clean)))
    # Llama's norm rounds to float32 in Hugging Face's own code, which the sum over the parts does not.
    assert found.total == pytest.approx(found.model_value, rel=0, abs=_CLOSE if double.name == "gpt2" else 1e-6)


def test_an_ablation_and_its_sweep_are_exact(double: _Double) -> None:
    clean = double.plain(double.clean)
    patched = oracle.ablate_head(double.hf, double.name, double.clean, 1, 2)
    token = double.ids[0]
    one = tlab.ablate(double.model, _CLEAN, "L1H2", token=token, controls=0, compare_methods=False)
    before, after = clean[0, -1], patched[0, -1]
    expected = [before.softmax(-1)[token], after.softmax(-1)[token], before[token], after[token]]
    found = [one.clean_probability, one.patched_probability, one.clean_logit, one.patched_logit]
    assert found == _near([float(value) for value in expected])
    kl = before.softmax(-1) * (before.log_softmax(-1) - after.log_softmax(-1))
    assert one.kl_nats == _near(float(kl.sum()))
    for metric, value in (
        (_METRIC, double.difference(patched)),
        (metrics.logit(token), float(after[token])),
        (metrics.prob(token), float(after.softmax(-1)[token])),
        (metrics.kl(), float(kl.sum())),
        (metrics.loss(), float(torch.nn.functional.cross_entropy(patched[0, :-1], double.clean[0, 1:]))),
    ):
        swept = tlab.ablation_sweep(double.model, _CLEAN, over="heads", method="zero", metric=metric)
        assert swept.values.dtype == torch.float64
        assert float(swept.values[1, 2]) == _near(value)


def test_a_patch_and_its_sweep_are_exact(double: _Double) -> None:
    model, hf, name = double.model, double.hf, double.name
    given = oracle.contribution(hf, name, double.clean, 1, "mlp")
    patched = oracle.replaced(hf, name, double.corrupted, 1, "mlp", by=lambda _: given)
    plain = [double.difference(double.plain(ids)) for ids in (double.clean, double.corrupted)]
    one = tlab.patch(model, _CLEAN, _CORRUPTED, "L1.mlp", metric=_METRIC, controls=0)
    values = [one.clean_value, one.corrupted_value, one.patched_value]
    assert values == _near([*plain, double.difference(patched)])
    clean, other, edited = (
        logits[0, -1].softmax(-1) for logits in (double.plain(double.clean), double.plain(double.corrupted), patched)
    )
    for column, expected in (("clean", clean), ("corrupted", other), ("patched", edited)):
        assert one.frame[column].max() == _near(float(expected.max()))

    swept = tlab.patch_sweep(model, _CLEAN, _CORRUPTED, over="mlp_out", metric=_METRIC)
    assert [swept.clean_value, swept.corrupted_value] == _near(plain)
    at = oracle.replaced(
        hf, name, double.corrupted, 1, "mlp", by=lambda out: torch.cat([out[:, :9], given[:, 9:10], out[:, 10:]], 1)
    )
    assert float(swept.values[1, 9]) == _near(double.difference(at))
    # Past the last MLP there is one more norm; a guess has the base run's slope there, not the patch's value.
    guessed = tlab.attribution_patch_sweep(model, _CLEAN, _CORRUPTED, over="mlp_out", metric=_METRIC)
    assert guessed.values.dtype == torch.float64
    assert [guessed.clean_value, guessed.corrupted_value] == _near(plain)


def test_a_path_is_exact(double: _Double) -> None:
    model, hf, name = double.model, double.hf, double.name
    here, there = (oracle.contribution(hf, name, ids, 1, "mlp") for ids in (double.clean, double.corrupted))
    # The path to the logits alone is one more addition to what the last block's MLP writes.
    expected = double.difference(oracle.replaced(hf, name, double.clean, 2, "mlp", by=lambda out: out + there - here))
    one = tlab.path_patch(model, _CLEAN, _CORRUPTED, "L1.mlp", "logits", metric=_METRIC, controls=0)
    assert one.patched_value == _near(expected)
    many = tlab.path_patch_sweep(model, _CLEAN, _CORRUPTED, "logits", metric=_METRIC)
    assert many.values.dtype == torch.float64
    assert float(many.values[1, -1]) == _near(expected)


def test_a_knockout_is_exact(double: _Double) -> None:
    # Kept from reading all but itself, the last position gets of every head its own value.
    last = len(double.clean[0]) - 1
    found = tlab.knockout(
        double.model, _CLEAN, [(source, last) for source in range(last)], layers=[1], metric=_METRIC, controls=0
    )
    v = run(double.model, double.clean[0], sites=["blocks.1.attn.v"]).captured["blocks.1.attn.v"][0, last]
    merged = v.repeat_interleave(double.model.n_heads // len(v), 0).flatten()
    where = oracle.paths(double.name)
    module = oracle.module_at(double.hf, double.name, 1, where.attn_proj or where.attn)
    handle = module.register_forward_pre_hook(
        lambda _, given: (torch.cat([given[0][:, :last], merged.expand(1, 1, -1)], 1),)
    )
    try:
        expected = double.difference(double.plain(double.clean))
    finally:
        handle.remove()
    assert found.patched_value == _near(expected)
    assert abs(found.change) > 1e-3
    swept = tlab.knockout_sweep(
        double.model, _CLEAN, source=list(range(last)), destination=last, window=1, metric=_METRIC, controls=0
    )
    assert float(swept.values[1]) == _near(expected)


def test_a_circuits_values_are_exact(double: _Double) -> None:
    task = circuits.task.task_of(double.model, _CLEAN, _CORRUPTED, _METRIC)
    expected = [double.difference(double.plain(ids)) for ids in (double.clean, double.corrupted)]
    assert [float(task.clean_values), float(task.corrupted_values)] == _near(expected)


def test_differences_are_taken_after_widening() -> None:
    # In bfloat16 the difference itself would be rounded to eight bits.
    row = torch.tensor([[[100.0, -0.3359375]]], dtype=torch.bfloat16)
    assert precise(row).dtype == torch.float32
    assert precise(row.double()).dtype == torch.float64
    ends = torch.tensor([0, 1])

    class _Ids:
        def to_id(self, token: int) -> int:
            return token

    measure = metrics.logit_diff(0, 1).bind(_Ids(), ends)  # type: ignore[arg-type]
    assert float(measure(row)) == 100.3359375
