"""One MLP from its neurons' activations to what they write and which tokens that speaks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from tlab.errors import UnknownOption, shown
from tlab.experiments.direct import Leaving
from tlab.experiments.spot import last_site, readout_at, token_effects
from tlab.experiments.wording import exactly
from tlab.precision import precise
from tlab.results import Result

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from tlab.engine import Run
    from tlab.experiments.spot import Spot
    from tlab.models import Model

__all__ = ["MlpZoom", "zoom_mlp"]

_WORDS = 3


@dataclass(frozen=True, eq=False, repr=False)
class MlpZoom(Result):
    """All that one MLP computed in one run.

    Args:
        prompt: the text that was run.
        name: the MLP, e.g. `L3.mlp`.
        tokens: what the stack reads.
        position: the position that `explain` and the table are about.
        pre: what goes into the activation function (in gated MLPs: the gate).
        pre_linear: what the activated gate is multiplied with; `None` in MLPs without a gate.
        post: the neurons' activations.
        out: what reaches the stream.
        n_effective: how many neurons share the writing at `position`: `(Σ s)² / Σ s²`, `s` being the square of the
            length that each writes.
        answer: the model's own likeliest token at `position`; empty if no direct path leads to logits.
        frame: `neuron pre pre_linear activation length answer_effect promoted suppressed` of the neurons that write the
            longest vectors at `position`.
        identities: what must hold → by how much it does not, relative to the largest number.

    """

    prompt: str
    name: str
    tokens: tuple[str, ...]
    position: int
    pre: Float[Tensor, "pos d_mlp"]
    pre_linear: Float[Tensor, "pos d_mlp"] | None
    post: Float[Tensor, "pos d_mlp"]
    out: Float[Tensor, "pos d_model"]
    n_effective: float
    answer: str
    frame: pd.DataFrame
    identities: dict[str, float]

    def to_frame(self) -> pd.DataFrame:
        """Return one row a neuron, the longest write first."""
        return self.frame.copy()

    def _twin_frame(self) -> pd.DataFrame:
        return self.frame[["neuron", "activation", "length", "answer_effect", "promoted"]].round(3)

    def explain(self) -> str:
        """Say which neurons write most and what that says, and that the MLP is the sum of its neurons."""
        first = self.frame.iloc[0]
        speech = (
            f" Directly, that promotes {first['promoted']} and adds {first['answer_effect']:+.2f} to the answer "
            f"{self.answer!r}."
            if self.answer
            else " No direct path leads from it to the logits as a sum."
        )
        return (
            f"At position {self.position} ({self.tokens[self.position]!r}), {self.name} writes a vector of length "
            f"{float(self.out[self.position].norm()):.2f}, shared by about {self.n_effective:.0f} of its "
            f"{self.post.shape[-1]} neurons. The longest comes from neuron {first['neuron']} (activation "
            f"{first['activation']:+.2f}, length {first['length']:.2f}).{speech} "
            f"All neurons together are the MLP's output {exactly(max(self.identities.values()))}."
        )


def zoom_mlp(model: Model, spot: Spot, *, k: int) -> MlpZoom:
    """Run the prompt and return everything about one MLP.

    Raises:
        UnknownOption: the block has none, or its neurons cannot be told apart.

    """
    mlp: Any = spot.block.mlp
    name = f"{spot.prefix}L{spot.layer}.mlp"
    if mlp is None or mlp.W_out is None:
        raise UnknownOption(
            f"site refused: expected an MLP whose neurons can be told apart, got {shown(name)}, which "
            f"{'is not there' if mlp is None else 'chooses among experts'}, in {shown(model.name)}; "
            f"look at its sum with component(model, prompt, '{spot.base}.resid_post')"
        )
    steps = ["pre", *(["pre_linear"] if mlp.is_gated else []), "post", "out"]
    sites = {step: f"{spot.base}.mlp.{step}" for step in steps}
    predicts = model.anatomy.unembed is not None and not spot.prefix
    done = spot.run(model, [*sites.values(), last_site(model)], predicts=predicts)
    seen = {step: precise(done.captured[site][0]).cpu() for step, site in sites.items()}
    post = done.captured[sites["post"]][0]
    lengths = seen["post"][spot.position].abs() * precise(mlp.W_out).norm(dim=-1).cpu()
    answer, frame = _neurons(model, spot, done, post[spot.position], lengths.topk(min(k, len(lengths))).indices)
    for step in ("pre", "pre_linear"):
        values = seen.get(step, seen["pre"])[spot.position][frame["neuron"].tolist()]
        frame[step] = values.tolist() if step in seen else [float("nan")] * len(frame)
    frame["length"] = lengths[frame["neuron"].tolist()].tolist()
    written = post @ mlp.W_out if mlp.down.bias is None else post @ mlp.W_out + mlp.down.bias
    norm = spot.block.norms.get("mlp_post")
    again = precise((written if norm is None else norm(written[None])[0]) * spot.block.scale).cpu()
    shares = lengths**2
    return MlpZoom(
        prompt=spot.prompt,
        name=name,
        tokens=spot.tokens,
        position=spot.position,
        pre=seen["pre"],
        pre_linear=seen.get("pre_linear"),
        post=seen["post"],
        out=seen["out"],
        n_effective=float(shares.sum() ** 2 / (shares**2).sum()),
        answer=answer,
        frame=frame[["neuron", "pre", "pre_linear", "activation", "length", "answer_effect", "promoted", "suppressed"]],
        identities={"all neurons' writes and b_out are mlp.out": _apart(again, seen["out"])},
    )


def _neurons(model: Model, spot: Spot, done: Run, post: Tensor, chosen: Tensor) -> tuple[str, pd.DataFrame]:
    """Return the answer and what each chosen neuron says for it and for all other tokens."""
    mlp: Any = spot.block.mlp
    ids = chosen.tolist()
    frame = pd.DataFrame({"neuron": ids, "activation": precise(post[ids]).tolist()})
    readout = readout_at(model, spot, done)
    if readout is None:
        return "", frame.assign(answer_effect=0.0, promoted="", suppressed="")
    way = Leaving(spot.block, "mlp", mlp.down(post[None, None])[0, 0])
    logits = readout.logits(way.part(post[ids, None] * mlp.W_out[ids]))
    answer = int(done.logits[0, 0].argmax())
    tables = [token_effects(model, row, _WORDS)["token"].tolist() for row in logits]
    frame["answer_effect"] = logits[:, answer].tolist()
    frame["promoted"] = [", ".join(map(repr, tokens[:_WORDS])) for tokens in tables]
    frame["suppressed"] = [", ".join(map(repr, tokens[::-1][:_WORDS])) for tokens in tables]
    return model.to_text(answer), frame


def _apart(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
