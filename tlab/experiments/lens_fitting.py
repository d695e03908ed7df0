"""Fitting a tuned lens: an affine translator for each layer, brought near to the model's own final predictions.

The divergence is estimated over part of the vocabulary: the tokens that come likeliest on average, and a random sample
of all others that stands for them. Refuses: measuring how good a lens is. That needs the whole vocabulary.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tlab.engine import run
from tlab.experiments.logit_lens import stream_sites

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jaxtyping import Float, Int

    from tlab.models import Model

__all__ = ["Candidates", "Translators", "Way", "fit", "loads_of", "streams_of"]

_LOAD_BYTES = 128 * 2**20
_LOAD_POSITIONS = 4096
# How many times longer than the median a vector may be: a few positions carry massive activations.
_LONGEST_FACTOR = 10.0
_N_FREQUENT, _N_SAMPLED = 1024, 512
_N_FOR_AVERAGE = 1024
_AT_ONCE = 128
_WARM_UP_STEPS = 10
_BETAS = (0.9, 0.99)


@dataclass(frozen=True, eq=False)
class Way:
    """The model's own way from a stream to logits, for all tokens or some.

    Args:
        model: from `load`.

    """

    model: Model

    def features(self, stream: Float[Tensor, "... d_model"]) -> Tensor:
        """Return the stream as the unembedding reads it: normed, and projected where the model does that."""
        stack = self.model.anatomy.decoder
        own = stream.to(self.model.dtype)
        normed: Tensor = own if stack.final_norm is None else stack.final_norm(own)
        return normed if stack.project is None else stack.project(normed)

    def logits(self, features: Tensor, ids: Int[Tensor, " token"] | None = None) -> Float[Tensor, "... token"]:
        """Return the logits of some tokens."""
        head: Any = self.model.anatomy.unembed
        if ids is None or not head.is_linear:
            whole: Tensor = head(features)
            return whole if ids is None else whole[..., ids]
        bias = getattr(head.linear, "bias", None)
        logits: Tensor = torch.nn.functional.linear(
            features * head.input_scale, head.linear.weight[ids], None if bias is None else bias[ids]
        )
        logits = logits * head.scale
        if head.softcap is not None:
            logits = torch.tanh(logits / head.softcap) * head.softcap
        return logits if head.bias is None else logits + head.bias.flatten()[ids]

    def average(self, last: Float[Tensor, "row d_model"]) -> Float[Tensor, " d_vocab"]:
        """Return the mean of the final predictions at some positions, as logarithms of probabilities."""
        some = last[:_N_FOR_AVERAGE]
        parts = (some[first : first + _AT_ONCE] for first in range(0, len(some), _AT_ONCE))
        sums = [self.logits(self.features(part)).float().softmax(-1).sum(0) for part in parts]
        average = torch.stack(sums).sum(0) / len(some)
        return average.clamp(min=torch.finfo(torch.float32).tiny).log()


class Candidates:
    """The tokens over which a step estimates the divergence.

    The likeliest on average are always among them; of the others a new sample at each step, whose members count for
    as many tokens as the sample leaves out.

    Args:
        log_average: the mean prediction.
        generator: of the samples.

    """

    def __init__(self, log_average: Float[Tensor, " d_vocab"], generator: torch.Generator) -> None:
        order = log_average.argsort(descending=True)
        self._frequent, self._others = order[:_N_FREQUENT], order[_N_FREQUENT:]
        self._generator = generator

    def draw(self) -> tuple[Int[Tensor, " token"], Float[Tensor, " token"]]:
        """Return tokens, and the logarithm of how many tokens each stands for."""
        n_drawn = min(_N_SAMPLED, len(self._others))
        places = torch.randperm(len(self._others), generator=self._generator)[:n_drawn]
        drawn = self._others[places.to(self._others.device)]
        ids = torch.cat([self._frequent, drawn])
        weights = torch.zeros(len(ids), device=ids.device)
        if n_drawn:
            weights[len(self._frequent) :] = math.log(len(self._others) / n_drawn)
        return ids, weights


class Translators:
    """One affine map a layer, which adds to a stream what it lacks: at the beginning nothing.

    Args:
        n_layers: how many.
        d_model: width of the stream.
        rank: of what is added; `None` for any.
        generator: of the beginning.

    """

    def __init__(self, n_layers: int, d_model: int, rank: int | None, generator: torch.Generator) -> None:
        self.read: Tensor | None = None
        if rank is not None:
            self.read = torch.randn(n_layers, d_model, rank, generator=generator) / d_model**0.5
        self.write = torch.zeros(n_layers, d_model if rank is None else rank, d_model)
        self.bias = torch.zeros(n_layers, d_model)
        for parameter in self.parameters():
            parameter.requires_grad_()

    def parameters(self) -> list[Tensor]:
        """Return what is trained."""
        return [self.write, self.bias] if self.read is None else [self.read, self.write, self.bias]

    def to(self, device: torch.device) -> None:
        """Move everything to a device."""
        for parameter in self.parameters():
            parameter.data = parameter.data.to(device)

    def added(self, streams: Float[Tensor, "layer row d_model"]) -> Float[Tensor, "layer row d_model"]:
        """Return what is added to streams whose numbers are about 1 in size."""
        inner = streams if self.read is None else torch.bmm(streams, self.read)
        return torch.bmm(inner, self.write) + self.bias[:, None]


def fit(
    way: Way,
    translators: Translators,
    loads: Iterator[Float[Tensor, "layer row d_model"]],
    *,
    steps: int,
    batch: int,
    lr: float,
    generator: torch.Generator,
    note: Callable[[int, Float[Tensor, " layer"]], None],
) -> tuple[Float[Tensor, " layer"], Float[Tensor, " d_vocab"]]:
    """Train the translators in place; return each layer's scale and the mean prediction.

    Args:
        way: from streams to logits.
        translators: of all layers but the last row of each load, which is the model's own last stream.
        loads: streams at many positions, again and again.
        steps: how many.
        batch: positions a step.
        lr: learning rate at its highest.
        generator: of the order and of the candidates.
        note: is told the step and each layer's divergence.

    """
    first = next(loads)
    scale = first[:-1].norm(dim=-1).median(dim=-1).values / first.shape[-1] ** 0.5
    log_average = way.average(first[-1])
    candidates = Candidates(log_average, generator)
    every = _batches(itertools.chain([first], loads), steps, batch, generator)
    del first  # a load is large: no two at once
    optimiser = torch.optim.Adam(translators.parameters(), lr=lr, betas=_BETAS)
    for step, rows in enumerate(every):
        for group in optimiser.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / _WARM_UP_STEPS) * (1 - step / steps)
        divergence = _estimate(way, translators, rows, scale, candidates.draw())
        optimiser.zero_grad()
        divergence.sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        note(step, divergence.detach())
    return scale, log_average


def _estimate(
    way: Way, translators: Translators, rows: Tensor, scale: Tensor, candidates: tuple[Tensor, Tensor]
) -> Float[Tensor, " layer"]:
    """Return each layer's mean divergence from the final prediction, over candidates."""
    ids, weights = candidates
    streams, last = rows[:-1], rows[-1]
    units = scale[:, None, None]
    translated = streams + units * translators.added(streams / units)
    log_p = (way.logits(way.features(last), ids).float() + weights).log_softmax(-1)
    log_q = (way.logits(way.features(translated), ids).float() + weights).log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1).mean(-1)


