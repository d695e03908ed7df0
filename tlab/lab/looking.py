"""Answers that change nothing: the first view, lines of flow, a part seen closely, lenses, heads, two prompts beside.

Refuses: computing. Every number is one that a verb of tlab gave.
"""

from __future__ import annotations

import ast
import functools
from typing import TYPE_CHECKING, Any

from tlab.experiments.attention import attention
from tlab.experiments.attribution import attribute
from tlab.experiments.comparison import compare
from tlab.experiments.component import component
from tlab.experiments.head_zoom import HeadZoom
from tlab.experiments.heads import head_scores
from tlab.experiments.logit_lens import logit_lens
from tlab.experiments.mlp_zoom import MlpZoom
from tlab.experiments.patching import patch
from tlab.experiments.tuned_lens import tuned_lens
from tlab.experiments.unfolding import growing_unfolding, unfold
from tlab.lab.digits import digits, row
from tlab.lab.said import held, said

if TYPE_CHECKING:
    from collections.abc import Generator

    import pandas as pd

    from tlab.experiments.logit_lens import LensResult
    from tlab.experiments.stream_zoom import StreamZoom
    from tlab.experiments.tuned_lens import TunedLens
    from tlab.experiments.unfolding import Unfolding
    from tlab.models import Model

    _Answer = dict[str, Any]
    _Steps = Generator[_Answer | None, None, _Answer]

__all__ = [
    "compared",
    "flowed",
    "guesses",
    "identified",
    "lensed",
    "n_scored",
    "opened",
    "part_answer",
    "scored",
    "silent",
    "zoomed",
]

_N_NEXT = 5
_FIRST_NUMBERS = 16
_LONGEST_AT_ONCE = 48


def opened(model: Model, prompt: str, *, max_tokens: int) -> _Steps:
    """Yield the first view of a long prompt with more and more of the lens' layers; return it when all are there."""
    for unfolded in growing_unfolding(model, prompt, k=_N_NEXT):
        is_complete = unfolded.lens is not None and unfolded.lens.frame["layer"].iloc[-1] == model.n_layers
        if not is_complete:
            is_long = len(unfolded.tokens) > _LONGEST_AT_ONCE
            yield _open_answer(model, unfolded, max_tokens) if is_long else None
    return _open_answer(model, unfolded, max_tokens)


def _open_answer(model: Model, unfolded: Unfolding, max_tokens: int) -> _Answer:
    likeliest = [rows for _, rows in unfolded.next.groupby("pos", sort=True)]
    return {
        "facts": {
            "name": model.name,
            "n_layers": model.n_layers,
            "n_heads": model.n_heads,
            "d_model": model.d_model,
            "d_head": model.d_head,
            "d_mlp": model.d_mlp,
            "d_vocab": model.d_vocab,
            "max_tokens": max_tokens,
        },
        "tokens": [{"text": text, "id": one} for text, one in zip(unfolded.tokens, unfolded.ids, strict=True)],
        "next": [guesses(rows, "probability") for rows in likeliest],
        "stream": digits(unfolded.stream),
        "attn": digits(unfolded.attn),
        "mlp": digits(unfolded.mlp),
        "lens": _lens_map(unfolded.lens, model.n_layers, "target_probability", "answer"),
        "direct": _direct(unfolded, model.n_layers),
        **said("open", unfolded.explain()),
    }


def guesses(frame: pd.DataFrame, column: str, n: int = _N_NEXT) -> list[_Answer]:
    """Return the likeliest tokens of a table by one of its columns of probabilities."""
    likeliest = frame.sort_values(column, ascending=False, kind="stable").head(n)
    return [
        {"token": token, "id": one, "p": digits(p)}
        for token, one, p in zip(likeliest["token"], likeliest["token_id"].tolist(), likeliest[column], strict=True)
    ]


