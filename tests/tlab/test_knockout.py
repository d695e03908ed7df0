"""Knocking out edges of attention: against plain Hugging Face with those edges masked, and by the laws of patterns."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import oracle
import pytest
import torch
from torch.testing import assert_close

from tlab import metrics
from tlab.engine import Sweep, run
from tlab.errors import UnknownOption, UnknownTarget, UnusablePrompt
from tlab.experiments.attention_edges import edges_of, forbidden, heads_of, other_sources, positions_of
from tlab.experiments.knockout import Knockout, KnockoutSweep, knockout, knockout_sweep
from tlab.results import Result
from tlab.views import knockout as view

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedModel

    from tlab import Model
    from tlab.engine import Inputs

_PROMPT = "Ann saw Bob; he"
_METRIC = metrics.logit_diff("A", "B")
_EDGES = ((2, 7), (3, 7), (7, 7), (0, 11), (5, 9))
# The attention modules, each of which takes the mask by its name.
_ATTENTION = {
    "llama-grouped": "self_attn",
    "gpt2": "attn",
    "gpt-neox": "attention",
    "phi": "self_attn",
    "cohere": "self_attn",
    "gemma-2": "self_attn",
    "mistral": "self_attn",
    "opt": "self_attn",
    "gpt-oss": "self_attn",
}


def _masked(hf: PreTrainedModel, name: str, ids: Tensor, chosen: dict[int, tuple[int, ...]]) -> Tensor:
    """The logits of plain Hugging Face when the edges are masked in some heads of some layers."""

    def masking(heads: tuple[int, ...]) -> Callable[..., Any]:
        def hook(_module: Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:  # noqa: ANN401
            n_heads, n_pos = hf.config.num_attention_heads, ids.shape[1]
            mask = options["attention_mask"].expand(len(ids), n_heads, n_pos, n_pos).clone()
            for source, end in _EDGES:
                mask[:, list(heads), end, source] = torch.finfo(mask.dtype).min
            return arguments, {**options, "attention_mask": mask}

        return hook

    with ExitStack() as stack, torch.no_grad():
        for layer, heads in chosen.items():
            module = oracle.module_at(hf, name, layer, _ATTENTION[name])
            stack.callback(module.register_forward_pre_hook(masking(heads), with_kwargs=True).remove)
        return hf(ids).logits  # type: ignore[no-any-return]


@pytest.mark.parametrize("chosen", [{0: (0, 1, 2, 3), 2: (0, 1, 2, 3)}, {1: (1, 3)}], ids=["layers", "heads"])
@pytest.mark.parametrize("name", _ATTENTION)
def test_a_knockout_is_plain_hugging_face_with_the_edges_masked(
    name: str,
    chosen: dict[int, tuple[int, ...]],
    dissected: Callable[..., Model],
    untouched: Callable[..., PreTrainedModel],
    prompted: Callable[..., Inputs],
) -> None:
    model, ids = dissected(name), prompted(name, n_rows=1).ids
    variant = forbidden(_EDGES, chosen)
    expected = _masked(untouched(name), name, ids, chosen)
    found = run(model, ids, edits=variant.edits).logits
    assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert float((found - run(model, ids).logits).abs().max()) > 1e-2
    # The sweep starts at the first destination, with the keys and values of the positions before it.
    ((_, swept),) = Sweep(model, ids, [variant], read=(8, 11)).run(lambda logits: logits)
    assert_close(swept[0], expected[0, [8, 11]], rtol=1e-4, atol=1e-4)


def test_what_is_left_of_a_row_is_shared_out_again(
    specimen: str, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected(specimen), prompted(specimen, n_rows=1)
    edges = ((2, 4), (4, 4), (0, 7))
    site, n_heads = "blocks.1.attn.pattern", model.n_heads
    variant = forbidden(edges, {1: tuple(range(n_heads - 1))})
    plain = run(model, inputs, sites=[site]).captured[site][0]
    found = run(model, inputs, sites=[site], edits=variant.edits).captured[site][0]
    for source, end in edges:
        assert float(found[:-1, end, source].abs().max()) == 0.0
        left = plain[:-1, end].clone()
        left[:, [one for one, to in edges if to == end]] = 0.0
        if specimen != "gpt-oss":  # its heads may also attend to nothing at all, which takes part in the sharing
            left = left / left.sum(-1, keepdim=True)
            assert_close(found[:-1, end], left, rtol=1e-4, atol=1e-5)
    assert_close(found[-1], plain[-1])
    assert_close(found[:, :4], plain[:, :4])


def test_no_edges_change_nothing(llama: Model) -> None:
    found = knockout(llama, _PROMPT, [], metric=_METRIC)
    assert found.change == pytest.approx(0.0, abs=1e-5)
    assert found.edges == ()
    assert found.controls == {}
    assert "Nothing was knocked out" in found.explain()


@pytest.mark.parametrize("metric", [None, _METRIC, metrics.loss(), metrics.kl(), metrics.prob("A", position=-3)])
def test_the_metric_is_that_of_the_edited_run(metric: metrics.Metric | None, llama: Model) -> None:
    ids = llama.to_ids(_PROMPT)
    clean = run(llama, ids).logits
    measured = metric or metrics.prob(int(clean[0, -1].argmax()))
    reads = list(measured.reads(llama, ids))
    measure = measured.bind(llama, ids, clean[0, reads])
    variant = forbidden(((4, 9), (5, 9)), dict.fromkeys(range(3), (0, 1, 2, 3)))
    found = knockout(llama, _PROMPT, [(4, 9), (5, 9)], metric=metric, controls=0)
    assert found.clean_value == pytest.approx(float(measure(clean[:, reads])[0]), abs=1e-5)
    expected = float(measure(run(llama, ids, edits=variant.edits).logits[:, reads])[0])
    assert found.patched_value == pytest.approx(expected, abs=1e-5)
    pattern = [
        run(llama, ids, sites=[f"blocks.{i}.attn.pattern"]).captured[f"blocks.{i}.attn.pattern"] for i in range(3)
    ]
    assert found.removed == pytest.approx(float(torch.cat(pattern)[:, :, 9, 4:6].sum(-1).mean()), abs=1e-5)
    assert len(found.to_frame()) >= 6


@pytest.mark.parametrize("window", [1, 2, 3, 9])
def test_a_sweep_holds_what_each_window_gives(window: int, llama: Model) -> None:
    swept = knockout_sweep(
        llama, _PROMPT, source=[4, 5], destination=(9, -1), window=window, metric=_METRIC, controls=2
    )
    edges = [(source, end) for end in (9, 14) for source in (4, 5)]
    for layer in range(3):
        near = [one for one in range(3) if layer - (window - 1) // 2 <= one <= layer + window // 2]
        one = knockout(llama, _PROMPT, edges, layers=near, metric=_METRIC, controls=0)
        assert float(swept.values[layer]) == pytest.approx(one.patched_value, abs=1e-5)
        for sources, values in zip(swept.control_sources, swept.control_values, strict=True):
            other = [(source, end) for end in (9, 14) for source in sources]
            control = knockout(llama, _PROMPT, other, layers=near, metric=_METRIC, controls=0)
            assert float(values[layer]) == pytest.approx(control.patched_value, abs=1e-5)
    assert len(swept.control_sources) == 2
    assert swept.to_frame()["kind"].tolist() == ["knockout"] * 3 + ["control"] * 6


def test_controls_are_other_sources_that_the_destinations_can_read(llama: Model) -> None:
    assert other_sources(((4, 9), (5, 9)), 15, 4, 0) == other_sources(((4, 9), (5, 9)), 15, 4, 0)
    for choice in other_sources(((4, 9), (5, 9), (4, 12)), 15, 20, 1):
        sources = {source for source, _ in choice}
        assert [end for _, end in choice] == [9, 9, 12]
        assert len(sources) == 2
        assert sources <= {1, 2, 3, 6, 7, 8}
    assert len(other_sources(((1, 3),), 15, 5, 0)) == 1
    assert other_sources(((1, 2),), 15, 5, 0) == []
    alone = knockout_sweep(llama, "Ann", source=0, metric=_METRIC)
    assert len(alone.control_values) == 1
    assert "no other sources" in knockout_sweep(llama, "An", source=0, metric=_METRIC).explain()


def test_positions_are_read_from_numbers_and_from_tokens() -> None:
    tokens = ("The", " cat", " saw", " the", " cat")
    assert positions_of([" saw", -1, 0], tokens) == (0, 2, 4)
    assert positions_of("The", tokens) == (0,)
    assert edges_of([("The", -1), (0, 4)], tokens, is_causal=True) == ((0, 4),)
    assert edges_of([(4, 1)], tokens, is_causal=False) == ((4, 1),)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([("n", -1)], "position refused: expected a token that occurs once, got 'n' at 1, 2; give its position"),
        ([("Ann", -1)], r"position refused: expected a token of the prompt, got 'Ann'; it has \['A', 'n', 'n', ' '"),
        ([(3, 15)], "position refused: expected -15 to 14, or a token's text, got 15; the prompt has 15 tokens"),
        ([(True, 4)], "position refused"),
        ([(7, 3)], "edge refused: expected a source at or before the destination 3, got 7"),
        ([3], r"edge refused: expected a pair \(source, destination\), got 3"),
        ("An", r"edge refused: expected a pair \(source, destination\), got 'An'"),
        (
            [(0, 1), (1, 1)],
            "edges refused: expected at least one source left for each destination, got none at position 1",
        ),
    ],
)
def test_edges_that_cannot_be_are_refused(edges: Any, message: str, llama: Model) -> None:  # noqa: ANN401
    with pytest.raises(UnknownOption, match=message):
        knockout(llama, _PROMPT, edges, metric=_METRIC)


def test_what_a_window_hides_already_does_not_count_as_left(dissected: Callable[..., Model]) -> None:
    model = dissected("mistral")
    within = [(source, 9) for source in range(5, 10)]
    with pytest.raises(UnknownOption, match="edges refused: expected at least one source left"):
        knockout(model, _PROMPT, within, metric=_METRIC, controls=0)
    assert knockout(model, _PROMPT, within[1:], metric=_METRIC, controls=0).removed > 0.5
    assert run(model, model.to_ids(_PROMPT)).logits.isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": []}, "layers refused: expected at least one, got \\[\\]; leave it out"),
        ({"heads": []}, "heads refused: expected at least one, got \\[\\]; leave it out"),
        ({"layers": [0], "heads": ["L0H0"]}, "heads refused: expected heads or layers, got both"),
        ({"heads": ["L0.mlp"]}, "head refused: expected a name such as 'L3H4', got 'L0.mlp'"),
        ({"controls": 1.5}, "controls refused"),
        ({"metric": "loss"}, "metric refused"),
    ],
)
def test_unknown_options_are_refused(options: dict[str, Any], message: str, llama: Model) -> None:
    with pytest.raises(UnknownOption, match=message):
        knockout(llama, _PROMPT, [(2, -1)], **options)


def test_unknown_heads_windows_and_second_stacks_are_refused(llama: Model, dissected: Callable[..., Model]) -> None:
    with pytest.raises(UnknownTarget, match="layer refused: expected a whole number from 0 to 2, got 3"):
        knockout(llama, _PROMPT, [(2, -1)], layers=[3])
    with pytest.raises(UnknownTarget, match="target outside the model"):
        knockout(llama, _PROMPT, [(2, -1)], heads=["L0H7"])
    with pytest.raises(UnknownOption, match="window refused: expected a whole number of layers from 1 on, got 0"):
        knockout_sweep(llama, _PROMPT, source=2, window=0)
    with pytest.raises(UnknownOption, match="position refused: expected at least one, got none"):
        knockout_sweep(llama, _PROMPT, source=[])
    with pytest.raises(UnusablePrompt, match="expected a model with one stack"):
        knockout(dissected("t5"), _PROMPT, [(2, -1)])


def test_heads_are_chosen_by_layer_and_by_name(llama: Model) -> None:
    assert heads_of(llama, None, ["L2H3", "L0H1", "L2H0"]) == {0: (1,), 2: (0, 3)}
    assert heads_of(llama, (2, 1), None) == {1: (0, 1, 2, 3), 2: (0, 1, 2, 3)}
    by_name = knockout(llama, _PROMPT, [(2, -1)], heads=[f"L1H{head}" for head in range(4)], metric=_METRIC, controls=0)
    by_layer = knockout(llama, _PROMPT, [(2, -1)], layers=[1], metric=_METRIC, controls=0)
    assert by_name.patched_value == pytest.approx(by_layer.patched_value, abs=1e-6)
    assert "in heads L1H0, L1H1, L1H2, L1H3" in by_name.explain()
    assert "in layer 1," in by_layer.explain()


def test_an_encoder_may_be_kept_from_reading_what_comes_later(dissected: Callable[..., Model]) -> None:
    found = knockout(dissected("bert"), _PROMPT, [(9, 4)], metric=metrics.logit_diff("A", "B", position=-1), controls=0)
    assert found.edges == ((9, 4),)
    assert abs(found.change) > 1e-4


def test_saved_knockouts_come_back_and_can_be_done_again(llama: Model, tmp_path: Path) -> None:
    one = knockout(llama, _PROMPT, [(2, -1), (";", -1)], layers=(1, 2))
    loaded = Result.load(one.save(tmp_path / "knockout.zip"))
    assert isinstance(loaded, Knockout)
    assert loaded.explain() == one.explain()
    again = loaded.replay(llama)
    assert isinstance(again, Knockout)
    assert again.patched_value == pytest.approx(one.patched_value, abs=1e-6)
    swept = knockout_sweep(llama, _PROMPT, source=";", window=2)
    back = Result.load(swept.save(tmp_path / "sweep.zip"))
    assert isinstance(back, KnockoutSweep)
    assert back.explain() == swept.explain()
    redone = back.replay(llama)
    assert isinstance(redone, KnockoutSweep)
    assert_close(redone.values, swept.values)


def test_the_pictures_show_the_numbers(llama: Model) -> None:
    one = knockout(llama, _PROMPT, [(2, -1)])
    bars = view.draw(one).data
    assert [bar.name for bar in bars] == ["clean", "patched"]
    assert bars[1].x[0] == pytest.approx(float(one.to_frame()["patched"][0]), abs=1e-3)
    swept = knockout_sweep(llama, _PROMPT, source=2, controls=2)
    lines = view.draw_sweep(swept).data
    assert len(lines) == 3
    assert list(lines[-1].y) == pytest.approx(swept.values.tolist(), abs=1e-3)


@pytest.mark.slow
def test_on_a_trained_model_the_answer_is_read_from_france_in_layer_23(model: Model) -> None:
    prompt = "The capital of France is"
    swept = knockout_sweep(model, prompt, source=" France", window=1)
    assert int((swept.values - swept.clean_value).abs().argmax()) == 23
    head = knockout(model, prompt, [(" France", -1)], heads=["L23H4"])
    assert head.removed > 0.85
    assert head.patched_value < head.clean_value / 3
    assert all(abs(value - head.clean_value) < 0.05 for value in head.controls.values())
