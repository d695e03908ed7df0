"""Measures retrieval and tiers on a set of questions with known answers. Reads the set, prints nothing."""

from __future__ import annotations

import math
import reprlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from kb.answers import compose
from kb.errors import DocumentError
from kb.question import Question

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from kb.answers import Tier
    from kb.retrieval import Retrieval

__all__ = ["Case", "Outcome", "Report", "judge", "read_cases", "report"]

_DEPTH = 5
_PARTS = ("tune", "held")
_KEYS = {"part", "kind", "question", "expects", "previous", "page"}


@dataclass(frozen=True)
class Case:
    """A question with the sections (document#anchor) that answer it; none means that the book does not cover it."""

    part: str
    kind: str
    question: Question
    expects: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of a case: the rank of the first right section (0: not among the first five), tier and citation."""

    case: Case
    rank: int
    tier: Tier
    cited_right: bool


@dataclass(frozen=True)
class Report:
    """Figures over some outcomes.

    Units: `hit_at_1`, `ndcg_at_5` and `cited_right` are means over the answerable questions, from 0 to 1; `tiers`
    counts (is it answerable, tier).
    """

    answerable: int
    unanswerable: int
    hit_at_1: float
    ndcg_at_5: float
    cited_right: float
    tiers: Counter[tuple[bool, Tier]]


def read_cases(path: Path) -> list[Case]:
    """Read the set.

    Raises:
        DocumentError: (``document-invalid``) when the file is not there or an entry is malformed.

    """
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise DocumentError(
            f"reading questions: expected a YAML list, got {type(error).__name__} at {path}", "check the file"
        ) from error
    return [_case(path, entry) for entry in entries]


def judge(cases: Iterable[Case], find: Callable[[Question], Retrieval]) -> list[Outcome]:
    """Ask every question and compare what was found with what was expected."""
    outcomes = []
    for case in cases:
        retrieval = find(case.question)
        places = list(dict.fromkeys(f"{found.document}#{found.anchor}" for found in retrieval.found))[:_DEPTH]
        rank = next((n for n, place in enumerate(places, start=1) if place in case.expects), 0)
        answer = compose(retrieval)
        cited = {source.url.rpartition("/")[2].replace(".html#", "#") for source in answer.sources}
        outcomes.append(Outcome(case, rank, answer.tier, bool(cited & set(case.expects))))
    return outcomes


def report(outcomes: Iterable[Outcome]) -> Report:
    """Sum outcomes up; a question counts by the first right section, as one right place is enough for a reader."""
    chosen = list(outcomes)
    real = [outcome for outcome in chosen if outcome.case.expects]
    gains = [1 / math.log2(outcome.rank + 1) if outcome.rank else 0.0 for outcome in real]
    count = max(1, len(real))
    return Report(
        answerable=len(real),
        unanswerable=len(chosen) - len(real),
        hit_at_1=sum(outcome.rank == 1 for outcome in real) / count,
        ndcg_at_5=sum(gains) / count,
        cited_right=sum(outcome.cited_right for outcome in real) / count,
        tiers=Counter((bool(outcome.case.expects), outcome.tier) for outcome in chosen),
    )


def _case(path: Path, entry: object) -> Case:
    if (
        not isinstance(entry, dict)
        or not {"part", "kind", "question", "expects"} <= entry.keys() <= _KEYS
        or entry["part"] not in _PARTS
        or not isinstance(entry["expects"], list)
    ):
        raise DocumentError(
            f"reading questions: expected part, kind, question and expects, got {reprlib.repr(entry)} at {path}",
            "see the head of the file for the form",
        )
    history = ((entry["previous"], ""),) if "previous" in entry else ()
    question = Question(entry["question"], entry.get("page", ""), history)
    return Case(entry["part"], entry["kind"], question, tuple(entry["expects"]))
