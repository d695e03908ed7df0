"""The thin figure widget: small, changeable, and stored with its figure."""

from __future__ import annotations

import json
import sys

import plotly.graph_objects as go
import pytest

import tlab
from tlab.errors import MissingPackage, UnusableArgument
from tlab.views import live_figure
from tlab.views.live_figure import _kind

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


def test_a_result_gives_its_picture() -> None:
    widget = live_figure(tlab.models())
    assert widget.figure == json.loads(tlab.models().plot().to_json())
    widget.show(titled("first"))
    widget.show(tlab.models())
    assert widget.figure == json.loads(tlab.models().plot().to_json())


@pytest.mark.parametrize("figure", [None, {"data": []}, "a title", 3])
def test_what_is_no_figure_is_refused(figure: object) -> None:
    said = r"^live_figure refused: expected a plotly figure or a result, got .+; give it result\.plot\(\)"
    with pytest.raises(UnusableArgument, match=said):
        live_figure(figure)  # type: ignore[arg-type]  the mistake
    widget = live_figure(titled("first"))
    with pytest.raises(UnusableArgument, match=said):
        widget.show(figure)
    assert widget.figure["layout"]["title"]["text"] == "first"


def test_without_ipywidgets_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    _kind.cache_clear()
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "ipywidgets", None)
        with pytest.raises(MissingPackage, match=r"expected the package ipywidgets, got none at .+; install it there"):
            live_figure(titled("first"))
        with pytest.raises(ImportError):
            live_figure(titled("first"))
    assert repr(live_figure(titled("first"))) == "A live figure: first"
