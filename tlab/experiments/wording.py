"""Turns of phrase that several explanations share."""

from __future__ import annotations

__all__ = ["counted", "exactly"]


def counted(n: int, noun: str) -> str:
    """Return a number with its noun: `1 token`, `2 tokens`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def exactly(error: float) -> str:
    """Return how well an identity holds: `exactly`, or `to within a relative error of 2e-07`."""
    return "exactly" if error == 0 else f"to within a relative error of {error:.0e}"