def _batches(
    loads: Iterator[Tensor], steps: int, batch: int, generator: torch.Generator
) -> Iterator[Float[Tensor, "layer row d_model"]]:
    left = steps
    while left:
        load = next(loads)
        order = torch.randperm(load.shape[1], generator=generator).to(load.device)
        for first_row in range(0, len(order), batch)[:left]:
            yield load[:, order[first_row : first_row + batch]]
            left -= 1
        del load


def loads_of(
    model: Model, pieces: Callable[[], Iterator[Int[Tensor, " pos"]]], layers: Sequence[int], n_wanted: int
) -> Iterator[Float[Tensor, "layer row d_model"]]:
    """Yield the streams of some layers and the last at ordinary positions of all pieces, over and over.

    Each load takes a bounded amount of memory, however long the texts are, and none holds many more positions than the
    `n_wanted` that will be used.
    """
    at_once = max(1, min(n_wanted, _LOAD_POSITIONS, _LOAD_BYTES // ((len(layers) + 1) * model.d_model * 4)))
    while True:
        waiting: list[Tensor] = []
        for piece in pieces():
            waiting.append(streams_of(model, piece, layers))
            if sum(part.shape[1] for part in waiting) >= at_once:
                yield _joined(waiting)
        if waiting:
            yield _joined(waiting)


def _joined(waiting: list[Tensor]) -> Tensor:
    """Return the parts as one, and let go of them."""
    whole = torch.cat(waiting, dim=1)
    waiting.clear()
    return whole


def streams_of(model: Model, ids: Int[Tensor, " pos"], layers: Sequence[int]) -> Float[Tensor, "layer row d_model"]:
    """Return the streams of some layers and the last, without the first position and massive activations."""
    sites = stream_sites(model.n_layers)
    wanted = [sites[layer] for layer in (*layers, model.n_layers)]
    captured = run(model, ids, sites=wanted, predicts=False).captured
    streams = torch.stack([captured[site][0, 1:].float() for site in wanted])
    lengths = streams.norm(dim=-1)
    usual = lengths.median(dim=-1, keepdim=True).values
    return streams[:, (lengths <= _LONGEST_FACTOR * usual).all(0)]
