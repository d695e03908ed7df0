"""`check`: whether the names of a model's places mean what they say, measured on one prompt.

Refuses: repairing anything, and judging what an experiment concludes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from tlab.engine import Edit, run
from tlab.experiments.prompts import inputs_of
from tlab.manifest import experiment
from tlab.results import Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from tlab.anatomy.parts import Attention, Block, Stack
    from tlab.engine import Inputs, Run
    from tlab.models import Model

__all__ = ["TOLERANCE", "CheckReport", "check"]

_PROMPT = "The quick brown fox jumps over the lazy dog."
_TARGET = "A fox"
# What the order of sums may cost, as a share of the largest number of the same vector; TransformerLens' guide calls
# 1e-4 suspicious in float32. In float64 some models still take their softmax in float32.
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4, torch.bfloat16: 0.05, torch.float16: 0.01}

# Each check in the order in which it is reported, and what holds if it does.
_SAYS = {
    "logits": "the logits are those of the model's own forward pass",
    "stream": "resid_pre is what the model's own pass hands to each block",
    "reached": "every site that is listed is passed (sites that were not)",
    "rows": "each row of a pattern sums to one (with attention sinks: to at most one)",
    "causal": "no position reads a later one (largest weight there)",
    "softmax": "the softmax of the scores is the pattern",
    "z": "pattern times values is z",
    "attn.out": "z through the output projection is what attention adds to the stream",
    "neurons": "the activation of pre (times pre_linear) is post",
    "mlp.out": "post through the down projection is what the MLP adds to the stream",
    "wiring": "the stream before a block and what its parts add give the stream after it",
    "unembed": "the final norm's output through the unembedding gives the logits",
    "edits": "an edit at every kind of site changes the output (kinds where it did not)",
}
_EXACT = frozenset({"reached", "causal", "edits"})


@dataclass(frozen=True, eq=False, repr=False)
class CheckReport(Result):
    """What was checked, how far off it was, and how far off it may be.

    Args:
        model: the model's name.
        dtype: its kind of number, from which the tolerance follows.
        n_tokens: how long the prompt was.
        frame: `check says error tolerance ok where places`; `where` is the place with the largest error, of `places`
            many. A check that does not apply to the model is left out.

    """

    model: str
    dtype: str
    n_tokens: int
    frame: pd.DataFrame

    @property
    def is_ok(self) -> bool:
        """Whether every check holds."""
        return bool(self.frame["ok"].all())

    @property
    def failures(self) -> tuple[str, ...]:
        """The names of the checks that do not hold."""
        return tuple(self.frame.loc[~self.frame["ok"], "check"])

    def to_frame(self) -> pd.DataFrame:
        """Return `check says error tolerance ok where places`, one row a check."""
        return self.frame.copy()

    def _twin_frame(self) -> pd.DataFrame:
        # What fails comes first, since the text shows the first rows only.
        frame = self.frame[["check", "error", "tolerance", "ok", "where"]].sort_values("ok", kind="stable")
        for column in ("error", "tolerance"):
            frame[column] = [f"{value:.1e}" for value in frame[column]]
        return frame

    def explain(self) -> str:
        """Say whether the model can be trusted, and where not."""
        n_checks, n_failed = len(self.frame), len(self.failures)
        opening = f"{n_checks - n_failed} of {n_checks} checks hold for {self.model!r} in {self.dtype}"
        if self.is_ok:
            measured = self.frame[~self.frame["check"].isin(_EXACT)]
            worst = measured.loc[(measured["error"] / measured["tolerance"]).idxmax()]
            return (
                f"{opening}, on {self.n_tokens} tokens. The largest error is {worst['error']:.1e} "
                f"({worst['check']}, at {worst['where']}), where {worst['tolerance']:.0e} is allowed. "
                f"The names mean what they say; whether the weights are the right ones this does not show."
            )
        failed = "; ".join(
            f"{row['check']} at {row['where']} (error {row['error']:.2g}, allowed {row['tolerance']:.0e})"
            for _, row in self.frame[~self.frame["ok"]].iterrows()
        )
        return f"{opening}, on {self.n_tokens} tokens. These do not: {failed}. Trust no experiment on this model."


@experiment
def check(model: Model, prompt: str = _PROMPT) -> CheckReport:
    """Measure on one prompt whether the names of the model's places mean what they say.

    Every place is held against its neighbours and against the model's own forward pass: rows of patterns sum to one,
    pattern times values is `z`, what attention and MLP add makes the next stream, and so on. `load` compares logits
    only; this says where a difference comes from.

    Args:
        model: from `load`.
        prompt: the text to run.

    Returns:
        A report with the measured error, the tolerance and a verdict for each check that applies to the model.

    Units: errors are shares of the largest number in the same vector; for `rows` and `causal` they are weights, for
        `reached` and `edits` they are counted.

    Raises:
        UnusablePrompt: the prompt cannot be run.

    Cost: two forward passes, all sites captured, and one pass for each kind of site.

    Example:
        >>> check(load("smollm2-135m")).is_ok
        True

    See Also:
        `why_different`, for two numbers that should be the same.

    """
    inputs = inputs_of(model, prompt, target=_TARGET if model.family == "encoder-decoder" else None)
    own = _own_pass(model, inputs)
    finished = run(model, inputs, sites=model.sites, predicts=model.anatomy.unembed is not None)
    found: dict[str, dict[str, float]] = {name: {} for name in _SAYS}
    found["reached"] = {site: float(site not in finished.captured) for site in model.sites}
    if finished.found is not None:
        _note(found["logits"], "logits", _apart(finished.logits, own["logits"]))
    for prefix, stack in _stacks(model):
        states = own[f"{prefix}states"]
        for layer, block in enumerate(stack.blocks):
            place = f"{prefix}blocks.{layer}"
            at = _Places(finished.captured, f"{place}.")
            _note(found["stream"], f"{place}.resid_pre", _apart(at["resid_pre"], states[layer]))
            for check_name, site, error in _in_block(block, at, is_causal=stack.is_causal):
                _note(found[check_name], f"{place}.{site}", error)
            # The model's own stream behind all blocks but the last is known; behind that one, a norm has changed it.
            after = states[layer + 1] if layer + 1 < len(stack.blocks) else at["resid_post"]
            _note(found["wiring"], f"{place}.resid_post", _wiring_error(block, states[layer], after, at))
    _note(found["unembed"], "logits", _unembed_error(model, finished))
    found["edits"] = _deaf(model, inputs, finished)
    return _report(model, inputs, found)


def _report(model: Model, inputs: Inputs, found: Mapping[str, Mapping[str, float]]) -> CheckReport:
    rows = []
    for name, errors in found.items():
        if not errors:
            continue
        # An error that is no number is the largest of all.
        where = max(errors, key=lambda place: math.inf if math.isnan(errors[place]) else errors[place])
        error = sum(errors.values()) if name in {"reached", "edits"} else errors[where]
        tolerance = 0.0 if name in _EXACT else TOLERANCE[model.dtype]
        rows.append((name, _SAYS[name], error, tolerance, error <= tolerance, where, len(errors)))
    columns = ["check", "says", "error", "tolerance", "ok", "where", "places"]
    source = inputs.ids if inputs.source is None else inputs.source
    return CheckReport(
        model=model.name,
        dtype=str(model.dtype).removeprefix("torch."),
        n_tokens=source.shape[1],
        frame=pd.DataFrame(rows, columns=columns),
    )


class _Places:
    """What stood at the sites of one block; `None` where it was not passed."""

    def __init__(self, captured: Mapping[str, Tensor], prefix: str) -> None:
        self._captured = captured
        self._prefix = prefix

    def __getitem__(self, step: str) -> Tensor | None:
        return self._captured.get(f"{self._prefix}{step}")


def _note(errors: dict[str, float], place: str, error: float | None) -> None:
    if error is not None:
        errors[place] = error


def _apart(found: Tensor | None, expected: Tensor | None, *terms: Tensor) -> float | None:
    """Return how far two tensors lie apart, as a share of the largest number in the same vector of either or a term."""
    if found is None or expected is None:
        return None
    if found.shape != expected.shape:
        return math.inf
    difference = (found.float() - expected.float()).abs().amax(-1)
    scale = torch.stack([term.float().abs().amax(-1) for term in (expected, found, *terms)]).amax(0)
    return float((difference / scale.clamp(min=torch.finfo(torch.float32).tiny)).max())


def _stacks(model: Model) -> Iterator[tuple[str, Stack]]:
    if model.anatomy.encoder is not None:
        yield "encoder.", model.anatomy.encoder
    yield "", model.anatomy.decoder


def _own_pass(model: Model, inputs: Inputs) -> dict[str, Any]:
    """Return the logits and hidden states of Hugging Face's own forward pass."""
    given: dict[str, Any] = {"input_ids": inputs.ids, "output_hidden_states": True}
    if model.family == "encoder-decoder":
        given |= {"input_ids": inputs.source, "decoder_input_ids": inputs.ids}
    if model.family != "encoder":
        given["use_cache"] = False
    # Its parameters ask for no gradients, so that no graph is kept.
    output = model.hf(**given)
    if model.family == "encoder-decoder":
        states = {"encoder.states": output.encoder_hidden_states, "states": output.decoder_hidden_states}
    else:
        states = {"states": output.hidden_states}
    return {**states, "logits": output[0]}


