"""Circuits: against brute force on plain Hugging Face, between their two ends, and by what their measures must hold."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import frozen
import pytest
import torch
from torch.testing import assert_close

from tlab import circuits, metrics
from tlab.circuits.graph import Graph, graph_of
from tlab.circuits.recovery import Faithfulness
from tlab.circuits.running import Runner
from tlab.circuits.scoring import edge_scores
from tlab.circuits.task import task_of
from tlab.engine import run
from tlab.errors import UnequalPrompts, UnknownOption, UnusablePrompt
from tlab.results import Result
from tlab.views import circuits as view

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from tlab import Model

_CLEAN, _CORRUPTED = "Ann saw Bob; Bob", "Ann saw Bob; Ann"
_CLEANS, _CORRUPTEDS = (_CLEAN, "Tim met Sue; Sue"), (_CORRUPTED, "Tim met Sue; Tim")
_METRIC = metrics.logit_diff("A", "B")
_NO_SUM = {"bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert", "opt-post-norm"}
_NO_SUM |= {"bloom-residual-after-norm"}
_IOI = (
    (
        "When Mary and John went to the store, John gave a drink to",
        "When Anna and Paul met at the bar, Paul gave a ring to",
    ),
    (
        "When Mary and John went to the store, Mary gave a drink to",
        "When Anna and Paul met at the bar, Anna gave a ring to",
    ),
)


@pytest.fixture(scope="module")
def found(llama: Model) -> circuits.Circuit:
    """A circuit of the small model."""
    return circuits.discover(llama, _CLEAN, _CORRUPTED, metric=_METRIC, n_edges=60, steps=2)


def _random_edges(graph: Graph, seed: int, density: float) -> Tensor:
    dice = torch.Generator().manual_seed(seed)
    return graph.possible & (torch.rand(graph.possible.shape, generator=dice) < density)


def _named(graph: Graph, edges: Tensor) -> set[tuple[str, str]]:
    return {(graph.writers[writer], graph.readers[reader]) for writer, reader in edges.nonzero().tolist()}


@pytest.mark.parametrize(("seed", "density"), [(0, 0.5), (1, 0.9)])
@pytest.mark.parametrize("name", frozen.WIRINGS)
def test_a_circuit_gives_what_plain_hugging_face_gives_with_every_input_told_apart(
    name: str, seed: int, density: float, dissected: Callable[..., Model]
) -> None:
    model, hf = dissected(name, torch.float64), frozen.plain(name)
    graph, task = graph_of(model), task_of(model, _CLEAN, _CORRUPTED, _METRIC)
    edges = _random_edges(graph, seed, density)
    result = Runner(model, graph, task).logits(edges)[:, 0]
    expected = frozen.circuit_logits(hf, name, task.clean, task.corrupted, _named(graph, edges))[:, -1]
    assert_close(result, expected, rtol=1e-5, atol=1e-6)
    for ids in (task.clean, task.corrupted):
        assert float((result - run(model, ids).logits[:, -1]).abs().max()) > 1e-3


def test_all_edges_are_the_clean_run_and_none_the_corrupted_one(specimen: str, dissected: Callable[..., Model]) -> None:
    model = dissected(specimen)
    if specimen in _NO_SUM:
        with pytest.raises(UnknownOption, match="model refused: expected one whose stream is the sum"):
            task_of(model, _CLEAN, _CORRUPTED, _METRIC)
        return
    if model.family == "encoder-decoder":
        with pytest.raises(UnusablePrompt, match="expected a model with one stack"):
            task_of(model, _CLEAN, _CORRUPTED, _METRIC)
        return
    # These prompts hold no mask, where an encoder would answer.
    metric = dataclasses.replace(_METRIC, position=-1)
    graph, task = graph_of(model), task_of(model, _CLEANS, _CORRUPTEDS, metric)
    runner, position = Runner(model, graph, task), list(task.reads)
    clean, corrupted = (run(model, ids).logits[:, position] for ids in (task.clean, task.corrupted))
    assert float((clean - corrupted).abs().max()) > 1e-3
    assert_close(runner.logits(graph.possible), clean, rtol=1e-3, atol=1e-4)
    assert_close(runner.logits(torch.zeros_like(graph.possible)), corrupted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["phi", "opt", "starcoder2", "llama-grouped", "granite"])
def test_a_score_is_the_slope_along_its_edge_in_plain_hugging_face(name: str, dissected: Callable[..., Model]) -> None:
    model, hf = dissected(name, torch.float64), frozen.plain(name)
    graph, task = graph_of(model), task_of(model, _CLEAN, _CORRUPTED, _METRIC)
    scores = edge_scores(model, graph, task, steps=1)
    ids = [model.to_id(token) for token in ("A", "B")]
    for writer, reader in (
        ("embed", "L0H1.k"),
        ("embed", "L1.mlp"),
        ("L0H2", "L1H3.q"),
        ("L0H2", "L2H1.v"),
        ("L0.mlp", "L1H0.k"),
        ("L1.mlp", "L2.mlp"),
        ("L1H2", "logits"),
    ):
        expected = frozen.edge_slope(
            hf,
            name,
            task.clean,
            task.corrupted,
            edge=(writer, reader),
            measure=lambda logits: logits[0, -1, ids[0]] - logits[0, -1, ids[1]],
            step=1e-3,
        )
        score = float(scores[graph.writers.index(writer), graph.readers.index(reader)])
        assert score == pytest.approx(expected, rel=0.02, abs=2e-4), (writer, reader)


@pytest.mark.parametrize("name", ["llama-grouped", "gemma-2", "cohere"])
def test_with_many_steps_the_scores_out_of_the_embedding_are_what_ablating_its_edges_costs_together(
    name: str, dissected: Callable[..., Model]
) -> None:
    model = dissected(name)
    graph, task = graph_of(model), task_of(model, _CLEAN, _CORRUPTED, _METRIC)
    gap = float(task.clean_values - task.corrupted_values)
    errors = [abs(float(edge_scores(model, graph, task, steps=steps)[0].sum()) - gap) for steps in (1, 32)]
    # All that differs between the runs comes in through the embedding.
    assert errors[1] < 0.02 * abs(gap)
    assert errors[1] < errors[0]


def test_several_pairs_are_each_run_as_if_alone(llama: Model) -> None:
    graph = graph_of(llama)
    edges = _random_edges(graph, 3, 0.6)
    both = task_of(llama, _CLEANS, _CORRUPTEDS, _METRIC)
    together = Runner(llama, graph, both).values(edges)
    scores = edge_scores(llama, graph, both, steps=2)
    alone = [task_of(llama, *pair, _METRIC) for pair in zip(_CLEANS, _CORRUPTEDS, strict=True)]
    assert_close(together, torch.cat([Runner(llama, graph, one).values(edges) for one in alone]), rtol=1e-4, atol=1e-5)
    apart = torch.stack([edge_scores(llama, graph, one, steps=2) for one in alone]).mean(0)
    assert_close(scores, apart, rtol=1e-4, atol=1e-6)
    assert float((together[0] - together[1]).abs()) > 1e-3


def test_pairs_that_do_not_fit_at_once_are_run_one_after_the_other(
    llama: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, task = graph_of(llama), task_of(llama, _CLEANS, _CORRUPTEDS, _METRIC)
    edges = _random_edges(graph, 3, 0.6)
    expected = Runner(llama, graph, task).values(edges)
    monkeypatch.setattr("tlab.circuits.running._BUDGET_BYTES", 1)
    assert_close(Runner(llama, graph, task).values(edges), expected, rtol=1e-4, atol=1e-5)


def test_edges_that_nothing_reaches_carry_nothing(llama: Model) -> None:
    graph, task = graph_of(llama), task_of(llama, _CLEAN, _CORRUPTED, _METRIC)
    runner, edges = Runner(llama, graph, task), _random_edges(graph, 5, 0.1)
    pruned = graph.pruned(edges)
    assert int(pruned.sum()) < int(edges.sum())
    assert_close(runner.values(edges), runner.values(pruned), rtol=1e-5, atol=1e-5)


def test_the_largest_scores_are_taken_and_a_threshold_takes_all_above(llama: Model, found: circuits.Circuit) -> None:
    assert found.n_edges <= 60
    assert found.of_size(20).n_edges <= 20
    assert not bool((found.of_size(20).edges & ~found.edges).any())
    frame = found.to_frame()
    assert frame["score"].abs().is_monotonic_decreasing
    assert len(frame) == found.n_edges
    limit = float(found.scores.abs().quantile(0.8))
    above = circuits.discover(llama, _CLEAN, _CORRUPTED, metric=_METRIC, threshold=limit, steps=2)
    assert torch.equal(above.edges, found.graph.pruned(found.scores.abs() >= limit))
    assert above.n_edges > 0
    every = circuits.discover(llama, _CLEAN, _CORRUPTED, metric=_METRIC, threshold=0.0, steps=1)
    assert torch.equal(every.edges, every.possible)


def test_the_whole_model_is_faithful_and_complete(llama: Model) -> None:
    whole = circuits.discover(llama, _CLEANS, _CORRUPTEDS, metric=_METRIC, threshold=0.0, steps=1)
    faithful = circuits.faithfulness(llama, whole, controls=1)
    assert faithful.share == pytest.approx(1.0, abs=1e-3)
    assert faithful.difference == pytest.approx(0.0, abs=1e-3)
    assert len(faithful.pairs) == 2
    # With every edge there, exchanging heads changes nothing.
    assert faithful.controls["exchanged 1"] == pytest.approx(faithful.circuit_value, abs=1e-4)
    complete = circuits.completeness(llama, whole, n_samples=3)
    assert complete.to_frame()["gap"].abs().max() == 0.0
    assert complete.to_frame()["n_removed"].iloc[0] == 0
    assert complete.to_frame()["n_removed"].iloc[-1] == 15
    assert len(complete.to_frame()) == 5


def test_measures_are_those_of_the_runs_that_they_name(llama: Model, found: circuits.Circuit) -> None:
    graph, task = graph_of(llama), task_of(llama, _CLEAN, _CORRUPTED, _METRIC)
    runner = Runner(llama, graph, task)

    def value(edges: Tensor) -> float:
        return float(runner.values(edges).mean())

    faithful = circuits.faithfulness(llama, found, controls=2)
    assert faithful.circuit_value == pytest.approx(value(found.edges), abs=1e-6)
    gap = faithful.clean_value - faithful.corrupted_value
    assert faithful.share == pytest.approx((value(found.edges) - faithful.corrupted_value) / gap, abs=1e-4)
    assert list(faithful.controls) == ["random 1", "exchanged 1", "random 2", "exchanged 2"]
    complete = circuits.completeness(llama, found, n_samples=3, seed=4).to_frame()
    for row in complete.itertuples():
        removed = row.removed.split()
        assert len(removed) == row.n_removed
        assert row.circuit_value == pytest.approx(value(graph.without(found.edges, removed)), abs=1e-5)
        assert row.model_value == pytest.approx(value(graph.without(graph.possible, removed)), abs=1e-5)
    minimal = circuits.minimality(llama, found, n_samples=0, controls=2)
    assert set(minimal.to_frame()["node"]) == set(found.nodes)
    for row in minimal.to_frame().itertuples():
        change = abs(value(graph.without(found.edges, [row.node])) - value(found.edges))
        assert row.change == pytest.approx(change, abs=1e-5)
    for node, change in minimal.controls.items():
        assert node not in found.nodes
        assert change == pytest.approx(value(graph.without(graph.possible, [node])) - value(graph.possible), abs=1e-5)
    beside = circuits.minimality(llama, found, n_samples=3, controls=0).to_frame()
    alone = minimal.to_frame().set_index("node")["change"]
    assert bool((beside["beside"] != "").any())
    for row in beside.itertuples():
        rest = graph.without(found.edges, row.beside.split())
        assert row.change == pytest.approx(abs(value(graph.without(rest, [row.node])) - value(rest)), abs=1e-5)
        assert row.change >= alone[row.node] - 1e-6


def test_a_curve_rises_from_nothing_to_everything(llama: Model, found: circuits.Circuit) -> None:
    curve = circuits.faithfulness_curve(llama, found, n_edges=(1, 30, 10_000))
    frame = curve.to_frame()
    scored = frame[frame["kind"] == "scores"]
    assert scored["share"].iloc[-1] == pytest.approx(1.0, abs=1e-3)
    assert scored["n_edges"].iloc[-1] == found.graph.n_edges
    assert scored["value"].iloc[1] == pytest.approx(
        circuits.faithfulness(llama, found.of_size(30), controls=0).circuit_value, abs=1e-5
    )
    exchanged = frame[frame["kind"] == "exchanged"]
    assert exchanged["n_edges"].tolist() == scored["n_edges"].tolist()
    assert len(frame[frame["kind"] == "random"]) == 3
    assert "90 %" in curve.explain()


def test_a_circuit_can_be_measured_on_other_prompts(llama: Model, found: circuits.Circuit) -> None:
    other = circuits.faithfulness(llama, found, "Tim met Sue; Sue", "Tim met Sue; Tim", _METRIC, controls=0)
    task = task_of(llama, "Tim met Sue; Sue", "Tim met Sue; Tim", _METRIC)
    assert other.circuit_value == pytest.approx(float(Runner(llama, found.graph, task).values(found.edges)), abs=1e-5)
    default = circuits.faithfulness(llama, found, "Tim met Sue; Sue", "Tim met Sue; Tim", controls=0)
    assert default.metric != other.metric
    with pytest.raises(UnknownOption, match="prompts refused: expected clean and corrupted ones, got only one"):
        circuits.faithfulness(llama, found, "Tim met Sue; Sue")


def test_between_a_prompt_and_itself_there_is_nothing_to_recover(llama: Model) -> None:
    same = circuits.discover(llama, _CLEAN, _CLEAN, metric=_METRIC, n_edges=20, steps=1)
    assert float(same.scores.abs().max()) == 0.0
    faithful = circuits.faithfulness(llama, same, controls=1)
    assert faithful.circuit_value == pytest.approx(faithful.clean_value, abs=1e-5)
    assert "no difference to recover" in faithful.explain()
    assert torch.tensor(circuits.completeness(llama, same, n_samples=1).worst).isnan()
    assert circuits.minimality(llama, same, n_samples=0, controls=1).explain()


def test_by_default_each_pair_is_measured_by_its_own_answers(llama: Model) -> None:
    task = task_of(llama, _CLEANS, _CORRUPTEDS, None)
    for pair, metric in enumerate(task.metrics):
        clean, corrupted = (run(llama, ids[pair]).logits[0, -1] for ids in (task.clean, task.corrupted))
        answers = int(clean.argmax()), int(corrupted.argmax())
        assert metric.pos == answers[0]
        expected = clean[answers[0]] - (clean[answers[1]] if answers[0] != answers[1] else 0)
        assert float(task.clean_values[pair]) == pytest.approx(float(expected), abs=1e-4)
    each = task_of(llama, _CLEANS, _CORRUPTEDS, [_METRIC, metrics.prob("A")])
    assert each.label == "metric of each pair"
    assert float(each.clean_values[1]) == pytest.approx(
        float(run(llama, each.clean[1]).logits[0, -1].softmax(-1)[ord("A") - 33]), abs=1e-5
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_edges": 0}, "n_edges refused: expected a whole number from 1 on, got 0"),
        ({"n_edges": 5, "threshold": 0.1}, "size refused: expected n_edges or threshold, got both"),
        ({"threshold": -1.0}, "threshold refused"),
        ({"steps": 0}, "steps refused"),
        ({"metric": metrics.kl(), "steps": 1}, "metric refused: expected one with a slope at the clean run"),
        ({"metric": [_METRIC, _METRIC]}, "metric refused: expected one, or one for each of 1 pairs, got 2"),
        ({"metric": "loss"}, "metric refused"),
    ],
)
def test_unknown_options_are_refused(options: dict[str, Any], message: str, llama: Model) -> None:
    with pytest.raises(UnknownOption, match=message):
        circuits.discover(llama, _CLEAN, _CORRUPTED, **{"metric": _METRIC, **options})


def test_prompts_that_make_no_pairs_are_refused(llama: Model) -> None:
    with pytest.raises(UnequalPrompts, match="expected as many corrupted prompts as clean ones, got 1 and 2"):
        circuits.discover(llama, _CLEANS, _CORRUPTED)
    with pytest.raises(UnequalPrompts, match="expected as many tokens in all pairs, got 3 to 16"):
        circuits.discover(llama, [_CLEAN, "Ann"], [_CORRUPTED, "Bob"])
    with pytest.raises(UnequalPrompts, match="prompts unequal"):
        circuits.discover(llama, _CLEAN, "Ann")
    with pytest.raises(UnusablePrompt, match="prompts unusable: expected one or several at clean"):
        circuits.discover(llama, [], [])
    with pytest.raises(UnknownOption, match="expected one position for all pairs"):
        circuits.discover(llama, _CLEANS, _CORRUPTEDS, metric=[_METRIC, metrics.prob("A", position=-2)])


def test_a_circuit_belongs_to_its_model(llama: Model, found: circuits.Circuit, dissected: Callable[..., Model]) -> None:
    with pytest.raises(UnknownOption, match="circuit refused: expected one of 'cohere'"):
        circuits.faithfulness(dissected("cohere"), found)
    with pytest.raises(UnknownOption, match=r"circuit refused: expected one from tlab\.circuits\.discover, got 'L0H0'"):
        circuits.minimality(llama, "L0H0")  # type: ignore[arg-type]
    with pytest.raises(UnknownOption, match="n_samples refused"):
        circuits.completeness(llama, found, n_samples=-1)
    with pytest.raises(UnknownOption, match="n_edges refused"):
        circuits.faithfulness_curve(llama, found, n_edges=(0,))


def test_saved_circuits_come_back_and_are_measured_again(llama: Model, found: circuits.Circuit, tmp_path: Path) -> None:
    loaded = Result.load(found.save(tmp_path / "circuit.zip"))
    assert isinstance(loaded, circuits.Circuit)
    assert torch.equal(loaded.edges, found.edges)
    assert loaded.explain() == found.explain()
    again = loaded.replay(llama)
    assert isinstance(again, circuits.Circuit)
    assert torch.equal(again.edges, found.edges)
    faithful = circuits.faithfulness(llama, loaded, controls=1)
    back = Result.load(faithful.save(tmp_path / "faithful.zip"))
    assert isinstance(back, Faithfulness)
    assert back.explain() == faithful.explain()
    once_more = back.replay(llama)
    assert isinstance(once_more, Faithfulness)
    assert once_more.circuit_value == pytest.approx(faithful.circuit_value, abs=1e-6)
    for measured in (circuits.completeness(llama, found, n_samples=1), circuits.minimality(llama, found, n_samples=0)):
        assert Result.load(measured.save(tmp_path / "measured.zip")).explain() == measured.explain()


def test_the_pictures_show_the_numbers(llama: Model, found: circuits.Circuit) -> None:
    lines = [trace for trace in view.draw(found).data if trace.mode == "lines"]
    drawn = sum(text != "" for trace in lines for text in trace.text)
    assert drawn == found.n_edges
    assert {trace.line.dash for trace in lines} == {"solid", "dot"}
    faithful = circuits.faithfulness(llama, found, controls=1)
    bars = view.draw_faithfulness(faithful).data[0]
    assert list(bars.y) == ["whole model", "circuit", "random 1", "exchanged 1", "no edges"]
    assert bars.x[1] == pytest.approx(faithful.circuit_value, abs=1e-3)
    curve = circuits.faithfulness_curve(llama, found, n_edges=(5, 50))
    assert [len(trace.x) for trace in view.draw_curve(curve).data] == [2, 2, 2]
    complete = circuits.completeness(llama, found, n_samples=1)
    assert view.draw_completeness(complete).data[1].text[0] == "0"
    minimal = circuits.minimality(llama, found, n_samples=0, controls=0)
    assert len(view.draw_minimality(minimal).data[0].y) == len(found.nodes)


@pytest.mark.slow
def test_on_a_trained_model_a_hundredth_of_the_edges_do_the_work_and_other_heads_do_not(model: Model) -> None:
    circuit = circuits.discover(model, _IOI[0][0], _IOI[1][0], n_edges=1000)
    assert circuit.n_edges < 0.01 * int(circuit.possible.sum())
    faithful = circuits.faithfulness(model, circuit, controls=1)
    assert 0.85 < faithful.share < 1.15
    low, high = faithful.corrupted_value, faithful.clean_value
    assert all((value - low) / (high - low) < 0.5 for value in faithful.controls.values())
    elsewhere = circuits.faithfulness(model, circuit, _IOI[0][1], _IOI[1][1], controls=0)
    assert 0.5 < elsewhere.share < faithful.share
