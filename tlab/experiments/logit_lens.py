"""`logit_lens`: what the model would say if it stopped after each block."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch

from tlab.engine import run, unembed
from tlab.errors import UnknownOption, UnknownTarget, shown
from tlab.experiments.prompts import inputs_of, tokens_of
from tlab.experiments.reading import reading_position
from tlab.manifest import experiment
from tlab.plain import whole_number
from tlab.precision import precise
from tlab.results import Result, percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor

    from tlab.engine import Inputs, Run
    from tlab.models import Model

__all__ = ["LensResult", "Reading", "logit_lens", "reading_from", "reading_of", "stream_sites"]

# Positions that are unembedded at once: each takes a few times the vocabulary in memory.
_AT_ONCE = 128


@dataclass(frozen=True, eq=False, repr=False)
class LensResult(Result):
    """The lens' reading for every layer and position.

    Args:
        tokens: the prompt, token by token; in an encoder-decoder the decoder's.
        target: the model's own final answer at `position`.
        frame: `layer pos token top_token probability target_probability followed_probability followed_rank kl_nats`;
            layer 0 is the embedding, layer `n` the stream after block `n - 1`; `kl_nats` is the divergence of the
            reading from the model's final distribution at that position.
        followed: the token that is followed through the layers; the target by default.
        position: the position that `explain` and the text twin are about: the last, in an encoder its first mask.
        n_layers: number of blocks.
        uses_final_norm: whether the stream passed the final norm, as the model's own last one does.
        name: `Logit lens` or `Tuned lens`.

    """

    tokens: tuple[str, ...]
    target: str
    frame: pd.DataFrame
    followed: str
    position: int
    n_layers: int
    uses_final_norm: bool
    name: str = "Logit lens"

    @property
    def first_layer(self) -> int:
        """The first layer from which on the lens names the final answer without interruption; `n_layers + 1` if none.

        Of the layers that were read, at `position`.
        """
        here = self.at(self.position)[::-1]
        first = self.n_layers + 1
        # By probability, not by text: two tokens may read the same, such as halves of a letter.
        for layer, top, target in zip(here["layer"], here["probability"], here["target_probability"], strict=True):
            if target < top:
                break
            first = int(layer)
        return first

    def at(self, pos: int) -> pd.DataFrame:
        """Return one position's rows, a layer each, in order.

        Raises:
            UnknownOption: the prompt has no such position.

        """
        n_pos = len(self.tokens)
        chosen = whole_number("position", pos, -n_pos, n_pos - 1, f"the prompt has {n_pos} tokens") % n_pos
        return self.frame[self.frame["pos"] == chosen].sort_values("layer").reset_index(drop=True)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a layer and position."""
        return self.frame.copy()

    def _twin_frame(self) -> pd.DataFrame:
        columns = ["layer", "top_token", "probability", "target_probability", "kl_nats"]
        if self.followed != self.target:
            columns += ["followed_probability", "followed_rank"]
        return self.at(self.position).iloc[::-1][columns].round(3)

    def explain(self) -> str:
        """Say from which layer on the answer stands, how the followed token fares, and what the lens cannot say."""
        final = self.at(self.position).iloc[-1]
        place = f"Read through the {self.name.lower()}" if self.uses_final_norm else "Read without the final norm"
        stands = (
            f"that answer comes first from layer {self.first_layer} of {self.n_layers} on"
            if self.first_layer <= self.n_layers
            else "that answer comes first in none of the layers that were read"
        )
        says = (
            f"ends on {self.target!r} ({percent(final['target_probability'])})"
            if final["layer"] == self.n_layers and self.uses_final_norm
            else f"ends on {self.target!r}"
        )
        return f"The model {says}. {place}, {stands}.{self._followed()}{self._caution(final)}"

    def _followed(self) -> str:
        if self.followed == self.target:
            return ""
        here = self.at(self.position)
        best, last = here.loc[here["followed_probability"].idxmax()], here.iloc[-1]
        if best["layer"] == last["layer"]:
            return (
                f" {self.followed!r} is at its height at the last layer read, {last['layer']}, with "
                f"{percent(last['followed_probability'])} (rank {last['followed_rank']})."
            )
        return (
            f" {self.followed!r} is at its height at layer {best['layer']}, with "
            f"{percent(best['followed_probability'])} (rank {best['followed_rank']}), and at layer {last['layer']} has "
            f"{percent(last['followed_probability'])} (rank {last['followed_rank']})."
        )

    def _caution(self, final: pd.Series) -> str:
        if self.uses_final_norm:
            return ""
        return (
            f" This is a mistake on purpose: the unembedding was trained on normed streams. The reading at layer "
            f"{final['layer']} lies {final['kl_nats']:.2f} nats from the model's own output, where the right lens "
            f"would end at 0; its probabilities are no readings of the model."
        )