def _lens_map(lens: LensResult | None, n_layers: int, *extra: str) -> _Answer:
    """Return a lens' tables, `[layer][pos]`; a layer that was not read yet is an empty list."""
    tables: _Answer = {"token": [[] for _ in range(n_layers + 1)], "p": [[] for _ in range(n_layers + 1)]}
    column, name = extra or ("", "")
    if name:
        tables[name] = [[] for _ in range(n_layers + 1)]
    for layer, rows in () if lens is None else lens.frame.groupby("layer", sort=True):
        tables["token"][layer] = rows["top_token"].tolist()
        tables["p"][layer] = row(rows["probability"])
        if name:
            tables[name][layer] = row(rows[column])
    return tables


def _direct(unfolded: Unfolding, n_layers: int) -> _Answer | None:
    if unfolded.direct is None:
        return None
    parts = unfolded.direct.frame
    mlps = parts[parts["kind"] == "mlp"].set_index("layer")["effect"]
    return {
        "head": digits(unfolded.direct.grid()),
        "mlp": [digits(mlps.get(layer, 0.0)) for layer in range(n_layers)],
    }


def flowed(model: Model, prompt: str, *, position: int) -> _Answer:
    """Return what attention carried to a position from every other, layer by layer."""
    unfolded = unfold(model, prompt, position=position, k=1, lens=False)
    read = position + 1
    return {
        "position": position,
        "weight": digits(unfolded.moved[:, :read]),
        "head": unfolded.moved_by[:, :read].tolist(),
        **said("flow", unfolded.explain()),
    }


def zoomed(model: Model, prompt: str, *, part: str, position: int) -> _Answer:
    """Return one part seen closely."""
    return part_answer(model, component(model, prompt, part, position=position), part)


def part_answer(model: Model, zoom: HeadZoom | MlpZoom | StreamZoom, part: str) -> _Answer:
    """Return what `component` found as an answer."""
    if isinstance(zoom, HeadZoom):
        found = _head_answer(model, zoom)
    elif isinstance(zoom, MlpZoom):
        found = _mlp_answer(model, zoom)
    else:
        kind = "stream"
        found = {
            "kind": kind,
            "reading": zoom.reading,
            "norms": row(zoom.frame["norm"]),
            "effects": _effects(zoom.effects),
        }
    return {**found, "part": part, "position": zoom.position, **said(str(found["kind"]), zoom.explain())}


def _head_answer(model: Model, zoom: HeadZoom) -> _Answer:
    rows = range(len(zoom.tokens))
    at = zoom.position
    return {
        "kind": "head",
        "scores": [digits(zoom.scores[dest, : dest + 1]) for dest in rows],
        "pattern": [digits(zoom.pattern[dest, : dest + 1]) for dest in rows],
        "vectors": {
            "q": _vector(zoom.q[at]),
            "z": _vector(zoom.z[at]),
            "write": _vector(zoom.write[at]),
            "k": [_vector(zoom.k[src]) for src in range(at + 1)],
            "v": [_vector(zoom.v[src]) for src in range(at + 1)],
        },
        "relative_size": digits(zoom.relative_size),
        "effects": _effects(zoom.effects),
        "answer": zoom.answer,
        "answer_effect": digits(zoom.answer_effect),
        "identities": held(zoom.identities, model.dtype),
    }


def _vector(numbers: Any) -> _Answer:  # noqa: ANN401  a tensor
    return {"norm": digits(numbers.norm()), "first": digits(numbers[:_FIRST_NUMBERS])}


def _effects(frame: pd.DataFrame) -> list[_Answer]:
    return [
        {"token": token, "effect": digits(effect)}
        for token, effect in zip(frame["token"], frame["effect"], strict=True)
    ]


def _mlp_answer(model: Model, zoom: MlpZoom) -> _Answer:
    neurons = [
        {
            "neuron": int(one["neuron"]),
            **{name: digits(one[name]) for name in ("activation", "length", "answer_effect")},
            # The table names them as literals, one after the other.
            **{name: list(ast.literal_eval(f"[{one[name]}]")) for name in ("promoted", "suppressed")},
        }
        for one in zoom.frame.to_dict("records")
    ]
    return {
        "kind": "mlp",
        "n_effective": digits(zoom.n_effective),
        "answer": zoom.answer,
        "neurons": neurons,
        "identities": held(zoom.identities, model.dtype),
    }


