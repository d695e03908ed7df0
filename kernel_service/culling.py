"""Which kernels are given back, and why: a pure decision."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CullLimits:
    """How long a kernel may do nothing, and how long it may be without a reader's page."""

    idle_s: float = 1800.0
    abandoned_s: float = 300.0

    @property
    def interval_s(self) -> float:
        """How often to look."""
        return min(30.0, self.idle_s / 4, self.abandoned_s / 4)


def reason_to_cull(limits: CullLimits, *, idle_s: float, is_busy: bool, unwatched_s: float | None) -> str | None:
    """Say why a kernel is to end, or None.

    `idle_s` counts from its last activity; `unwatched_s` from when its last page went away, None while one is there.
    """
    if unwatched_s is not None and unwatched_s > limits.abandoned_s:
        return f"no page has been open for {unwatched_s:.0f} s"
    if not is_busy and idle_s > limits.idle_s:
        return f"nothing was run for {idle_s:.0f} s"
    return None
