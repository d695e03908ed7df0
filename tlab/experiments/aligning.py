"""Which token of one prompt stands for which of another, also where the prompts differ in length.

Refuses: knowing tokens' meanings. It sees ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["aligned"]


def aligned(a: Sequence[int], b: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return pairs of positions that belong together, from the first to the last.

    The last positions are always a pair, because both prompts are continued from there. What stands before them is
    aligned at the least cost, where a token that was replaced, added or left out costs 1. Positions without a partner
    are left out.

    Invariants:
        Both positions grow from pair to pair; aligning a prompt with itself pairs every position with itself.

    Cost: the product of the lengths.

    Source:
        Needleman and Wunsch, "A general method applicable to the search for similarities in the amino acid sequence of
        two proteins", Journal of Molecular Biology 48 (1970).

    """
    costs = _costs(a[:-1], b[:-1])
    i, j = len(a) - 1, len(b) - 1
    pairs = [(i, j)]
    while i and j:
        is_other = int(a[i - 1] != b[j - 1])
        if costs[i][j] == costs[i - 1][j - 1] + is_other:
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif costs[i][j] == costs[i - 1][j] + 1:
            i -= 1
        else:
            j -= 1
    return tuple(reversed(pairs))


def _costs(a: Sequence[int], b: Sequence[int]) -> list[list[int]]:
    """Return the least cost of turning each beginning of `a` into each beginning of `b`."""
    rows = [list(range(len(b) + 1))]
    for i, token in enumerate(a, start=1):
        above, row = rows[-1], [i]
        for j, other in enumerate(b, start=1):
            row.append(min(above[j - 1] + (token != other), above[j] + 1, row[-1] + 1))
        rows.append(row)
    return rows