def lensed(model: Model, prompt: str, *, kind: str, lens: TunedLens | None) -> _Answer:
    """Return what a lens reads at every layer and position."""
    if lens is None or kind == "logit":
        read, explain = (one := logit_lens(model, prompt)), one.explain()
    else:
        both = tuned_lens(model, prompt, lens)
        read, explain = both.tuned, both.explain()
    at_end = read.at(len(read.tokens) - 1)
    return {
        "kind": kind,
        "followed": read.followed,
        **_lens_map(read, model.n_layers),
        "followed_p": row(at_end["followed_probability"]),
        "followed_rank": [int(rank) for rank in at_end["followed_rank"]],
        **said(f"{kind} lens", explain),
    }


# The scores are a model's, not a prompt's.
@functools.lru_cache(maxsize=4)
def _scores(model: Model) -> tuple[dict[str, Any], str]:
    found = head_scores(model, n_tokens=n_scored(model))
    named = {name.replace("_", " "): digits(found.scores[name]) for name in _SCORES}
    return named, found.explain()


def n_scored(model: Model) -> int:
    """Return how many random tokens are said twice to score heads: the verb's own number, if the context has room."""
    return min(50, model.n_ctx // 2)


_SCORES = ("previous_token", "duplicate_token", "induction", "first_token")


def scored(model: Model) -> _Answer:
    """Return what every head does on repeated random tokens."""
    scores, explain = _scores(model)
    return {"scores": scores, **said("heads", explain)}


def compared(model: Model, prompt: str, *, other: str, max_tokens: int) -> _Steps:
    """Return both sides and what lies between them; while each is looked at, there is nothing to show."""
    sides = []
    for text in (prompt, other):
        steps = silent(opened(model, text, max_tokens=max_tokens))
        sides.append((yield from steps))
        yield None
    found = compare(model, prompt, other)
    return {
        "a": sides[0],
        "b": sides[1],
        "pairs": [list(pair) for pair in found.pairs],
        "stream": digits(found.distance),
        "pattern": digits(found.attention_everywhere),
        "kl_nats": digits(found.kl_nats),
        **said("compare", found.explain()),
    }


def silent(steps: _Steps) -> _Steps:
    """Go through an answer's steps without showing what is there so far."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        yield None


def identified(model: Model, prompt: str) -> _Steps:
    """Yield what must hold in this run, one identity after the other; return all of them."""
    errors: dict[str, float] = {}
    for name, measure in (("attention rows sum to 1", _rows), ("parts sum to the logit", _sum)):
        errors[name] = measure(model, prompt)
        yield _identities(model, errors)
    errors["patching a run with itself changes nothing"] = _self_patch(model, prompt)
    return _identities(model, errors)


def _identities(model: Model, errors: dict[str, float]) -> _Answer:
    found = held(errors, model.dtype)
    n_held = sum(one["holds"] for one in found)
    return {
        "identities": found,
        **said("identities", f"{n_held} of {len(found)} identities hold in this run, up to rounding."),
    }


def _rows(model: Model, prompt: str) -> float:
    return float((attention(model, prompt).pattern.sum(-1) - 1).abs().max())


def _sum(model: Model, prompt: str) -> float:
    answer = int(unfold(model, prompt, k=1, lens=False).next["token_id"].iloc[-1])
    return attribute(model, prompt, answer, by="head", controls=0).identity_error


def _self_patch(model: Model, prompt: str) -> float:
    # Streams stand in every model, and what stands there decides all that follows.
    streams = [f"L{layer}.resid_post" for layer in range(model.n_layers)]
    same = patch(model, prompt, prompt, streams, controls=0)
    return abs(same.patched_value - same.clean_value)
