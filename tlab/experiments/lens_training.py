"""`train_tuned_lens`: fit a tuned lens to a model, and measure it on texts that it was not trained on."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from tlab.errors import UnknownOption, UnknownTarget, UnsupportedModel, shown
from tlab.experiments.lens_fitting import Translators, Way, fit, loads_of, streams_of
from tlab.experiments.tuned_lens import HELD_OUT, ORDINARY, TunedLens
from tlab.learning.corpus import checked_context, pieces_of
from tlab.learning.texts import sample_texts
from tlab.manifest import experiment
from tlab.plain import finite_number, whole_number
from tlab.references import REFERENCE_PROMPTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jaxtyping import Float, Int

    from tlab.models import Model

    _Pieces = Callable[[], Iterator[Int[Tensor, " pos"]]]

__all__ = ["train_tuned_lens"]

_HELD_OUT_SHARE = 0.1
_N_MEASURED = 200
_CURVE_POINTS = 50


@experiment
def train_tuned_lens(
    model: Model,
    texts: Sequence[str] | None = None,
    *,
    layers: Sequence[int] | None = None,
    rank: int | None = 64,
    steps: int = 600,
    batch: int = 32,
    lr: float = 3e-3,
    context: int | None = None,
    seed: int = 0,
) -> TunedLens:
    """Train a translator for each layer until the final norm and unembedding read its stream as they read the last.

    A translator adds an affine function of the stream to the stream; at the beginning it adds nothing, so that training
    starts at the logit lens. What is minimised is the divergence of the reading from the model's own final prediction:
    no text's next token is used. A tenth of the texts is kept from training, and both lenses are measured on it and on
    tlab's own reference sentences, which are of another kind.

    Args:
        model: from `load`.
        texts: what to train on, at least two texts; by default English prose that every Python brings along, all of it
            about Python. A lens is at home in the kind of text that it was trained on.
        layers: which to train, from 0 (the embedding); all but the last by default.
        rank: of what a translator adds; `None` for any, which takes `d_model²` numbers a layer.
        steps: of the optimiser (Adam), its learning rate falling to nought.
        batch: positions a step.
        lr: learning rate.
        context: tokens that are read at once; 128 by default, or as many as the model can.
        seed: of the order, of the texts that are held out, of the beginning.

    Units: divergences in nats.

    Invariants:
        The same arguments on the same machine give the same lens.

    Raises:
        UnknownOption: an option outside its values, or fewer than two texts.
        UnsupportedModel: an encoder-decoder.
        UnusablePrompt: a text cannot be read, or the model predicts no tokens.

    Cost: a forward pass over `steps × batch` tokens, and per step a forward and backward pass of each translator
        over about 1,500 tokens of the vocabulary.

    Source:
        Belrose et al. (2023), arXiv:2303.08112. Their translators have any rank, and their loss sums over the whole
        vocabulary; they train on far more text.

    """
    generator = torch.Generator().manual_seed(whole_number("seed", seed, 0, 2**63 - 1, "try seed=0"))
    chosen = _checked_layers(layers, model.n_layers)
    n_rank = None if rank is None else min(whole_number("rank", rank, 1, 2**31, "try rank=64"), model.d_model)
    n_steps = whole_number("steps", steps, 1, 10**6, "try steps=600")
    n_rows = whole_number("batch", batch, 1, 10**5, "try batch=32")
    if finite_number("lr", lr) <= 0:
        raise UnknownOption(f"lr refused: expected a number above 0, got {shown(lr)}; try lr=0.003")
    training, held_out, n_held_out = _split(model, texts, seed, context)
    translators = Translators(len(chosen), model.d_model, n_rank, generator)
    translators.to(model.device)
    curve: list[dict[str, Any]] = []

    def note(step: int, losses: Tensor) -> None:
        if step % max(1, n_steps // _CURVE_POINTS) == 0 or step == n_steps - 1:
            pairs = zip(chosen, losses.tolist(), strict=True)
            curve.extend({"step": step, "layer": layer, "loss_nats": loss} for layer, loss in pairs)

    way = Way(model)
    loads = loads_of(model, training, chosen, n_steps * n_rows)
    scale, log_average = fit(
        way, translators, loads, steps=n_steps, batch=n_rows, lr=lr, generator=generator, note=note
    )
    lens = TunedLens(
        model_name=model.name,
        layers=chosen,
        rank=n_rank,
        read=None if translators.read is None else translators.read.detach().cpu(),
        write=translators.write.detach().cpu(),
        bias=(translators.bias.detach() * scale[:, None]).cpu(),
        n_positions=n_steps * n_rows,
        held_out=n_held_out,
        frame=pd.DataFrame(),
        curve=pd.DataFrame(curve),
    )
    ordinary = [model.to_ids(prompt, cut=True) for prompt in REFERENCE_PROMPTS]
    measured = [
        _measured(way, lens, texts=name, pieces=pieces, log_average=log_average)
        for name, pieces in ((HELD_OUT, held_out()), (ORDINARY, iter(ordinary)))
    ]
    return replace(lens, frame=pd.concat(measured, ignore_index=True))


def _split(model: Model, texts: Sequence[str] | None, seed: int, context: int | None) -> tuple[_Pieces, _Pieces, int]:
    """Return the texts as ids in pieces: those to train on, those to measure on, and how many texts the latter are."""
    if model.family == "encoder-decoder":
        raise UnsupportedModel(
            f"model unusable here: expected a decoder or an encoder, got the encoder-decoder {shown(model.name)}, "
            f"whose decoder reads no texts alone; use logit_lens"
        )
    model.check_predicts()
    length = checked_context(model, context)
    given = sample_texts() if texts is None else texts
    listed = [] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    if len(listed) < 2:  # noqa: PLR2004  one to train on, one to measure on
        raise UnknownOption(
            f"texts refused: expected at least two texts, got {shown(texts)}; one of ten is kept to measure on"
        )
    random.Random(seed).shuffle(listed)  # noqa: S311  an order, no secret
    n_held_out = max(1, round(_HELD_OUT_SHARE * len(listed)))
    training, held_out = (
        functools.partial(pieces_of, model, some, length) for some in (listed[n_held_out:], listed[:n_held_out])
    )
    if any(next(pieces(), None) is None for pieces in (training, held_out)):
        raise UnknownOption(
            "texts refused: expected texts of two tokens or more, got none on one side; bring longer ones"
        )
    return training, held_out, n_held_out


def _measured(
    way: Way, lens: TunedLens, *, texts: str, pieces: Iterator[Tensor], log_average: Float[Tensor, " d_vocab"]
) -> pd.DataFrame:
    """Return how far both lenses are from the final prediction, over the whole vocabulary, at some positions."""
    found: list[Tensor] = []
    for piece in pieces:
        found.append(streams_of(way.model, piece, lens.layers))
        if sum(part.shape[1] for part in found) >= 2 * _N_MEASURED:
            break
    every = torch.cat(found, dim=1)
    # Evenly from all that was read, so that no single text decides.
    chosen = torch.linspace(0, every.shape[1] - 1, min(_N_MEASURED, every.shape[1])).long()
    streams = every[:, chosen.to(every.device)]
    log_p = way.logits(way.features(streams[-1])).float().log_softmax(-1)

    def divergence(log_q: Tensor) -> float:
        return float((log_p.exp() * (log_p - log_q)).sum(-1).mean())

    def of(stream: Tensor) -> float:
        return divergence(way.logits(way.features(stream)).float().log_softmax(-1))

    average = divergence(log_average)
    return pd.DataFrame(
        {
            "texts": texts,
            "layer": layer,
            "n_positions": streams.shape[1],
            "logit_lens_kl_nats": of(stream),
            "tuned_lens_kl_nats": of(lens.translate(layer, stream)),
            "average_kl_nats": average,
        }
        for layer, stream in zip(lens.layers, streams, strict=False)
    )


def _checked_layers(layers: Sequence[int] | None, n_layers: int) -> tuple[int, ...]:
    if layers is None:
        return tuple(range(n_layers))
    listed = tuple(layers) if isinstance(layers, Iterable) and not isinstance(layers, str) else (layers,)
    if not listed:
        raise UnknownOption(f"layers refused: expected at least one, got {shown(layers)}; leave it out to train all")
    repair = "0 is the embedding, and the last layer needs no translator"
    numbers = {whole_number("layer", layer, 0, n_layers - 1, repair, kind=UnknownTarget) for layer in listed}
    return tuple(sorted(numbers))
