"""Precomputed sliders: what they store, that nothing is stored twice, and what they refuse."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import tlab
from tlab.errors import TooLargeForPage, UnknownOption, UnusableArgument
from tlab.views import grid

if TYPE_CHECKING:
    from tlab import Model

GRID = "application/vnd.tlab.grid+json"


def resolved(value: Any, parts: list[Any]) -> Any:  # noqa: ANN401  JSON
    if isinstance(value, dict):
        if set(value) == {"$part"}:
            return resolved(parts[value["$part"]], parts)
        return {name: resolved(inner, parts) for name, inner in value.items()}
    return [resolved(inner, parts) for inner in value] if isinstance(value, list) else value


def figure(height: int, colour: str) -> go.Figure:
    layout = {"title": {"text": f"{height} in {colour}"}, "xaxis": {"title": {"text": "a long name " * 9}}}
    return go.Figure(go.Bar(y=[height], marker={"color": colour}), layout=layout)


def stored(values: dict[str, Any]) -> dict[str, Any]:
    bundle: dict[str, Any] = grid(figure, values)._repr_mimebundle_()[GRID]
    return bundle


def test_every_state_leads_back_to_its_figure() -> None:
    data = stored({"height": [1, 2, 3], "colour": ["red", "blue"]})
    assert [axis["name"] for axis in data["axes"]] == ["height", "colour"]
    assert len(data["states"]) == 6
    shown = resolved(data["answers"][data["states"][3]], data["parts"])
    assert shown["application/vnd.plotly.v1+json"] == json.loads(figure(2, "blue").to_json())


def test_what_states_share_is_stored_once() -> None:
    data = stored({"height": list(range(20)), "colour": ["red"]})
    assert json.dumps(data).count("a long name a long name") <= 8  # one axis title, and not twenty
    alone = len(json.dumps(stored({"height": [1], "colour": ["red"]})))
    assert len(json.dumps(data)) < 8 * alone


def test_equal_answers_are_one() -> None:
    data = grid(lambda n: f"half of it is {n // 2}", {"n": [2, 3, 4]})._repr_mimebundle_()[GRID]
    assert data["states"] == [0, 0, 1]
    assert len(data["answers"]) == 2


def test_the_text_twin_has_one_line_a_state() -> None:
    text = repr(grid(lambda n: f"{n} squared is {n * n}", {"n": np.arange(40)}, title="Squares"))
    lines = text.splitlines()
    assert lines[:2] == ["Squares", "n = 0: 0 squared is 0"]
    assert lines[-1] == "… and 10 more"


def test_tables_and_numpy_values_are_stored_as_json() -> None:
    data = grid(lambda n: pd.DataFrame({"n": [n]}), {"n": [np.int64(1), np.int64(2)]})._repr_mimebundle_()[GRID]
    assert "<table" in data["answers"][0]["text/html"]
    assert data["axes"] == [{"name": "n", "values": [1, 2]}]


def test_a_result_is_shown_by_its_picture_and_its_text(llama: Model) -> None:
    made = grid(lambda layer: tlab.ablate(llama, "The cat", f"L{layer}.mlp"), {"layer": [0, 1]})
    data = made._repr_mimebundle_()[GRID]
    expected = tlab.ablate(llama, "The cat", "L1.mlp")
    shown = resolved(data["answers"][data["states"][1]], data["parts"])
    assert shown["application/vnd.plotly.v1+json"] == json.loads(expected.plot().to_json())
    assert shown["text/plain"] == expected.text()
    assert repr(made).splitlines()[2] == f"layer = 1: {expected.text().splitlines()[0]}"


@pytest.mark.parametrize(
    ("values", "count", "place"), [({}, 0, "an empty mapping"), ({"n": []}, 0, "n"), ({"n": range(201)}, 201, "n")]
)
def test_too_few_or_too_many_states_are_refused(values: dict[str, Any], count: int, place: str) -> None:
    said = rf"^values refused: expected 1 to 200 combinations of values, got {count} at {place}; declare fewer values"
    with pytest.raises(UnknownOption, match=said):
        grid(lambda **numbers: str(numbers), values)


def test_answers_too_large_for_a_page_are_refused() -> None:
    with pytest.raises(
        TooLargeForPage, match=r"at most 300000 characters together, got \d+ at 2 states; declare fewer"
    ):
        grid(lambda n: str(n) * 200_000, {"n": [1, 2]})


@pytest.mark.parametrize(
    ("function", "values", "said"),
    [
        (3, {"n": [1]}, r"expected a function in the first place, got 3; write lambda n"),
        (repr, [1, 2], r"expected lists of values by the names of arguments, got \[1, 2\]; write \{'layer'"),
        (repr, {"n": 3}, r"expected a list of values at n, got 3; write \[3\]"),
        (repr, {"n": "abc"}, r"expected a list of values at n, got 'abc'; write \['abc'\]"),
        (lambda n: n, {"m": [1]}, r"expected a function that takes m by name, got <lambda>: missing a required"),
        (lambda n, m: n + m, {"n": [1]}, r"takes n by name, got <lambda>: missing a required argument: 'm'; name its"),
    ],
)
def test_what_is_no_function_of_the_values_is_refused(function: Any, values: Any, said: str) -> None:  # noqa: ANN401  mistakes
    with pytest.raises(UnusableArgument, match=said):
        grid(function, values)


def test_a_function_that_does_not_tell_its_arguments_is_called_all_the_same() -> None:
    assert repr(grid(dict, {"n": [1]})) == "dict\nn = 1: {'n': 1}"


def test_a_mistake_inside_the_function_is_shown_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        grid(lambda n: 1 / n, {"n": [0]})