@experiment
def logit_lens(
    model: Model,
    prompt: str,
    *,
    token: str | int | None = None,
    layers: Sequence[int] | None = None,
    use_final_norm: bool = True,
    target: str | None = None,
) -> LensResult:
    """Read the residual stream after every block with the model's final norm and unembedding.

    The stream is meant to be read only at its end; the lens reads it early. Where the early reading already names the
    answer, the later blocks changed little; where it is nonsense, the stream may hold the answer in a form that the
    unembedding cannot read.

    Args:
        model: from `load`.
        prompt: the text to run; in an encoder-decoder the source, and the lens reads the decoder.
        token: a token to follow through the layers beside the model's own answer, as text or id.
        layers: which to read, from 0 (the embedding) to the number of blocks; all by default.
        use_final_norm: whether to norm the stream first, as the model does. Without it the lens shows a classic
            mistake: numbers that look like readings and are none.
        target: in an encoder-decoder, what the decoder has written so far.

    Units: probabilities from 0 to 1; divergences in nats.

    Invariants:
        The last layer's reading is the model's own output, if it is normed.

    Raises:
        UnknownTarget: a layer that is not there.
        UnknownOption: no layers, or no final norm that could be left out.
        UnusableToken: the followed token is not a single token.
        UnusablePrompt: the prompt cannot be read, or the model predicts no tokens.

    Cost: one forward pass and `layer × pos` unembeddings.

    Source:
        nostalgebraist, "interpreting GPT: the logit lens" (2020). Our layer 0 is the embedding; the final norm is
        applied at every layer.

    """
    model.check_predicts()
    chosen = _checked_layers(layers, model.n_layers)
    read = unembed if use_final_norm else _without_norm(model)
    reading = reading_of(model, inputs_of(model, prompt, target=target), chosen, token)
    frame = reading.frame(model, lambda stream: read(model, stream))
    return reading.result(model, frame, uses_final_norm=bool(use_final_norm))


