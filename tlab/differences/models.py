"""Two models on one prompt, or a model beside logits from elsewhere: what makes the one's logits the other's.

Refuses: models that predict nothing.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from tlab.differences.changes import (
    has_weights_of,
    in_dtype,
    own_logits,
    rewritten,
    with_config,
    with_tokenizer,
    with_weights,
)
from tlab.differences.judging import Target, Trial, reported, target_number, target_numbers, with_pairs
from tlab.differences.quantities import SAME, gap_of
from tlab.engine import run
from tlab.errors import UnknownOption, shown
from tlab.experiments.prompts import inputs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tlab.differences.quantities import Numbers
    from tlab.differences.report import Differences
    from tlab.models import Model

__all__ = ["beside_model", "between_models"]

_DTYPES = (torch.float64, torch.float32, torch.bfloat16)
# What a configuration says and no forward pass reads.
_IDLE = frozenset({"dtype", "torch_dtype", "_name_or_path", "transformers_version", "architectures", "use_cache"})


def between_models(a: Model, b: Model, prompt: str) -> Differences:
    """Compare two models' logits at the last position of a prompt."""

    def last(model: Model) -> Numbers:
        return _named(_logits(model, prompt)[-1])

    base, goal = last(a), last(b)
    target, quantity = _target(a, base, goal)

    def trials() -> Iterator[Trial]:
        ids = [model.to_ids(prompt).tolist() for model in (a, b)]
        if ids[0] != ids[1]:
            yield Trial("tokenizer", shown(ids[0]), shown(ids[1]), lambda: last(with_tokenizer(a, b)))
        if a.dtype != b.dtype:
            old, new = (str(model.dtype).removeprefix("torch.") for model in (a, b))
            yield Trial("kind of number", old, new, lambda: last(in_dtype(a, b.dtype)))
        if not has_weights_of(a, b):
            yield Trial("weights", a.fingerprint[:12], b.fingerprint[:12], lambda: last(with_weights(a, b)))
        one, other = (model.hf.config.to_dict() for model in (a, b))
        keys = sorted(key for key in {*one, *other} if one.get(key) != other.get(key) and key not in _IDLE)
        if keys:
            old, new = (shown({key: config.get(key) for key in keys}) for config in (one, other))
            yield Trial("configuration", old, new, lambda: last(with_config(a, b)))

    return reported((a.name, b.name), base, target, quantity, b_value=target.value(goal), trials=trials())


def beside_model(model: Model, b: Tensor | float, prompt: str, token: str | int | None) -> Differences:
    """Compare a model's logits with logits, or with a number that was made of logits, from elsewhere."""
    if isinstance(b, Tensor):
        shape, token_id = _shape(model, b), None
        kinds = dict(_KINDS)
    else:
        shape, token_id = 0, _token_id(model, token)
        plain = "as probabilities" if 0 <= b <= 1 else "as logits"
        kinds = {plain: _KINDS[plain], **_KINDS, "in percent": lambda logits: 100 * logits.softmax(-1)}

    def read(kind: Callable[[Tensor], Tensor], logits: Tensor, *, position: int = -1) -> Numbers:
        found = kind(logits)
        if token_id is not None:
            return {
                f"the number of {model.to_text(token_id)!r}": pd.Series([float(found[position, token_id])], index=[""])
            }
        return _named(found[position] if shape == 1 else found)

    own = _logits(model, prompt)
    first, *others = kinds
    base = read(kinds[first], own)
    if isinstance(b, Tensor):
        goal = _named(b.double().cpu())
        target, quantity = _target(model, base, goal)
        target = dataclasses.replace(target, same=_COARSE.get(b.dtype, SAME))
        value = target.value(goal)
    else:
        (target, quantity), value = target_number(b, (base,)), b
    changes = [(cause, old, new, functools.cache(compute)) for cause, old, new, compute in _changes(model, prompt)]

    def changed(name: str) -> list[Trial]:
        return [
            Trial(cause, old, new, functools.partial(_of, functools.partial(read, kinds[name]), compute))
            for cause, old, new, compute in changes
        ]

    trials = changed(first)
    trials += [Trial(f"read {name}", first, name, functools.partial(read, kinds[name], own)) for name in others]
    if shape != _ALL and len(own) > 1:
        before = functools.partial(read, kinds[first], own, position=-2)
        trials.append(Trial("read one position before", "the last", "the last but one", before))
    report = reported((model.name, "the other"), base, target, quantity, b_value=value, trials=trials)
    if report.is_same or report.causes:
        return report
    pairs = [
        dataclasses.replace(one, cause=f"{one.cause}, and read {name}", b=f"{one.b}, {name}")
        for name in others
        for one in changed(name)
    ]
    return with_pairs(report, pairs, base, target)


_KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "as logits": lambda logits: logits,
    # Folding TransformerLens' norms into the weights changes nothing here, but it centres the unembedding too.
    "as centred logits": lambda logits: logits - logits.mean(-1, keepdim=True),
    "as probabilities": lambda logits: logits.softmax(-1),
    "as log-probabilities": lambda logits: logits.log_softmax(-1),
}
_ALL = 2
_COARSE = {torch.bfloat16: 0.02, torch.float16: 5e-3}


def _of(read: Callable[[Tensor], Numbers], compute: Callable[[], Tensor]) -> Numbers:
    return read(compute())


def _named(logits: Tensor) -> Numbers:
    """Return logits as numbers: of one position, or of so many that others are not compared with them."""
    name = "logit" if logits.dim() == 1 else f"logits of {len(logits)} positions"
    return {name: pd.Series(logits.double().flatten().cpu().numpy())}


def _target(model: Model, base: Numbers, goal: Numbers) -> tuple[Target, str]:
    """Return the other's logits as a target, and a name for the one that differs most."""
    _, name, at = gap_of(base, goal)
    if not name:
        return (
            Target(left=lambda numbers: gap_of(numbers, goal)[0], value=lambda numbers: _n_rows(numbers, model)),
            "the number of positions",
        )
    position, token_id = divmod(int(at), model.d_vocab)
    where = "" if name == "logit" else f" at position {position}"
    return target_numbers(base, goal)[0], f"the logit of {model.to_text(token_id)!r}{where}"


def _n_rows(numbers: Numbers, model: Model) -> float:
    return sum(len(series) for series in numbers.values()) / model.W_U.shape[1]


def _shape(model: Model, b: Tensor) -> int:
    if b.dim() not in {1, _ALL} or b.shape[-1] != model.W_U.shape[1]:
        raise UnknownOption(
            f"comparison refused: expected logits of the shape d_vocab or pos d_vocab, with {model.W_U.shape[1]} "
            f"tokens, got {tuple(b.shape)}; take one row of the batch"
        )
    return b.dim()


def _token_id(model: Model, token: str | int | None) -> int:
    if token is None:
        raise UnknownOption("comparison refused: expected a token whose number it is, got none; add token=' Paris'")
    return model.to_id(token)


def _changes(model: Model, prompt: str) -> Iterator[tuple[str, str, str, Callable[[], Tensor]]]:
    """Yield what is usually done otherwise elsewhere: the cause, what it is here and there, and the logits with it."""
    for way, text in rewritten(prompt, model):
        yield f"prompt: {way}", shown(prompt), shown(text), functools.partial(_logits, model, text)
    now = str(model.dtype).removeprefix("torch.")
    for dtype in _DTYPES:
        if dtype != model.dtype:
            name = str(dtype).removeprefix("torch.")
            yield f"kind of number: {name}", now, name, functools.partial(_logits_in, model, dtype, prompt)
    yield "attention implementation", "eager", "sdpa", functools.partial(_logits_with_sdpa, model, prompt)


def _logits(model: Model, prompt: str) -> Tensor:
    """Return the prompt's logits, `pos d_vocab`."""
    model.check_predicts()
    return run(model, inputs_of(model, prompt)).logits[0].double().cpu()


def _logits_in(model: Model, dtype: torch.dtype, prompt: str) -> Tensor:
    return _logits(in_dtype(model, dtype), prompt)


def _logits_with_sdpa(model: Model, prompt: str) -> Tensor:
    return own_logits(model, inputs_of(model, prompt), "sdpa")[0].double().cpu()
