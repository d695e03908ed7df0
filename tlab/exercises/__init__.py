"""Exercises: `check("lesson/exercise", answer)` judges what a reader found, by running the model on it."""

from __future__ import annotations

from tlab.exercises.verdict import Verdict, check, names

__all__ = ["Verdict", "check", "names"]
