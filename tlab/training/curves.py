"""Training curves, and the rule by which a phase change is read off them.

Refuses: training, and reading files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlab.errors import UnknownOption, shown
from tlab.results import Result

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PhaseChange", "TrainingCurve", "phase_change"]

_BEGUN, _HALF, _DONE = 0.1, 0.5, 0.9
_ABRUPT = 0.25


@dataclass(frozen=True)
class PhaseChange:
    """Where a measure went from its first level to its last.

    Args:
        before: the measure at the first step.
        after: its median over the last tenth of the rows.
        start: the last step at which a tenth of the way was not yet done.
        middle: the first step after it at which half of the way was done.
        end: the first step after it at which nine tenths were done.
        share: of the whole training that lies between start and end.

    """

    before: float
    after: float
    start: int
    middle: int
    end: int
    share: float

    @property
    def is_abrupt(self) -> bool:
        """Whether it took less than a quarter of the training, and did not begin at once."""
        return self.share < _ABRUPT and self.start > 0


def phase_change(frame: pd.DataFrame, measure: str) -> PhaseChange:
    """Find the interval in which `measure` makes 80 % of its way.

    The way leads from the value at the first step to the median over the last tenth of the rows. It starts at the
    last step at which less than a tenth of it was done, and ends at the first later step at which nine tenths were.
    The rule finds an interval in every curve, also in a smooth one; `share` says how much of the training it takes.

    Args:
        frame: of a `TrainingCurve`, with a column `step`.
        measure: another of its columns.

    Units: steps of the optimiser, and the measure's own.

    Raises:
        UnknownOption: the frame has no such column.

    Source:
        The rule is ours; Olsson et al. (2022), arXiv:2209.11895, take the phase change's borders from the curve by eye.

    """
    if measure not in frame.columns or measure == "step":
        names = ", ".join(str(name) for name in frame.columns if name != "step")
        raise UnknownOption(f"measure refused: expected one of {names}, got {shown(measure)}; name a column")
    steps, values = frame["step"].to_numpy(), frame[measure].to_numpy(dtype=float)
    after = float(frame[measure].tail(max(len(frame) // 10, 1)).median())
    before = float(values[0])
    way = after - before
    done = (values - before) / way if way else values * 0 + 1
    waiting = (done < _BEGUN).nonzero()[0]
    first = int(waiting[-1]) if len(waiting) else 0
    reached = [int(steps[first + int((done[first:] >= part).argmax())]) for part in (_HALF, _DONE)]
    start, whole = int(steps[first]), int(steps[-1] - steps[0])
    return PhaseChange(
        before=before,
        after=after,
        start=start,
        middle=reached[0],
        end=reached[1],
        share=(reached[1] - start) / whole if whole else 0.0,
    )


@dataclass(frozen=True, eq=False, repr=False)
class TrainingCurve(Result):
    """What was measured while a toy was trained.

    Args:
        name: of the toy.
        watched: the column whose change is looked for.
        seed: of the training.
        checkpoints: steps whose weights can be loaded.
        frame: `step` and one column a measure.

    """

    name: str
    watched: str
    seed: int
    checkpoints: tuple[int, ...]
    frame: pd.DataFrame

    @property
    def change(self) -> PhaseChange:
        """Where the watched measure changes."""
        return phase_change(self.frame, self.watched)

    def to_frame(self) -> pd.DataFrame:
        """Return `step` and the measures, one row a measured step; losses are in nats."""
        return self.frame.copy()

    def _twin_frame(self) -> pd.DataFrame:
        steps = (*self.checkpoints, self.change.start, self.change.end)
        rows = self.frame[self.frame["step"].isin(steps)].set_index("step")
        # As text: losses span seven powers of ten, and columns of numbers get one form for all of them.
        return rows.map(lambda value: f"{value:.3g}").reset_index()

    def explain(self) -> str:
        """Say when the watched measure changed, how fast, and what the curve does not show."""
        change, last = self.change, int(self.frame["step"].iloc[-1])
        kind = "abruptly" if change.is_abrupt else "gradually"
        return (
            f"{self.name}, {last} steps, seed {self.seed}: {self.watched} goes {kind} from {change.before:.3g} to "
            f"{change.after:.3g}. Four fifths of the way lie between steps {change.start} and {change.end}, "
            f"{100 * change.share:.0f} % of the training (abrupt means less than {100 * _ABRUPT:.0f} %, after a wait). "
            f"It is one run with one seed: with another, the change comes at another step."
        )