def _in_block(block: Block, at: _Places, *, is_causal: bool) -> Iterator[tuple[str, str, float | None]]:
    """Yield the checks inside one block: name, site, error."""
    attentions = [("attn", block.attn)] + ([("cross_attn", block.cross)] if block.cross is not None else [])
    for part, attn in attentions:
        yield from _in_attention(attn, part, at, is_causal=is_causal and part == "attn")
        z, out = at[f"{part}.z"], f"{part}.out"
        if z is not None and z.shape[2:] != attn.W_O.shape[:2]:
            yield "attn.out", out, math.inf
        elif z is not None:
            written = torch.einsum("bphe,hem->bpm", z, attn.W_O)
            written = written if attn.b_O is None else written + attn.b_O
            yield "attn.out", out, _apart(at[out], _leaving(block, "attn" if part == "attn" else "cross", written))
    mlp = block.mlp
    if mlp is None or mlp.act is None or mlp.W_out is None:
        return
    pre, linear, post = (at[f"mlp.{step}"] for step in ("pre", "pre_linear", "post"))
    if pre is not None:
        active = mlp.act(pre)
        yield "neurons", "mlp.post", _apart(post, active if linear is None else active * linear)
    if post is not None:
        bias = getattr(mlp.down, "bias", None)
        written = post @ mlp.W_out if bias is None else post @ mlp.W_out + bias
        yield "mlp.out", "mlp.out", _apart(at["mlp.out"], _leaving(block, "mlp", written))


