"""Answers that change something: a part ablated, every head in turn, a part patched, every place in turn, a push.

Refuses: computing. Every number is one that a verb of tlab gave.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from tlab import metrics
from tlab.errors import UnusableToken
from tlab.experiments.ablation import ablate
from tlab.experiments.ablation_sweep import growing_ablation_sweep
from tlab.experiments.direction import steering_vector
from tlab.experiments.patch_sweep import growing_patch_sweep
from tlab.experiments.patching import patch
from tlab.experiments.predict import predict
from tlab.experiments.steering import growing_steer
from tlab.lab.digits import digits
from tlab.lab.looking import guesses
from tlab.lab.said import said

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import pandas as pd

    from tlab.experiments.ablation import AblationResult
    from tlab.experiments.direction import SteeringVector
    from tlab.experiments.steering import SteerResult
    from tlab.models import Model

    _Answer = dict[str, Any]
    _Steps = Generator[_Answer | None, None, _Answer]
    _Method = Literal["zero", "mean", "resample"]

__all__ = [
    "N_CONTROLS",
    "N_NEW_TOKENS",
    "OVER",
    "ablated",
    "ablation_answer",
    "direction",
    "head_mapped",
    "named",
    "patch_mapped",
    "patched",
    "steered",
]

# Our names of what a map goes over, and tlab's.
OVER = {"resid_pre": "resid_pre", "attn_out": "attn_out", "mlp_out": "mlp_out", "head": "heads"}
N_CONTROLS = 5
N_NEW_TOKENS = 20
# A click is answered at once up to this length; beyond it the controls come in a second part.
_LONGEST_AT_ONCE = 48
# Of a map: passes of some tenths of a second, between which it can be stopped.
_POSITIONS_AT_ONCE = 256


def ablated(model: Model, prompt: str, *, parts: Sequence[str], method: _Method, seed: int) -> _Steps:
    """Return what ablating parts does; of a long prompt, yield it first without the controls."""
    options: dict[str, Any] = {"method": method, "seed": seed, "compare_methods": False, "everywhere": True}
    if len(model.to_ids(prompt)) > _LONGEST_AT_ONCE:
        yield ablation_answer(ablate(model, prompt, list(parts), controls=0, **options))
    return ablation_answer(ablate(model, prompt, list(parts), controls=N_CONTROLS, **options))


def ablation_answer(found: AblationResult) -> _Answer:
    """Return what `ablate` found as an answer."""
    everywhere = found.everywhere
    return {
        "parts": list(found.targets),
        "method": found.method,
        "token": found.token,
        "clean": guesses(found.frame, "clean"),
        "patched": guesses(found.frame, "patched"),
        "clean_p": digits(found.clean_probability),
        "patched_p": digits(found.patched_probability),
        "clean_logit": digits(found.clean_logit),
        "patched_logit": digits(found.patched_logit),
        "kl_nats": digits(found.kl_nats),
        "next": [
            {"token": token, "id": one, "p": digits(p)}
            for token, one, p in zip(
                everywhere["token"], everywhere["token_id"].tolist(), everywhere["probability"], strict=True
            )
        ],
        "controls": [digits(p) for p in found.controls.values()],
        **said(found.method, found.explain()),
    }


def head_mapped(model: Model, prompt: str, *, method: _Method, seed: int) -> _Steps:
    """Yield what ablating every head in turn does to the answer's logit, a few layers more each time; return all."""
    clean = predict(model, prompt, k=1)
    metric = metrics.logit(named(model, clean.frame))
    for swept in growing_ablation_sweep(
        model, prompt, metric=metric, method=method, seed=seed, positions_at_once=_POSITIONS_AT_ONCE
    ):
        found = {"token": clean.token, "effect": digits(swept.changes), **said("head_map", swept.explain())}
        if not swept.is_complete:
            yield found
    return found


def named(model: Model, likeliest: pd.DataFrame) -> str | int:
    """Return the first token of a table as its text, or as its id where several tokens read the same."""
    text, token_id = str(likeliest["token"].iloc[0]), int(likeliest["token_id"].iloc[0])
    try:
        return text if model.to_id(text) == token_id else token_id
    except UnusableToken:
        return token_id


