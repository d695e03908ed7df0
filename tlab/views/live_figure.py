"""A figure that Python can change after it is shown: a thin widget, drawn by the plotly that the page has already.

Refuses: bringing plotly along, as `go.FigureWidget` does with 5 MB for every figure.
"""

from __future__ import annotations

import functools
import json
import sys
from typing import TYPE_CHECKING, Any

from tlab.errors import MissingPackage, UnusableArgument, shown

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from tlab.results import Result

__all__ = ["live_figure"]


def live_figure(figure: Figure | Result) -> Any:  # noqa: ANN401  its class exists only where ipywidgets does
    """Return a widget that shows a figure; `widget.show(other)` puts another in its place.

    It follows a slider of ipywidgets, or a loop that shows how a computation gets on. It stands beside sliders in boxes
    as any widget of ipywidgets does, and the page stores the figure that it showed last.

    Args:
        figure: a plotly figure, or a result, whose picture is taken.

    Returns:
        A widget of ipywidgets with the method `show`.

    Raises:
        UnusableArgument: neither a figure nor a result.
        MissingPackage: ipywidgets is not installed.

    Cost:
        What the figure holds is sent once for each `show`, and plotly's own code never.

    Example:
        >>> import tlab
        >>> tlab.views.live_figure(tlab.models())
        A live figure: Catalogue

    See also: `tlab.views.grid`, whose sliders move without a kernel.

    """
    picture = _picture(figure)
    widget = _kind()()
    widget.show(picture)
    return widget


def _picture(figure: Figure | Result) -> Figure:
    drawn = figure.plot() if hasattr(figure, "plot") and hasattr(figure, "explain") else figure
    if not hasattr(drawn, "to_plotly_json"):
        raise UnusableArgument(
            f"live_figure refused: expected a plotly figure or a result, got {shown(figure)}; "
            "give it result.plot(), or a plotly.graph_objects.Figure"
        )
    return drawn


@functools.cache
def _kind() -> type:
    # A lesson that only plots needs no widgets.
    try:
        import traitlets  # noqa: PLC0415
        from ipywidgets import DOMWidget  # noqa: PLC0415
    except ImportError as error:
        raise MissingPackage(
            f"cannot make a live figure: expected the package ipywidgets, got none at {sys.prefix}; "
            "install it there with pip install ipywidgets, or show the figure itself"
        ) from error

    class LiveFigure(DOMWidget):  # type: ignore[misc]  # traitlets' classes have no types
        """The model of the figure; the page's front end knows how it looks."""

        _model_name = traitlets.Unicode("LiveFigureModel").tag(sync=True)
        _model_module = traitlets.Unicode("tlab-figure").tag(sync=True)
        _model_module_version = traitlets.Unicode("1.0.0").tag(sync=True)
        _view_name = traitlets.Unicode("LiveFigureView").tag(sync=True)
        _view_module = traitlets.Unicode("tlab-figure").tag(sync=True)
        _view_module_version = traitlets.Unicode("1.0.0").tag(sync=True)
        figure = traitlets.Dict().tag(sync=True)

        def show(self, figure: Figure | Result) -> None:
            """Put a figure, or the picture of a result, in place of the one that is shown."""
            self.figure = json.loads(_picture(figure).to_json())

        def __repr__(self) -> str:
            title = self.figure.get("layout", {}).get("title", {}).get("text", "without a title")
            return f"A live figure: {title}"

    return LiveFigure
