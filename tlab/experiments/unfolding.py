"""`unfold`: a prompt's whole way through the model at every position at once, from one forward pass.

Refuses: changing anything. What each number means alone is said by the verb that it comes from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pandas as pd
import torch

from tlab.engine import run, unembed
from tlab.errors import UnsupportedModel, shown
from tlab.experiments.attribution import Attribution, attributed
from tlab.experiments.direct import Leaving, obstacle
from tlab.experiments.logit_lens import LensResult, reading_from, stream_sites
from tlab.experiments.prompts import inputs_of, tokens_of
from tlab.experiments.reading import reading_position
from tlab.experiments.steps import sites_of as step_sites
from tlab.experiments.steps import steps_of
from tlab.experiments.terms import sites_of as term_sites
from tlab.experiments.wording import counted, exactly
from tlab.manifest import experiment
from tlab.plain import whole_number
from tlab.precision import precise
from tlab.results import Result, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jaxtyping import Float, Int
    from torch import Tensor

    from tlab.engine import Inputs, Run
    from tlab.models import Model

__all__ = ["Unfolding", "growing_unfolding", "unfold"]


@dataclass(frozen=True, eq=False, repr=False)
class Unfolding(Result):
    """One run, seen from all its positions.

    Args:
        prompt: the text that was run.
        tokens: the prompt, token by token.
        ids: their ids.
        position: the position that `moved`, `direct` and the answer are about.
        answer: the model's likeliest token there.
        next: `pos rank token token_id probability`: the likeliest next tokens at every position.
        stream: length of the residual stream before each block and behind the last.
        attn: length of what attention writes, over the length of the stream that it meets.
        mlp: the same for the MLP; 0 in a block that has none.
        moved: length of what attention, all heads together, carried to `position` from every other, over the length
            of all that it wrote there.
        moved_by: the head with the largest share of it.
        direct: the answer's logit as a sum over heads and MLPs; `None` where the model's logits are no sum.
        lens: the logit lens, for the layers that were read; `None` if it was not asked for.
        identity_error: by how much the writes, added up, miss the model's own stream, of its largest number.

    """

    prompt: str
    tokens: tuple[str, ...]
    ids: tuple[int, ...]
    position: int
    answer: str
    next: pd.DataFrame
    stream: Float[Tensor, "layer pos"]
    attn: Float[Tensor, "layer pos"]
    mlp: Float[Tensor, "layer pos"]
    moved: Float[Tensor, "layer src_pos"]
    moved_by: Int[Tensor, "layer src_pos"]
    direct: Attribution | None
    lens: LensResult | None
    identity_error: float

    def to_frame(self) -> pd.DataFrame:
        """Return `layer pos token stream attn mlp`, one row a block and position; `stream` is the one behind it."""
        n_layers, n_pos = self.attn.shape
        return pd.DataFrame(
            {
                "layer": [layer for layer in range(n_layers) for _ in range(n_pos)],
                "pos": [*range(n_pos)] * n_layers,
                "token": self.tokens * n_layers,
                "stream": self.stream[1:].flatten().tolist(),
                "attn": self.attn.flatten().tolist(),
                "mlp": self.mlp.flatten().tolist(),
            }
        )

    def _twin_frame(self) -> pd.DataFrame:
        frame = self.to_frame()
        return frame[frame["pos"] == self.position].round(3)

    def explain(self) -> str:
        """Say what the model expects, how the stream grows on the way there, and where attention brought most from."""
        first = self.next[self.next["pos"] == self.position].iloc[0]
        here = self.stream[:, self.position]
        layer, src = divmod(int(self.moved[:, : self.position + 1].argmax()), self.position + 1)
        return (
            f"{counted(len(self.tokens), 'token')} through {counted(len(self.attn), 'block')}. After position "
            f"{self.position} ({self.tokens[self.position]!r}) the model expects {self.answer!r} "
            f"({percent(float(first['probability']))}). The stream there enters the blocks with length "
            f"{float(here[0]):.2f} and leaves them with {float(here[-1]):.2f}. Attention carries most, for what it "
            f"writes, in layer {layer} from {self.tokens[src]!r} (position {src}), most of it through "
            f"L{layer}H{int(self.moved_by[layer, src])}. The writes add up to the model's own stream "
            f"{exactly(self.identity_error)}. A long write, or a thick line, need not matter for the answer: "
            f"ablate and patch measure that."
        )


@experiment
def unfold(model: Model, prompt: str, *, position: int | None = None, k: int = 5, lens: bool = True) -> Unfolding:
    """Follow a prompt through the model at all positions at once.

    One pass gives what several verbs would ask for one by one: the next tokens at every position (`predict`), how much
    attention and MLPs write (`dataflow`), the logit lens (`logit_lens`), what each head and MLP says directly for the
    answer (`attribute`), and what attention carried to one position from every other.

    What was carried from a position in a layer is the sum over heads of its value, weighted with the pattern and put
    through the output projection. A head may read a position strongly and bring little from there, since the value
    is short: the pattern alone does not show that.

    Args:
        model: from `load`; a decoder.
        prompt: the text to run.
        position: which position `moved` and `direct` are about; by default the last.
        k: how many next tokens are named at each position.
        lens: whether the stream is read by the logit lens, which takes most of the time.

    Shapes:
        stream: `layer pos`, one layer more than there are blocks
        attn, mlp: `layer pos`
        moved: `layer src_pos`; 0 behind `position`

    Units: lengths in those of the stream, which have none; `attn`, `mlp` and `moved` are shares; probabilities from 0
        to 1.

    Invariants:
        Every number is that of the verb named above; what attention carried, summed as vectors, is what it wrote, but
        for its bias.

    Raises:
        UnsupportedModel: the model is no decoder.
        UnknownOption: the position lies outside the prompt, or `k` outside the vocabulary.

    Cost: one forward pass, and `layer × pos` unembeddings for the lens.

    Example:
        >>> unfold(load("smollm2-135m"), "The capital of France is", lens=False).answer
        ' Paris'

    Source:
        Kobayashi et al., "Attention is Not Only a Weight: Analyzing Transformers with Vector Norms" (2020),
        arXiv:2004.10102: our `moved` is the norm of their transformed and weighted vectors, summed over heads first.

    """
    *_, last = growing_unfolding(model, prompt, position=position, k=k, lens=lens)
    return last


def growing_unfolding(
    model: Model, prompt: str, *, position: int | None = None, k: int = 5, lens: bool = True
) -> Iterator[Unfolding]:
    """Yield `unfold`'s result as it grows: first without the lens, then with more and more of the lens' layers.

    Whoever stops listening leaves nothing behind in the model. The arguments are those of `unfold`.
    """
    if model.family != "decoder":
        raise UnsupportedModel(
            f"unfolding refused: expected a decoder, got the {model.family} {shown(model.name)}; "
            f"follow it with dataflow, or take 'smollm2-135m'"
        )
    k = whole_number("k", k, 1, model.d_vocab, "try k=5")
    inputs = inputs_of(model, prompt)
    place = reading_position(model, inputs.ids[0], position)
    done = run(model, inputs, sites=_sites(model))
    unfolded = _unfolded(model, (prompt, inputs, done), place, k)
    yield unfolded
    if not lens:
        return
    layers = range(model.n_layers + 1)
    reading = reading_from(model, inputs, done, layers)
    frames: list[pd.DataFrame] = []
    for frame in reading.frames(model, lambda stream: unembed(model, stream)):
        frames.append(frame)
        yield replace(unfolded, lens=reading.result(model, pd.concat(frames, ignore_index=True)))


def _sites(model: Model) -> list[str]:
    known = model.sites
    per_block = [f"blocks.{layer}.attn.{step}" for layer in range(model.n_layers) for step in ("pattern", "v", "z")]
    wanted = [*stream_sites(model.n_layers), *per_block, *step_sites(model.anatomy.decoder, "", known)]
    wanted += term_sites(model, "head") if obstacle(model) is None else []
    return list(dict.fromkeys(wanted))


def _unfolded(model: Model, ran: tuple[str, Inputs, Run], position: int, k: int) -> Unfolding:
    prompt, inputs, done = ran
    ids = inputs.ids[0]
    answer_id = int(done.logits[0, position].argmax())
    seen = {site: tensor[0] for site, tensor in done.captured.items()}
    stream = torch.stack([seen[site] for site in stream_sites(model.n_layers)])
    steps, error = steps_of(model.anatomy.decoder, "", seen)
    written = {step.name: _relative(step.out, step.before) for step in steps if step.before is not None}
    moved = [_moved(model, layer, seen, position) for layer in range(model.n_layers)]
    direct = None
    if obstacle(model) is None:
        logits = done.logits[0, position]
        direct = attributed(model, (prompt, ids, done), position, [answer_id], by="head", logits=logits)
    return Unfolding(
        prompt=prompt,
        tokens=tokens_of(model, ids),
        ids=tuple(ids.tolist()),
        position=position,
        answer=model.to_text(answer_id),
        next=_next(model, done.logits[0], k),
        stream=precise(stream).norm(dim=-1).cpu(),
        attn=_grid(written, "attn", model.n_layers, len(ids)),
        mlp=_grid(written, "mlp", model.n_layers, len(ids)),
        moved=torch.stack([lengths for lengths, _ in moved]).cpu(),
        moved_by=torch.stack([heads for _, heads in moved]).cpu(),
        direct=direct,
        lens=None,
        identity_error=error,
    )


def _relative(out: Tensor, before: Tensor) -> Float[Tensor, " pos"]:
    lengths: Tensor = precise(out).norm(dim=-1) / precise(before).norm(dim=-1)
    return lengths


def _grid(written: Mapping[str, Tensor], part: str, n_layers: int, n_pos: int) -> Float[Tensor, "layer pos"]:
    rows = [written.get(f"L{layer}.{part}") for layer in range(n_layers)]
    return torch.stack([torch.zeros(n_pos) if row is None else row.cpu() for row in rows])


def _next(model: Model, logits: Float[Tensor, "pos d_vocab"], k: int) -> pd.DataFrame:
    probabilities, ids = (found.flatten().tolist() for found in precise(logits).softmax(-1).topk(k))
    n_pos = len(logits)
    return pd.DataFrame(
        {
            "pos": [pos for pos in range(n_pos) for _ in range(k)],
            "rank": [*range(1, k + 1)] * n_pos,
            "token": [model.to_text(token_id) for token_id in ids],
            "token_id": ids,
            "probability": probabilities,
        }
    )


def _moved(model: Model, layer: int, seen: Mapping[str, Tensor], position: int) -> tuple[Tensor, Tensor]:
    """Return, for each position read, the relative length of what was carried, and the head that carried most."""
    block = model.anatomy.decoder.blocks[layer]
    base, attn = f"blocks.{layer}.attn", block.attn
    weights, values, z = seen[f"{base}.pattern"][:, position], seen[f"{base}.v"], seen[f"{base}.z"][position]
    values = values.repeat_interleave(len(weights) // values.shape[1], dim=1)
    by_head = torch.einsum("hs,she,hem->hsm", weights, values, attn.W_O)
    whole = torch.einsum("he,hem->m", z, attn.W_O)
    way = Leaving(block, "attn", whole if attn.b_O is None else whole + attn.b_O)
    carried = way.part(by_head)
    wrote = precise(seen[f"{base}.out"][position]).double().norm()
    lengths = carried.sum(0).norm(dim=-1) / wrote
    return lengths.to(torch.float32), carried.norm(dim=-1).argmax(0)
