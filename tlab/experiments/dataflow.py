"""`dataflow`: a prompt's way through the machine, step by step, with what each step gives out and what that changes."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch

from tlab.engine import run, unembed
from tlab.experiments.prompts import inputs_of, tokens_of
from tlab.experiments.reading import reading_position, watch
from tlab.experiments.steps import sites_of, steps_of
from tlab.experiments.wording import counted, exactly
from tlab.manifest import experiment
from tlab.precision import precise
from tlab.results import Result, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from tlab.engine import Inputs
    from tlab.experiments.steps import Step
    from tlab.models import Model

__all__ = ["Dataflow", "dataflow"]

# Steps whose streams are unembedded at once: each takes a few times the vocabulary in memory.
_AT_ONCE = 32
_UNKNOWN = float("nan")
_Row = dict[str, object]
# The table's columns, in order, and what stands there where nothing can be said.
_EMPTY: _Row = {
    "name": "",
    "stack": "",
    "kind": "",
    "site": "",
    "axes": "pos",
    "shape": "",
    "norm": _UNKNOWN,
    "relative": _UNKNOWN,
    "cosine": _UNKNOWN,
    "stream_norm": _UNKNOWN,
    "top_token": None,
    "top_probability": _UNKNOWN,
    "answer_probability": _UNKNOWN,
}


@dataclass(frozen=True, eq=False, repr=False)
class Dataflow(Result):
    """Every step between a text and the next token's probabilities, in order.

    Args:
        prompt: the text that was run.
        tokens: what the stack that predicts reads.
        source_tokens: what the encoder of an encoder-decoder reads; else empty.
        position: the position whose lengths, angles and lens readings the table holds.
        answer: the model's own likeliest token there; empty if it predicts none.
        probability: the model's probability of it.
        identity_error: by how much the steps, added up, miss the stream that the model itself hands on, relative to
            its largest number.
        frame: `step stack name kind site axes shape norm relative cosine stream_norm top_token top_probability
            answer_probability`. `norm` is the length of what the step gives out, `relative` that length over the
            stream's before it, `cosine` the angle between the two, `stream_norm` the stream's length after it; the
            lens reads the stream after it. In an encoder-decoder, the encoder's lengths are means over its positions.

    """

    prompt: str
    tokens: tuple[str, ...]
    source_tokens: tuple[str, ...]
    position: int
    answer: str
    probability: float
    identity_error: float
    frame: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """Return one row a step."""
        return self.frame.copy()

    @property
    def writes(self) -> pd.DataFrame:
        """The steps that add to the stream of the stack that predicts: attention, cross-attention and MLPs."""
        own = self.frame["stack"] != "encoder" if self.source_tokens else self.frame["stack"] != ""
        return self.frame[own & self.frame["kind"].isin(("attn", "cross", "mlp"))]

    @property
    def settled(self) -> str:
        """The first step from which on the lens names the answer without interruption; empty if there is none."""
        read = self.frame[self.frame["top_token"].notna() & (self.frame["kind"] != "logits")]
        first = ""
        for name, token in zip(read["name"].iloc[::-1], read["top_token"].iloc[::-1], strict=True):
            if token != self.answer:
                break
            first = str(name)
        return first

    def _twin_frame(self) -> pd.DataFrame:
        frame = self.frame[["name", "site", "shape", "norm", "relative", "cosine", "top_token"]].copy()
        frame["top_token"] = [token if isinstance(token, str) else "" for token in frame["top_token"]]
        return frame.round(2)

    def explain(self) -> str:
        """Say how the stream grows, which step changes it most, and where the answer appears."""
        writes = self.writes
        largest = writes.loc[writes["relative"].idxmax()]
        streams = self.frame["stream_norm"][self.writes.index]
        start = float(self.frame["stream_norm"][: writes.index[0]].dropna().iloc[-1])
        return (
            f"{counted(len(self.tokens), 'token')} in {len(self.frame)} steps. At position {self.position} "
            f"({self.tokens[self.position]!r}) the stream enters the blocks with length {start:.2f} and leaves them "
            f"with {float(streams.iloc[-1]):.2f}; the step that writes most, for the stream it meets, is "
            f"{largest['name']} "
            f"({largest['relative']:.2f} times its length).{self._answer()} "
            f"The steps add up to the model's own stream {exactly(self.identity_error)}. "
            f"A long write need not matter for the answer: lengths and lens readings are no causes."
        )

    def _answer(self) -> str:
        if not self.answer:
            return ""
        where = f"from {self.settled} on" if self.settled else "only behind the last block"
        answer = f"{self.answer!r} ({percent(self.probability)})"
        return f" The model ends on {answer}, which the logit lens names first {where}."


@experiment
def dataflow(model: Model, prompt: str, *, position: int | None = None, target: str | None = None) -> Dataflow:
    """Follow a prompt through the whole model: tokens, embedding, every norm, attention and MLP, final norm, logits.

    Args:
        model: from `load`.
        prompt: the text to run.
        position: at which position lengths and lens are read; by default the last, in an encoder its mask.
        target: in an encoder-decoder, what the decoder has written so far.

    Invariants:
        What the steps add up to is the model's own stream after every block.

    Raises:
        UnknownOption: the position lies outside the prompt.

    Cost: one forward pass, and a lens reading (one product with the unembedding) for each step.

    Example:
        >>> dataflow(load("smollm2-135m"), "The capital of France is").answer
        ' Paris'

    Source:
        The picture of a stream that parts read and write: Elhage et al., "A Mathematical Framework for Transformer
        Circuits" (2021), transformer-circuits.pub. The lens: nostalgebraist, "interpreting GPT: the logit lens" (2020).

    """
    inputs = inputs_of(model, prompt, target=target)
    place = reading_position(model, inputs.ids[0], position)
    logits, seen = _watched(model, inputs, place)
    anatomy = model.anatomy
    steps, error = steps_of(anatomy.decoder, "", seen)
    stack = "decoder" if model.family == "encoder-decoder" else model.family
    answer_id = None if logits is None else int(logits.argmax())
    own = _rows(steps, stack, inputs.ids.shape[1])
    source_rows: list[_Row] = []
    if anatomy.encoder is not None and inputs.source is not None:
        source_steps, source_error = steps_of(anatomy.encoder, "encoder.", seen)
        source_rows, error = _rows(source_steps, "encoder", inputs.source.shape[1]), max(error, source_error)
    if logits is not None and answer_id is not None:
        _read_lens(model, steps, own[1:], answer_id)
        own.append(_logits_row(model, logits, stack, inputs.ids.shape[1]))
    frame = pd.DataFrame([*source_rows, *own])
    frame.insert(0, "step", range(len(frame)))
    return Dataflow(
        prompt=prompt,
        tokens=tokens_of(model, inputs.ids[0]),
        source_tokens=() if inputs.source is None else tokens_of(model, inputs.source[0]),
        position=place,
        answer="" if answer_id is None else model.to_text(answer_id),
        probability=0.0 if logits is None else float(precise(logits).softmax(-1).max()),
        identity_error=error,
        frame=frame,
    )


def _watched(model: Model, inputs: Inputs, position: int) -> tuple[Tensor | None, dict[str, Tensor]]:
    """Return the logits at the position, if there are any, and what stood there; of the encoder, all positions."""
    anatomy, known = model.anatomy, model.sites
    seen: dict[str, Tensor] = {}

    def note(site: str, tensor: Tensor) -> None:
        seen[site] = tensor[0]

    edits = [
        watch(site, functools.partial(note, site), positions=(position,))
        for site in sites_of(anatomy.decoder, "", known)
    ]
    whole = [] if anatomy.encoder is None else sites_of(anatomy.encoder, "encoder.", known)
    whole += [site for site in ("encoder.ln_final.out", "ln_final.out", "embed") if site in known]
    predicts = anatomy.unembed is not None
    done = run(model, inputs, sites=whole, edits=edits, read=(position,) if predicts else None, predicts=predicts)
    seen |= {site: tensor[0] for site, tensor in done.captured.items()}
    # What is read at one position only is final norm and logits; the embedding is one of a whole prompt.
    seen["embed"] = seen["embed"][position : position + 1]
    if not predicts and "ln_final.out" in seen:
        seen["ln_final.out"] = seen["ln_final.out"][position : position + 1]
    return (done.logits[0, 0] if predicts else None), seen


def _rows(steps: Sequence[Step], stack: str, n_pos: int) -> list[_Row]:
    tokens = "encoder.tokens" if steps[0].name.startswith("encoder.") else "tokens"
    rows = [{**_EMPTY, "name": tokens, "stack": stack, "kind": "tokens", "shape": str(n_pos)}]
    for step in steps:
        row = {**_EMPTY, "name": step.name, "stack": stack, "kind": step.kind, "site": step.site}
        row |= {"axes": "pos d_model", "shape": f"{n_pos}×{step.out.shape[-1]}", "norm": _length(step.out)}
        if step.before is not None:
            lengths = precise(step.before).norm(dim=-1)
            row["relative"] = float((precise(step.out).norm(dim=-1) / lengths).mean())
            row["cosine"] = float(torch.cosine_similarity(precise(step.out), precise(step.before), dim=-1).mean())
        if step.after is not None:
            row["stream_norm"] = _length(step.after)
        rows.append(row)
    return rows


def _length(vectors: Tensor) -> float:
    return float(precise(vectors).norm(dim=-1).mean())


def _read_lens(model: Model, steps: Sequence[Step], rows: Sequence[_Row], answer_id: int) -> None:
    """Note into the steps' rows what the stream after each says if it is read as the last."""
    changed = [
        (row, step.after)
        for row, step in zip(rows, steps, strict=True)
        if step.after is not None and step.after.shape[-1] == model.d_model
    ]
    for first in range(0, len(changed), _AT_ONCE):
        some = changed[first : first + _AT_ONCE]
        probabilities = precise(unembed(model, torch.cat([stream for _, stream in some]))).softmax(-1)
        for (row, _), found in zip(some, probabilities, strict=True):
            top = int(found.argmax())
            row["top_token"] = model.to_text(top)
            row["top_probability"] = float(found[top])
            row["answer_probability"] = float(found[answer_id])


def _logits_row(model: Model, logits: Tensor, stack: str, n_pos: int) -> _Row:
    highest, top = precise(logits).softmax(-1).max(-1)
    return {
        **_EMPTY,
        "name": "logits",
        "stack": stack,
        "kind": "logits",
        "site": "logits",
        "axes": "pos d_vocab",
        "shape": f"{n_pos}×{logits.shape[-1]}",
        "norm": _length(logits),
        "top_token": model.to_text(int(top)),
        "top_probability": float(highest),
        "answer_probability": float(highest),
    }
