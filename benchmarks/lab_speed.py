"""How long the Lab takes to answer on a warm model: the whole answer, its first part, the longest step between parts.

Prints a table in Markdown. The longest step is how long a kernel hears nothing else. Ends with status 1 if an answer
misses its target, so that a change that makes the Lab slow is seen.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch

import tlab
from tlab.lab import answers

MODEL = "smollm2-135m"
PROMPT, CORRUPTED = "The capital of France is", "The capital of Italy is"
LONGEST = " the" * 256
ZERO = {"method": "zero", "seed": 0}

# Question, and the seconds that its whole answer may take on two cores; None where no target was set.
QUESTIONS: dict[str, tuple[dict[str, Any], float | None]] = {
    "open": ({"ask": "open"}, 0.4),
    "a clicked head, seen closely": ({"ask": "part", "part": "L23H4", "position": 4}, None),
    "a clicked head, ablated (zero)": ({"ask": "ablate", "parts": ["L23H4"], **ZERO}, 0.25),
    "another head, ablated (mean)": ({"ask": "ablate", "parts": ["L9H1"], "method": "mean", "seed": 0}, 0.25),
    "lines of flow": ({"ask": "flow", "position": 4}, None),
    "map of 270 heads": ({"ask": "head_map", **ZERO}, 4.0),
    "a patch": ({"ask": "patch", "corrupted": CORRUPTED, "part": "L20.attn", "position": 4}, None),
    "map of patches, streams": ({"ask": "patch_map", "corrupted": CORRUPTED, "over": "resid_pre"}, None),
    "map of patches, heads": ({"ask": "patch_map", "corrupted": CORRUPTED, "over": "head"}, None),
    "steering, 20 tokens": (
        {"ask": "steer", "toward": "I love this", "away": "I hate this", "layer": 16, "coef": 2},
        None,
    ),
    "two prompts compared": ({"ask": "compare", "other": CORRUPTED}, None),
    "identities": ({"ask": "identities"}, None),
    "open, 256 tokens": ({"ask": "open", "prompt": LONGEST}, None),
    "a clicked head, ablated, 256 tokens": ({"ask": "ablate", "prompt": LONGEST, "parts": ["L23H4"], **ZERO}, None),
}


@dataclass(frozen=True)
class _Times:
    whole_s: float
    first_s: float
    longest_s: float
    n_parts: int


def main() -> int:
    """Measure and print; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--skip-long", action="store_true", help="leave the prompts of 256 tokens out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = tlab.load(MODEL)
    missed = []
    print(f"threads {torch.get_num_threads()}, medians of {options.repeats}\n")  # noqa: T201
    print("| question | whole, ms | first part, ms | longest step, ms | parts | target, ms |")  # noqa: T201
    print("|---|---|---|---|---|---|")  # noqa: T201
    for name, (fields, target_s) in QUESTIONS.items():
        question = {"model": MODEL, "prompt": PROMPT, **fields}
        is_long = question["prompt"] == LONGEST
        if is_long and options.skip_long:
            continue
        _timed(model, question)
        found = [_timed(model, question) for _ in range(1 if is_long else options.repeats)]
        times = [1000 * statistics.median(getattr(one, what) for one in found) for what in _COLUMNS]
        wanted = "" if target_s is None else f"{1000 * target_s:.0f}"
        print(f"| {name} | {' | '.join(f'{ms:.0f}' for ms in times)} | {found[0].n_parts} | {wanted} |", flush=True)  # noqa: T201
        if target_s is not None and times[0] > 1000 * target_s:
            missed.append(name)
    if missed:
        print(f"\nmissed: {', '.join(missed)}")  # noqa: T201
    return 1 if missed else 0


_COLUMNS = ("whole_s", "first_s", "longest_s")


def _timed(model: tlab.Model, question: dict[str, Any]) -> _Times:
    steps = answers(model, question)
    began = last = time.perf_counter()
    first = longest = 0.0
    n_parts = 0
    while True:
        try:
            part = next(steps)
            is_over = False
        except StopIteration:
            part, is_over = None, True
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
        if part is not None:
            n_parts += 1
        if not first and (part is not None or is_over):
            first = now - began
        if is_over:
            return _Times(now - began, first, longest, n_parts)


if __name__ == "__main__":
    sys.exit(main())
