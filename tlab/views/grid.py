"""Sliders over answers that were computed beforehand: they move without a kernel, on paper they are a table.

Refuses: computing while a slider moves. The states are declared, run once, and stored with what they share kept once.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tlab.errors import TooLargeForPage, UnknownOption, UnusableArgument, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Grid", "grid"]

_GRID = "application/vnd.tlab.grid+json"
_PLOTLY = "application/vnd.plotly.v1+json"
_MOST_STATES = 200
# A page of the book holds 500 kB with everything on it.
_MOST_CHARS = 300_000
_WORTH_SHARING = 40
_TWIN_ROWS = 30


class Grid:
    """Answers for every combination of some values, which a page shows under one slider a value.

    It is made by `tlab.views.grid`. A page shows the sliders; in text it has one line a state.

    Args:
        title: what the sliders belong to.
        axes: the values of each argument, by its name.
        bundles: one MIME bundle a combination, the last argument moving fastest.

    """

    def __init__(self, title: str, axes: Mapping[str, Sequence[object]], bundles: Sequence[dict[str, Any]]) -> None:
        self.title = title
        self.axes = {name: list(values) for name, values in axes.items()}
        self.bundles = list(bundles)

    def __repr__(self) -> str:
        rows = []
        for values, bundle in zip(itertools.product(*self.axes.values()), self.bundles, strict=True):
            state = ", ".join(f"{name} = {value}" for name, value in zip(self.axes, values, strict=True))
            rows.append(f"{state}: {str(bundle.get('text/plain', '')).strip().partition(chr(10))[0]}")
        if len(rows) > _TWIN_ROWS:
            rows[_TWIN_ROWS:] = [f"… and {len(rows) - _TWIN_ROWS} more"]
        return "\n".join([self.title, *rows])

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:  # noqa: ARG002
        return {_GRID: self._stored(), "text/plain": repr(self)}

    def _stored(self) -> dict[str, Any]:
        written = [json.dumps(bundle, sort_keys=True) for bundle in self.bundles]
        distinct = list(dict.fromkeys(written))
        bundles = [json.loads(text) for text in distinct]
        shared = _Shared(bundles)
        answers = [shared.outside(bundle) for bundle in bundles]
        axes = [{"name": name, "values": values} for name, values in self.axes.items()]
        states = [distinct.index(text) for text in written]
        return {
            "version": 1,
            "title": self.title,
            "axes": axes,
            "states": states,
            "answers": answers,
            "parts": shared.parts,
        }


def grid(function: Callable[..., object], values: Mapping[str, Sequence[object]], *, title: str = "") -> Grid:
    """Run a function for every combination of values, and show the answers under one slider a value.

    A figure with a slider usually needs a kernel to move. These answers are computed here, once, so that the slider
    moves in a page without a kernel too, and in a copy of the book that was opened from a file. Numbers get a slider,
    anything else a list to choose from. On paper and in text it is a list of its states.

    Args:
        function: takes the values by name; returns a result of `tlab`, a figure, a table or a text.
        values: the values of each argument: numbers, texts or truth values.
        title: what the sliders belong to; the function's name if it is left out.

    Returns:
        The answers, which a notebook shows under their sliders.

    Invariants:
        Every state shows what the function returned for it. What several states share is stored once.

    Raises:
        UnusableArgument: no function, one that does not take these values, or no lists of values by name.
        UnknownOption: no value, or more than 200 combinations.
        TooLargeForPage: answers that together exceed 300,000 characters.

    Cost:
        One call of the function for each combination.

    Example:
        >>> grid(lambda n: f"{n} squared is {n * n}", {"n": [1, 2]}, title="Squares")
        Squares
        n = 1: 1 squared is 1
        n = 2: 2 squared is 4

    See also: `tlab.views.live_figure`, for what is computed only when a reader asks for it.

    """
    axes = _axes(function, values)
    count = math.prod(len(given) for given in axes.values())
    if not axes or not 1 <= count <= _MOST_STATES:
        raise UnknownOption(
            f"values refused: expected 1 to {_MOST_STATES} combinations of values, got {count if axes else 0} "
            f"at {', '.join(axes) or 'an empty mapping'}; declare fewer values, and one at least"
        )
    states = (dict(zip(axes, state, strict=True)) for state in itertools.product(*axes.values()))
    made = Grid(title or _name_of(function), axes, [_bundle(function(**state)) for state in states])
    size = len(json.dumps(made._stored()))  # noqa: SLF001  its own class
    if size > _MOST_CHARS:
        raise TooLargeForPage(
            f"grid refused: expected answers of at most {_MOST_CHARS} characters together, got {size} at {count} "
            "states; declare fewer values, or return smaller figures"
        )
    return made


def _axes(function: Callable[..., object], values: Mapping[str, Sequence[object]]) -> dict[str, list[object]]:
    if not callable(function):
        raise UnusableArgument(
            f"grid refused: expected a function in the first place, got {shown(function)}; "
            "write lambda n: … around what is to be computed"
        )
    if not isinstance(values, Mapping):
        raise UnusableArgument(
            f"values refused: expected lists of values by the names of arguments, got {shown(values)}; "
            "write {'layer': [0, 1, 2]}"
        )
    for name, given in values.items():
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise UnusableArgument(
                f"values refused: expected a list of values at {name}, got {shown(given)}; write [{shown(given)}]"
            )
    with contextlib.suppress(ValueError):  # some functions written in C do not tell their arguments
        try:
            inspect.signature(function).bind(**dict.fromkeys(values))
        except TypeError as error:
            raise UnusableArgument(
                f"grid refused: expected a function that takes {', '.join(map(str, values)) or 'no values'} by name, "
                f"got {_name_of(function)}: {error}; name its arguments in values"
            ) from None
    return {str(name): [_plain(value) for value in given] for name, given in values.items()}


def _name_of(function: Callable[..., object]) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _plain(value: object) -> object:
    """Return a value as JSON has it; numpy's numbers become Python's."""
    item = getattr(value, "item", None)
    plain = item() if callable(item) else value
    return plain if isinstance(plain, int | float | str | bool) else str(plain)


def _bundle(answer: Any) -> dict[str, Any]:  # noqa: ANN401  whatever a reader's function returns
    if hasattr(answer, "to_plotly_json"):
        figure = json.loads(answer.to_json())
        title = figure.get("layout", {}).get("title", {})
        return {_PLOTLY: figure, "text/plain": str(title.get("text", "A figure"))}
    if hasattr(answer, "_repr_mimebundle_"):
        given = answer._repr_mimebundle_()
        return dict(given[0] if isinstance(given, tuple) else given)
    html = answer._repr_html_() if hasattr(answer, "_repr_html_") else None
    text = {"text/plain": answer if isinstance(answer, str) else repr(answer)}
    return text if html is None else {"text/html": html, **text}


class _Shared:
    """Lists and objects that occur more than once: each is written once, in `parts`, and referred to by its place."""

    def __init__(self, values: list[Any]) -> None:
        self.parts: list[Any] = []
        self._places: dict[str, int] = {}
        self._counts: Counter[str] = Counter()
        for value in values:
            self._count(value)

    def outside(self, value: dict[str, Any] | list[Any]) -> object:
        """Return a value with references in place of the shared ones inside it."""
        if isinstance(value, dict):
            return {name: self._refer(inner) for name, inner in value.items()}
        return [self._refer(inner) for inner in value]

    def _count(self, value: object) -> None:
        if not isinstance(value, dict | list):
            return
        text = json.dumps(value, sort_keys=True)
        self._counts[text] += 1
        if self._counts[text] == 1:
            for inner in value.values() if isinstance(value, dict) else value:
                self._count(inner)

    def _refer(self, value: object) -> object:
        if not isinstance(value, dict | list):
            return value
        text = json.dumps(value, sort_keys=True)
        if self._counts[text] == 1 or len(text) < _WORTH_SHARING:
            return self.outside(value)
        if text not in self._places:
            self._places[text] = len(self.parts)
            self.parts.append(None)
            self.parts[self._places[text]] = self.outside(value)
        return {"$part": self._places[text]}
