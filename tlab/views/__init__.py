"""Pictures of results, in plotly. One function a kind of result; `draw` picks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlab.views import ablation, attention, capture, lens, prediction

if TYPE_CHECKING:
    from collections.abc import Callable

    from plotly.graph_objects import Figure

    from tlab.results import Result

__all__ = ["draw"]

# By name, not by class: views know the results' shape, not the experiments that make them.
_VIEWS: dict[str, Callable[..., Figure]] = {
    "AblationResult": ablation.draw,
    "AttentionResult": attention.draw,
    "Capture": capture.draw,
    "LensResult": lens.draw,
    "Prediction": prediction.draw,
}


def draw(result: Result) -> Figure:
    """Return the picture of a result as a plotly figure.

    Raises:
        TypeError: no view is registered for this kind of result.

    """
    for kind in type(result).__mro__:
        if kind.__name__ in _VIEWS:
            return _VIEWS[kind.__name__](result)
    raise TypeError(
        f"no picture: expected a result with a view ({', '.join(_VIEWS)}), got {type(result).__name__}; use .to_frame()"
    )