def _in_attention(
    attn: Attention, part: str, at: _Places, *, is_causal: bool
) -> Iterator[tuple[str, str, float | None]]:
    scores, pattern, value = (at[f"{part}.{step}"] for step in ("scores", "pattern", "v"))
    if pattern is None:
        return
    site, has_sinks = f"{part}.pattern", getattr(attn.module, "sinks", None) is not None
    excess = pattern.float().sum(-1) - 1
    yield "rows", site, float((excess.clamp(min=0) if has_sinks else excess.abs()).max())
    if is_causal:
        yield "causal", site, float(pattern.triu(1).abs().max())
    if scores is not None and not has_sinks:
        yield "softmax", site, _apart(pattern, scores.float().softmax(-1).to(pattern.dtype))
    if value is not None:
        shared = value.repeat_interleave(pattern.shape[1] // value.shape[2], dim=2)
        yield "z", f"{part}.z", _apart(at[f"{part}.z"], torch.einsum("bhds,bshe->bdhe", pattern, shared))


def _leaving(block: Block, place: str, written: Tensor) -> Tensor:
    """Return what reaches the stream of what a part wrote: after its own norm and factor, if it has one."""
    norm = block.norms.get(f"{place}_post")
    written = written if norm is None else norm(written)
    return written * block.scale


def _wiring_error(block: Block, before: Tensor, after: Tensor | None, at: _Places) -> float | None:
    """Return how far the next stream is from what the block's parts make of this one."""
    attn, cross, mlp = at["attn.out"], at["cross_attn.out"], at["mlp.out"]
    if attn is None or after is None or before.shape != attn.shape:
        return None if after is None else math.inf
    terms = [before, *(part for part in (attn, cross, mlp) if part is not None)]
    if block.is_parallel and mlp is not None:
        return _apart(before + attn + mlp, after, *terms)
    stream = before
    for place, added in (("attn", attn), ("cross", cross), ("mlp", mlp)):
        if added is not None:
            base = block.norms[place](stream) if block.adds_to_normed else stream
            norm = block.norms.get(f"{place}_sum")
            stream = base + added if norm is None else norm(base + added)
    return _apart(stream, after, *terms)


def _unembed_error(model: Model, finished: Run) -> float | None:
    head, stack = model.anatomy.unembed, model.anatomy.decoder
    last = "ln_final.out" if stack.final_norm is not None else f"blocks.{model.n_layers - 1}.resid_post"
    stream = finished.captured.get(last)
    if head is None or not head.is_linear or stream is None or finished.found is None:
        return None
    stream = (stream if stack.project is None else stack.project(stream)) * head.input_scale
    logits = stream @ model.W_U
    bias = getattr(head.linear, "bias", None)
    logits = (logits if bias is None else logits + bias) * head.scale
    if head.softcap is not None:
        logits = torch.tanh(logits / head.softcap) * head.softcap
    return _apart(logits if head.bias is None else logits + head.bias, finished.logits)


def _deaf(model: Model, inputs: Inputs, finished: Run) -> dict[str, float]:
    """Return each kind of site with 1.0 if an edit there, in the middle of the model, leaves the output as it was."""
    output = "logits" if finished.found is not None else f"blocks.{model.n_layers - 1}.resid_post"
    if not finished.captured[output].isfinite().all():
        return {}  # whatever is no number stays none, edited or not
    middles = [f"{prefix}blocks.{(len(stack.blocks) - 1) // 2}." for prefix, stack in _stacks(model)]
    kinds = [site for site in model.sites if site.startswith(tuple(middles))]
    changed = {}
    for site in kinds:
        edited = run(
            model, inputs, sites=[output], edits=[Edit(site, _tilted)], predicts=model.anatomy.unembed is not None
        )
        changed[site] = float(torch.equal(edited.captured[output], finished.captured[output]))
    return changed


def _tilted(tensor: Tensor) -> Tensor:
    # Neither one factor nor one summand for all, which a norm behind the site would undo.
    slope = torch.linspace(0.5, 1.0, tensor.shape[-1], device=tensor.device).to(tensor.dtype)
    return tensor * slope + 0.5
