"""A map with one number for every place that was, or might be, patched: layers against positions or heads.

Refuses: running anything.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import pandas as pd

from tlab.results import Result

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

__all__ = ["PlaceMap"]


class PlaceMap(Result):
    """What a sweep over places and its estimate have in common: the table, and the names of the places.

    A subclass has `values`, the `rows` and `columns` of the map, what the columns are (`column_axis`), the `tokens`
    where they are positions, and `n_sharing`: how many query heads share each of them where they are key/value heads.
    """

    values: Float[Tensor, "layer column"]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    column_axis: str
    tokens: tuple[str, ...]
    n_sharing: int

    @property
    @abstractmethod
    def shares(self) -> Float[Tensor, "layer column"]:
        """How far each place goes from the base run to the other: 0 none of the way, 1 all of it."""

    def to_frame(self) -> pd.DataFrame:
        """Return `layer pos token value share`, one row a place; for heads `layer head value share`.

        Where query heads share keys and values, these are counted in `kv_head`.
        """
        index = [(layer, column) for layer in self.rows for column in self.columns]
        frame = pd.DataFrame(index, columns=["layer", self.column_axis])
        if self.tokens:
            frame["token"] = [self.tokens[column] for _, column in index]
        frame["value"] = self.values.flatten().tolist()
        frame["share"] = self.shares.flatten().tolist()
        return frame

    def _twin_frame(self) -> pd.DataFrame:
        return self.to_frame().sort_values("share", key=abs, ascending=False).round(3)

    def _named(self, frame: pd.DataFrame) -> str:
        """Return the places in some rows of the table, with their shares, for a sentence."""
        rows = frame[["layer", self.column_axis, "share"]].itertuples(index=False)
        return ", ".join(
            f"layer {layer} {self._name(int(column))} ({100 * share:.0f} %)" for layer, column, share in rows
        )

    def _name(self, column: int) -> str:
        if self.column_axis == "pos":
            return f"position {column} {self.tokens[column]!r}"
        if self.column_axis == "head":
            return f"head {column}"
        first = column * self.n_sharing
        return f"kv_head {column} (shared by heads {first} to {first + self.n_sharing - 1})"