def patched(model: Model, prompt: str, *, corrupted: str, part: str, position: int | None) -> _Answer:
    """Return what one part, taken from the clean run, brings into the corrupted one."""
    where = None if position is None else [position]
    found = patch(model, prompt, corrupted, part, positions=where)
    frame = found.frame
    answer, against = frame.loc[frame["clean"].idxmax()], frame.loc[frame["corrupted"].idxmax()]
    return {
        "token": answer["token"],
        "clean": guesses(frame, "clean"),
        "patched": guesses(frame, "patched"),
        "clean_p": digits(answer["clean"]),
        "patched_p": digits(answer["patched"]),
        "clean_logit": digits(answer["clean_logit"]),
        "patched_logit": digits(answer["patched_logit"]),
        "kl_nats": digits(found.kl_nats),
        "recovered": digits(found.share),
        "corrupted": guesses(frame, "corrupted"),
        "against": against["token"],
        "controls": [digits(share) for share in found.controls.values()],
        **said("patch", found.explain()),
    }


def patch_mapped(model: Model, prompt: str, *, corrupted: str, over: str) -> _Steps:
    """Yield how much of the difference between two prompts every place carries, some more each time; return all."""
    answers = [predict(model, text, k=1).token for text in (prompt, corrupted)]
    known = {
        "over": over,
        "tokens": model.to_tokens(prompt),
        "corrupted_tokens": model.to_tokens(corrupted),
        "answer": answers[0],
        "against": answers[1],
    }
    for swept in growing_patch_sweep(
        model,
        prompt,
        corrupted,
        over=OVER[over],  # type: ignore[arg-type]
        positions_at_once=_POSITIONS_AT_ONCE,
    ):
        found = {**known, "recovered": digits(swept.shares), **said("patch_map", swept.explain())}
        if not swept.is_complete:
            yield found
    return found


def direction(model: Model, *, toward: str, away: str, layer: int) -> SteeringVector:
    """Return the direction between two texts; single tokens are read from the unembedding.

    A prompt of one token is read where attention has its sink, and says nothing there; as a token it has a direction of
    its own. Without `away`, `toward` is one token and the mean of all stands on the other side.
    """
    lengths = [len(model.to_ids(text)) for text in (toward, away) if text]
    if not away or lengths == [1, 1]:
        return steering_vector(model, toward, away or None, layer=layer, source="unembedding")
    return steering_vector(model, toward, away, layer=layer)


def steered(model: Model, prompt: str, *, toward: str, away: str, layer: int, coef: float) -> _Steps:
    """Yield what a push does to the prediction, and then to the text, token by token; return it with the losses."""
    vector = direction(model, toward=toward, away=away, layer=layer)
    for found in growing_steer(model, prompt, vector, coef=coef, max_new_tokens=N_NEW_TOKENS):
        if math.isnan(found.steered_loss_nats):
            yield _steer_answer(found)
    return _steer_answer(found)


def _steer_answer(found: SteerResult) -> _Answer:
    frame = found.frame
    followed = frame.iloc[0]
    return {
        "token": found.token,
        "clean": guesses(frame, "clean"),
        "patched": guesses(frame, "steered"),
        "clean_p": digits(found.clean_probability),
        "patched_p": digits(found.steered_probability),
        "clean_logit": digits(followed["clean_logit"]),
        "patched_logit": digits(followed["steered_logit"]),
        "kl_nats": digits(found.kl_nats),
        "layer": found.layer,
        "coef": digits(found.coef),
        "push_norm": digits(found.push_norm),
        "stream_norm": digits(found.stream_norm),
        "clean_text": found.clean_continuation,
        "steered_text": found.steered_continuation,
        "clean_loss_nats": digits(found.clean_loss_nats),
        "steered_loss_nats": digits(found.steered_loss_nats),
        "random_kl_nats": [digits(one) for one in found.random_kl_nats],
        **said("steer", found.explain()),
    }
