"""Running a sweep to its end, or to where the reader stops it: progress, and what was found by then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from tqdm import tqdm

from tlab.precision import precise, precise_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor

    from tlab.engine import Sweep

__all__ = ["Swept", "growing_sweep", "slowly", "sweep"]

# Nobody needs to be told about what is over at once.
_QUIET_S = 2.0
_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Swept:
    """What a sweep gave.

    Args:
        measured: one for each variant, in their order; not a number where the sweep was stopped before.
        n_done: how many were run.

    """

    measured: Tensor
    n_done: int

    @property
    def is_complete(self) -> bool:
        """Whether every variant was run."""
        return self.n_done == len(self.measured)


def slowly(items: Iterable[_T], what: str) -> Iterable[_T]:
    """Go through items, showing progress if it takes long."""
    found: Iterable[_T] = tqdm(list(items), desc=what, leave=False, delay=_QUIET_S, dynamic_ncols=True)
    return found


def sweep(runs: Sweep, measure: Callable[[Tensor], Tensor], *, what: str) -> Swept:
    """Run all variants; show progress if it takes long; at an interrupt, return what is there.

    Args:
        runs: the variants.
        measure: from logits `batch read d_vocab` to `batch`.
        what: for the progress line, e.g. `270 heads`.

    """
    swept = Swept(_unknown(runs), 0)
    about_s = runs.estimated_s
    bar = tqdm(
        total=runs.n_variants,
        desc=f"{what}, about {about_s:.0f} s",
        disable=about_s < _QUIET_S,
        leave=False,
        dynamic_ncols=True,
    )
    with bar:
        try:
            for swept in growing_sweep(runs, measure):
                bar.update(swept.n_done - bar.n)
        except KeyboardInterrupt:
            # The reader has seen enough: what was computed is worth keeping, and says that it is a part.
            bar.set_description(f"{what}, stopped")
    return swept


def growing_sweep(runs: Sweep, measure: Callable[[Tensor], Tensor]) -> Iterator[Swept]:
    """Run all variants; yield what is there after each pass.

    Whoever stops listening leaves nothing behind in the model.
    """
    values, n_done = _unknown(runs), 0
    for members, found in runs.run(measure):
        values[members] = precise(found).cpu()
        n_done += len(members)
        yield Swept(values.clone(), n_done)


def _unknown(runs: Sweep) -> Tensor:
    return torch.full((runs.n_variants,), torch.nan, dtype=precise_dtype(runs.base_logits.dtype))