@dataclass(frozen=True, eq=False)
class Reading:
    """The streams of one run, ready to be read.

    Args:
        tokens: what the stack that predicts read.
        streams: layer → its stream, `pos d_model`.
        final: the model's own logits, `pos d_vocab`.
        position: where the answer is.
        target_id: the model's answer there.
        followed_id: the token that is followed.

    """

    tokens: tuple[str, ...]
    streams: Mapping[int, Tensor]
    final: Tensor
    position: int
    target_id: int
    followed_id: int

    def result(
        self, model: Model, frame: pd.DataFrame, *, uses_final_norm: bool = True, name: str = "Logit lens"
    ) -> LensResult:
        """Return a table that `frame` or `frames` gave as a result."""
        return LensResult(
            tokens=self.tokens,
            target=model.to_text(self.target_id),
            frame=frame,
            followed=model.to_text(self.followed_id),
            position=self.position,
            n_layers=model.n_layers,
            uses_final_norm=uses_final_norm,
            name=name,
        )

    def frame(
        self, model: Model, read: Callable[[Tensor], Tensor], translate: Callable[[int, Tensor], Tensor] | None = None
    ) -> pd.DataFrame:
        """Return the table of what `read`, from a stream to logits, finds in every stream.

        Args:
            model: from `load`.
            read: from `pos d_model` to `pos d_vocab`.
            translate: what is done to a layer's stream before, if anything is.

        """
        return pd.concat(self.frames(model, read, translate), ignore_index=True)

    def frames(
        self, model: Model, read: Callable[[Tensor], Tensor], translate: Callable[[int, Tensor], Tensor] | None = None
    ) -> Iterator[pd.DataFrame]:
        """Yield the same table in pieces of whole layers, each as soon as it is read."""
        layers, n_pos = list(self.streams), len(self.tokens)
        # One product for several short streams: the unembedding is too large to be fetched for each.
        at_once = max(1, _AT_ONCE // n_pos)
        for first in range(0, len(layers), at_once):
            some = layers[first : first + at_once]
            given = [self.streams[layer] for layer in some]
            if translate is not None:
                given = [translate(layer, stream) for layer, stream in zip(some, given, strict=True)]
            columns = self._columns(model, torch.cat(given), read)
            fixed = {"layer": [layer for layer in some for _ in range(n_pos)], "pos": [*range(n_pos)] * len(some)}
            yield pd.DataFrame({**fixed, "token": self.tokens * len(some), **columns})

    def _columns(self, model: Model, rows: Tensor, read: Callable[[Tensor], Tensor]) -> dict[str, list[object]]:
        columns: dict[str, list[object]] = {name: [] for name in _COLUMNS}
        for first in range(0, len(rows), _AT_ONCE):
            log_q = precise(read(rows[first : first + _AT_ONCE])).log_softmax(-1)
            positions = torch.arange(first, first + len(log_q), device=log_q.device) % len(self.tokens)
            log_p = precise(self.final[positions]).log_softmax(-1)
            top, ids = log_q.max(-1)
            followed = log_q[:, self.followed_id]
            columns["top_token"] += [model.to_text(token_id) for token_id in ids.tolist()]
            columns["probability"] += top.exp().tolist()
            columns["target_probability"] += log_q[:, self.target_id].exp().tolist()
            columns["followed_probability"] += followed.exp().tolist()
            columns["followed_rank"] += ((log_q > followed[:, None]).sum(-1) + 1).tolist()
            columns["kl_nats"] += (log_p.exp() * (log_p - log_q)).nansum(-1).clamp(min=0).tolist()
        return columns


_COLUMNS = (
    "top_token",
    "probability",
    "target_probability",
    "followed_probability",
    "followed_rank",
    "kl_nats",
)


def stream_sites(n_layers: int) -> tuple[str, ...]:
    """Return the sites of the streams that a lens reads: layer 0 is what enters the first block."""
    return ("blocks.0.resid_pre", *(f"blocks.{layer}.resid_post" for layer in range(n_layers)))


def reading_of(model: Model, inputs: Inputs, layers: Sequence[int], token: str | int | None) -> Reading:
    """Run the model once and keep the streams of some layers.

    Raises:
        UnusableToken: the followed token is not a single token.

    """
    followed_id = None if token is None else model.to_id(token)
    sites = stream_sites(model.n_layers)
    finished = run(model, inputs, sites=[sites[layer] for layer in layers])
    return reading_from(model, inputs, finished, layers, followed_id)


def reading_from(
    model: Model, inputs: Inputs, finished: Run, layers: Sequence[int], followed_id: int | None = None
) -> Reading:
    """Return the streams of a run that captured them, and read logits at every position."""
    sites = stream_sites(model.n_layers)
    ids = inputs.ids[0]
    position = reading_position(model, ids, None)
    target_id = int(finished.logits[0, position].argmax())
    return Reading(
        tokens=tokens_of(model, ids),
        streams={layer: finished.captured[sites[layer]][0] for layer in layers},
        final=finished.logits[0],
        position=position,
        target_id=target_id,
        followed_id=target_id if followed_id is None else followed_id,
    )


def _checked_layers(layers: Sequence[int] | None, n_layers: int) -> tuple[int, ...]:
    if layers is None:
        return tuple(range(n_layers + 1))
    listed = tuple(layers) if isinstance(layers, Iterable) and not isinstance(layers, str) else (layers,)
    if not listed:
        raise UnknownOption(f"layers refused: expected at least one, got {shown(layers)}; leave it out to read all")
    repair = "0 is the embedding, leave it out to read all"
    return tuple(sorted({whole_number("layer", layer, 0, n_layers, repair, kind=UnknownTarget) for layer in listed}))


def _without_norm(model: Model) -> Callable[[Model, Tensor], Tensor]:
    stack, head = model.anatomy.decoder, model.anatomy.unembed
    if stack.final_norm is None:
        raise UnknownOption(
            f"use_final_norm refused: expected True for a model that has no norm behind its last block, got False "
            f"for {shown(model.name)}; leave it out"
        )

    def read(_model: Model, stream: Tensor) -> Tensor:
        logits: Tensor = head(stream if stack.project is None else stack.project(stream))  # type: ignore[misc]
        return logits

    return read
