"""Answers worked out ahead: one file a prompt, in which a Lab without a kernel finds what can be asked by clicking.

A file holds answers of `tlab.lab.answers` by their questions; many parts are worked out together, which gives the same
numbers. Refuses: HTML, and choosing prompts.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import torch

from tlab.errors import UnknownOption
from tlab.experiments.ablation import ablate_each
from tlab.experiments.component import components
from tlab.lab.answers import answer
from tlab.lab.digits import digits
from tlab.lab.intervening import N_CONTROLS, OVER, ablation_answer
from tlab.lab.looking import part_answer
from tlab.lab.prompts import PROMPTS
from tlab.lab.questions import DIALECTS, canonical, checked_question
from tlab.loading import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tlab.lab.prompts import LabPrompt
    from tlab.models import Model

    _Question = dict[str, Any]
    _Pairs = Iterator[tuple[_Question, dict[str, Any]]]

__all__ = ["COEFS", "freeze", "frozen_text", "shortened"]

COEFS = (-2, -1, 1, 2, 4)
_NUMBERS = 6
_EFFECTS = 4
_N_CELLS = 6
_VERSION = 1


def freeze(folder: Path, name: str, only: str) -> Path:
    """Write one prompt's file, in a process that does nothing else.

    Args:
        folder: where to.
        name: whose answers, as `tlab.load` takes it.
        only: the prompt's name.

    Returns:
        The file.

    """
    # Sums over several threads are rounded in another order each time, and a file is to be the same twice.
    torch.set_num_threads(1)
    chosen = next(one for one in PROMPTS if one.name == only)
    text = frozen_text(load(name), chosen, on_step=lambda step: print(f"{step} …", file=sys.stderr))  # noqa: T201
    path = folder / f"{only}.json"
    path.write_text(text, encoding="utf-8")
    return path


def frozen_text(model: Model, chosen: LabPrompt, on_step: Callable[[str], object] = print) -> str:
    """Return one prompt's file as JSON text; the same model gives the same text.

    Args:
        model: whose answers are kept.
        chosen: the prompt.
        on_step: is told what is being worked out.

    """
    pairs: list[tuple[_Question, dict[str, Any]]] = []
    for what, some in _every(model, chosen):
        on_step(f"{chosen.name}: {what}")
        pairs += some
    content = {
        "version": _VERSION,
        "model": model.name,
        "prompt": chosen.prompt,
        "questions": [canonical(checked_question(question)) for question, _ in pairs],
        "answers": [shortened(found) for _, found in pairs],
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)


def shortened(found: dict[str, Any]) -> dict[str, Any]:
    """Return an answer as a file keeps it: of a part seen closely, less of what would make up most of a file.

    Of the tokens that are promoted and suppressed the first four each are left. Of a head, patterns have three decimals
    and scores one; vectors keep their first numbers; keys and values are told up to the position that is read
    most, and the numbers of that one only.
    """
    if "effects" in found and len(found["effects"]) > 2 * _EFFECTS:
        found = {**found, "effects": [*found["effects"][:_EFFECTS], *found["effects"][-_EFFECTS:]]}
    if found.get("kind") != "head":
        return found
    pattern = [[_decimals(weight) for weight in row] for row in found["pattern"]]
    own = pattern[found["position"]]
    most = own.index(max(own))
    vectors = {
        name: [*({"norm": digits(one["norm"], 3), "first": []} for one in vector[:most]), _short(vector[most])]
        if isinstance(vector, list)
        else _short(vector)
        for name, vector in found["vectors"].items()
    }
    return {
        **found,
        "vectors": vectors,
        "pattern": pattern,
        "scores": [[score if score is None else digits(round(score, 1)) for score in row] for row in found["scores"]],
    }


def _short(vector: dict[str, Any]) -> dict[str, Any]:
    return {**vector, "first": digits(vector["first"][:_NUMBERS], 3)}


def _decimals(weight: float) -> float:
    short = round(weight, 3)
    return int(short) if short == int(short) else short


def _every(model: Model, chosen: LabPrompt) -> Iterator[tuple[str, _Pairs]]:
    base = {"model": model.name, "prompt": chosen.prompt}
    n_pos = len(model.to_ids(chosen.prompt))
    last = n_pos - 1
    heads = [f"L{layer}H{head}" for layer in range(model.n_layers) for head in range(model.n_heads)]
    mlps = [f"L{layer}.mlp" for layer in range(model.n_layers)] if model.d_mlp else []
    streams = ["embed", *(f"L{layer}" for layer in range(model.n_layers))]
    looking: list[_Question] = [
        {"ask": "open"},
        *({"ask": "flow", "position": position} for position in range(n_pos)),
        {"ask": "lens", "kind": "logit"},
        {"ask": "heads"},
        {"ask": "identities"},
        {"ask": "compare", "other": chosen.corrupted},
    ]
    zero = {"method": "zero", "seed": 0}
    maps: list[_Question] = [{"ask": "head_map", **zero}]
    corrupted = {"corrupted": chosen.corrupted}
    maps += [{"ask": "patch_map", **corrupted, "over": over} for over in OVER if mlps or over != "mlp_out"]
    between = {"toward": chosen.toward, "away": chosen.away, "layer": chosen.layer}
    pushes: list[_Question] = [{"ask": "steer", **between, "coef": coef * chosen.scale} for coef in COEFS]
    yield "what is looked at", _asked(model, base, looking)
    yield f"{len(heads) + len(mlps) + len(streams)} parts", _parts(model, base, [*heads, *mlps, *streams], last)
    yield f"{len(heads) + len(mlps)} ablations", _ablations(model, base, [*heads, *mlps])
    mapped = list(_asked(model, base, maps))
    yield "maps", iter(mapped)
    strongest = [{"ask": "patch", **corrupted, **cell} for cell in _strongest(mapped)]
    yield f"{len(strongest)} patches", _asked(model, base, strongest)
    yield "steering", _asked(model, base, pushes)
    largest = _largest(mapped[0][1]["effect"], 1)[0]
    about = {"ask": "ablate", "parts": [f"L{largest[0]}H{largest[1]}"], **zero}
    plain = [{"ask": "code", "about": {**base, **about}, "dialect": dialect} for dialect in DIALECTS]
    calls = [{"ask": "code", "about": {**base, **one}, "dialect": "tlab"} for one in (*maps, looking[0])]
    yield "code", _coded(model, base, [*plain, *calls])


def _strongest(mapped: list[tuple[_Question, dict[str, Any]]]) -> Iterator[_Question]:
    """Yield the cells of the maps of patches that bring most along, each as part and position."""
    for question, found in mapped:
        over = question.get("over")
        if over == "resid_pre":
            for layer, position in _largest(found["recovered"], _N_CELLS):
                yield {"part": f"L{layer}.resid_pre", "position": position}
        elif over == "head":
            for layer, head in _largest(found["recovered"], _N_CELLS):
                yield {"part": f"L{layer}H{head}", "position": None}


def _largest(rows: list[list[float | None]], n: int) -> list[tuple[int, int]]:
    cells = [(abs(value or 0), row, column) for row, values in enumerate(rows) for column, value in enumerate(values)]
    return [(row, column) for _, row, column in sorted(cells, key=lambda cell: -cell[0])[:n]]


def _coded(model: Model, base: _Question, questions: list[_Question]) -> _Pairs:
    """Yield programs, without the place where this machine keeps the model: they are read on another."""
    for question in questions:
        whole = {**base, **question}
        try:
            found = answer(model, whole)
        except UnknownOption:
            # Plain code is written for some architectures only.
            continue
        program = found["code"].replace(str(model.folder), f"…/{model.folder.name}") if model.folder else found["code"]
        yield whole, {**found, "code": program}


def _asked(model: Model, base: _Question, questions: list[_Question]) -> _Pairs:
    for question in questions:
        whole = {**base, **question}
        yield whole, answer(model, whole)


def _parts(model: Model, base: _Question, parts: list[str], position: int) -> _Pairs:
    for part, zoom in zip(parts, components(model, base["prompt"], parts, position=position), strict=True):
        yield {**base, "ask": "part", "part": part, "position": position}, part_answer(model, zoom, part)


def _ablations(model: Model, base: _Question, parts: list[str]) -> _Pairs:
    for part, found in zip(
        parts, ablate_each(model, base["prompt"], parts, controls=N_CONTROLS, everywhere=True), strict=True
    ):
        yield {**base, "ask": "ablate", "parts": [part], "method": "zero", "seed": 0}, ablation_answer(found)
