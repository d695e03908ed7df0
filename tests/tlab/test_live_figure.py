"""The thin figure widget: small, changeable, and stored with its figure."""

from __future__ import annotations

import json

import plotly.graph_objects as go
import pytest

from tlab.views import live_figure

pytest.importorskip("ipywidgets", reason="widgets come with the kernels, not with the library")


def titled(text: str) -> go.Figure:
    return go.Figure(go.Scatter(y=[1, 3, 2]), layout={"title": {"text": text}})


def test_a_shown_figure_is_the_widgets_state_and_nothing_else_is_large() -> None:
    widget = live_figure(titled("first"))
    state = widget.get_state()
    assert state["figure"] == json.loads(titled("first").to_json())
    assert len(json.dumps({name: str(value) for name, value in state.items()})) < 20_000
    assert repr(widget) == "A live figure: first"


def test_another_figure_takes_its_place() -> None:
    widget = live_figure(titled("first"))
    widget.show(titled("second"))
    assert widget.figure["layout"]["title"]["text"] == "second"
