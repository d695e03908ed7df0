"""A figure that Python can change after it is shown: a thin widget, drawn by the plotly that the page has already.

Refuses: bringing plotly along, as `go.FigureWidget` does with 5 MB for every figure.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["live_figure"]


def live_figure(figure: Figure) -> Any:  # noqa: ANN401  its class exists only where ipywidgets does
    """Return a widget that shows `figure`; `widget.show(other)` puts another in its place.

    It stands beside sliders in boxes as any widget of ipywidgets does, and is stored with the page.

    Args:
        figure: a plotly figure.

    Returns:
        A widget of ipywidgets.

    Raises:
        ImportError: ipywidgets is not installed.

    """
    widget = _kind()()
    widget.show(figure)
    return widget


@functools.cache
def _kind() -> type:
    # A lesson that only plots needs no widgets.
    import traitlets  # noqa: PLC0415
    from ipywidgets import DOMWidget  # noqa: PLC0415

    class LiveFigure(DOMWidget):  # type: ignore[misc]  # traitlets' classes have no types
        """The model of the figure; the page's front end knows how it looks."""

        _model_name = traitlets.Unicode("LiveFigureModel").tag(sync=True)
        _model_module = traitlets.Unicode("tlab-figure").tag(sync=True)
        _model_module_version = traitlets.Unicode("1.0.0").tag(sync=True)
        _view_name = traitlets.Unicode("LiveFigureView").tag(sync=True)
        _view_module = traitlets.Unicode("tlab-figure").tag(sync=True)
        _view_module_version = traitlets.Unicode("1.0.0").tag(sync=True)
        figure = traitlets.Dict().tag(sync=True)

        def show(self, figure: Figure) -> None:
            """Put a figure in place of the one that is shown."""
            self.figure = json.loads(figure.to_json())

        def __repr__(self) -> str:
            title = self.figure.get("layout", {}).get("title", {}).get("text", "without a title")
            return f"A live figure: {title}"

    return LiveFigure
