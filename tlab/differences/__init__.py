"""Why two numbers that should be the same are not: each of the usual causes is computed, none is guessed."""

from __future__ import annotations

from tlab.differences.report import Differences
from tlab.differences.why import why_different

__all__ = ["Differences", "why_different"]
