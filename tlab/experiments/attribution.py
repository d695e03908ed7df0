"""`attribute`: cut a logit into what each part of the model wrote for it directly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import torch

from tlab.engine import run
from tlab.errors import UnknownOption, shown
from tlab.experiments.direct import Readout, check_is_sum
from tlab.experiments.prompts import inputs_of, tokens_of
from tlab.experiments.reading import reading_position
from tlab.experiments.terms import GROUPS, Terms, sites_of, terms_of
from tlab.experiments.wording import exactly
from tlab.manifest import experiment
from tlab.plain import whole_number
from tlab.results import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float
    from torch import Tensor

    from tlab.engine import Run
    from tlab.models import Model

__all__ = ["Attribution", "attribute", "attributed"]

_MOST_CONTROLS = 1000
_SAID = 3


@dataclass(frozen=True, eq=False, repr=False)
class Attribution(Result):
    """A logit, or a difference of two, as a sum over the model's parts.

    Args:
        prompt: the text that was run.
        tokens: what the predicting stack read, token by token.
        position: where the logit was read, counted from 0.
        target: the token whose logit it is.
        against: the token whose logit is taken away, or empty.
        by: how the model was cut: `layer`, `component`, `head`, `mlp` or `neuron`.
        total: the sum of all parts' effects.
        model_value: the same number as the model itself computes it (before a soft cap, if there is one).
        identity_error: how far the two lie apart, of the larger of 1 and the model's number.
        softcap: the model squeezes its logits into ± this afterwards; 0 if it does not.
        n_controls: how many random tokens, or pairs of them, the control is a mean over.
        frame: `part layer kind effect control_mean control_std`, in the order in which the parts write.

    """

    prompt: str
    tokens: tuple[str, ...]
    position: int
    target: str
    against: str
    by: str
    total: float
    model_value: float
    identity_error: float
    softcap: float
    n_controls: int
    frame: pd.DataFrame

    @property
    def label(self) -> str:
        """What was cut, for an axis: `logit of ' Paris'` or `logit difference ' Paris' − ' London'`."""
        return f"logit difference {self.target!r} − {self.against!r}" if self.against else f"logit of {self.target!r}"

    def to_frame(self) -> pd.DataFrame:
        """Return one row a part; `effect` adds up to `total`, `control_mean` is the same for random tokens."""
        return self.frame.copy()

    def top(self, n: int = 10) -> pd.DataFrame:
        """Return the `n` parts with the largest effects, of either sign."""
        order = self.frame["effect"].abs().sort_values(ascending=False, kind="stable").index
        return self.frame.loc[order].head(n).reset_index(drop=True)

    def grid(self) -> Float[Tensor, "layer head"]:
        """Return the heads' effects as a map (in an encoder-decoder, of the decoder's heads that read itself).

        Raises:
            UnknownOption: the model was not cut into heads.

        """
        if self.by != "head":
            raise UnknownOption(f"no map of heads: expected by='head', got {shown(self.by)}; ask attribute for it")
        heads = self.frame[(self.frame["kind"] == "head") & ~self.frame["part"].str.contains("cross")]
        return torch.tensor([rows["effect"].tolist() for _, rows in heads.groupby("layer", sort=True)])

    def _twin_frame(self) -> pd.DataFrame:
        return self.top(len(self.frame)).round(3)

    def explain(self) -> str:
        """Say which parts speak for the target directly, beside random tokens, and what that leaves out."""
        largest = ", ".join(self._said(row) for row in self.top(_SAID).to_dict("records"))
        cap = f" It is taken before the model squeezes its logits into ±{self.softcap:g}." if self.softcap else ""
        return (
            f"After {self.prompt!r}, at position {self.position}, the {self.label} is {self.model_value:.2f}, and the "
            f"direct effects of {len(self.frame)} parts add up to it {exactly(self.identity_error)}.{cap} "
            f"The largest: {largest}. "
            f"A direct effect is not the total one: what a part wrote is also read by later parts, "
            f"which ablate and patch measure."
        )

    def _said(self, row: dict[str, Any]) -> str:
        said = f"{row['part']} {row['effect']:+.2f}"
        if not self.n_controls:
            return said
        other = "pair" if self.against else "token"
        if self.n_controls == 1:
            return f"{said} (a random {other}: {row['control_mean']:+.2f})"
        return f"{said} (a random {other}: {row['control_mean']:+.2f} ± {row['control_std']:.2f})"


@experiment
def attribute(
    model: Model,
    prompt: str,
    target: str | int,
    *,
    against: str | int | None = None,
    by: Literal["layer", "head", "mlp", "neuron", "component"] = "component",
    position: int | None = None,
    controls: int = 100,
    seed: int = 0,
    written: str | None = None,
) -> Attribution:
    """Cut a token's logit into what every part of the model wrote for it directly.

    The last stream is the embedding plus all that attention and MLPs wrote. The final norm divides it by its scale;
    with that scale kept as it was, a logit is a sum with one term for each part (direct logit attribution). Random
    tokens are read from the same stream as a control: many parts raise or lower all tokens alike.

    Args:
        model: from `load`.
        prompt: the text to run.
        target: the token whose logit is cut, as text or id.
        against: a token whose logit is taken away, so that what both have in common cancels.
        by: `component` (each attention layer and MLP), `layer`, `head` (each head, each MLP), `mlp` (each MLP, all
            attention together), `neuron` (each neuron, each attention layer).
        position: where the logit is read; by default the last position.
        controls: how many random tokens (or pairs of tokens) the control is a mean over; 0 for none.
        seed: of their choice.
        written: in an encoder-decoder, what the decoder has written so far.

    Units: logits; before the soft cap in models that have one.

    Invariants:
        The effects add up to the model's own logit.

    Raises:
        UnknownOption: the model's last stream is no sum of what its parts wrote (post-norm), its neurons cannot be
            told apart, or an option is outside its values.
        UnusableToken: a token is not a single token.

    Cost: one forward pass, and one product with the output weights for each layer.

    Example:
        >>> attribute(load("smollm2-135m"), "The capital of France is", " Paris", by="head").by
        'head'

    Source:
        Elhage et al., "A Mathematical Framework for Transformer Circuits" (2021), transformer-circuits.pub, which also
        takes the norm's scale as fixed. The total effect, of which this is a part, is what `ablate` measures.

    """
    if by not in GROUPS:
        raise UnknownOption(f"by refused: expected one of {', '.join(GROUPS)}, got {shown(by)}; try by='component'")
    controls = whole_number("controls", controls, 0, _MOST_CONTROLS, "try controls=100")
    check_is_sum(model, "attribution")
    ids = [model.to_id(target)] + ([] if against is None else [model.to_id(against)])
    inputs = inputs_of(model, prompt, target=written)
    place = reading_position(model, inputs.ids[0], position)
    done = run(model, inputs, sites=sites_of(model, by), read=(place,))
    return attributed(
        model, (prompt, inputs.ids[0], done), place, ids, by=by, logits=done.logits[0, 0], controls=controls, seed=seed
    )


def attributed(
    model: Model,
    ran: tuple[str, Tensor, Run],
    position: int,
    ids: Sequence[int],
    *,
    by: str,
    logits: Float[Tensor, " d_vocab"],
    controls: int = 0,
    seed: int = 0,
) -> Attribution:
    """Cut the logit of a run that captured `terms.sites_of`.

    Args:
        model: one whose logits are a sum.
        ran: the prompt, its ids, and the run.
        position: where the logit is read.
        ids: the target, and what it is held against, if anything is.
        by: how the model is cut.
        logits: the model's own at the position.
        controls: how many random tokens the control is a mean over.
        seed: of their choice.

    """
    prompt, read_ids, done = ran
    tokens = [*ids, *_random_ids(model, controls * len(ids), seed)]
    frame, total = _cut(model, done, position, by, tokens, n_together=len(ids))
    expected = _model_value(model, done, position, (ids, logits))
    head: Any = model.anatomy.unembed
    return Attribution(
        prompt=prompt,
        tokens=tokens_of(model, read_ids),
        position=position,
        target=model.to_text(ids[0]),
        against="" if len(ids) == 1 else model.to_text(ids[1]),
        by=by,
        total=total,
        model_value=expected,
        identity_error=abs(total - expected) / max(1.0, abs(expected)),
        softcap=head.softcap or 0.0,
        n_controls=controls,
        frame=frame,
    )


def _random_ids(model: Model, n_tokens: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    head: Any = model.anatomy.unembed
    chosen: list[int] = torch.randint(len(head.linear.weight), (n_tokens,), generator=generator).tolist()
    return chosen


def _cut(
    model: Model, done: Run, position: int, by: str, tokens: Sequence[int], *, n_together: int
) -> tuple[pd.DataFrame, float]:
    """Return the table of all parts, and their sum. The first token, or pair, is what was asked for."""

    def combined(per_token: Tensor) -> Tensor:
        return per_token if n_together == 1 else per_token[0::2] - per_token[1::2]

    last = done.captured[f"blocks.{model.n_layers - 1}.resid_post"][0, position]
    readout = Readout(model, last)
    terms = terms_of(model, done, position, by, combined(readout.directions(tokens)))
    for name, bias in (("norm bias", readout.norm_bias(tokens)), ("unembedding bias", readout.unembed_bias[tokens])):
        effects = combined(bias)[None]
        terms += [Terms((name,), -1, "bias", effects)] if effects.any() else []
    return pd.concat([_rows(one) for one in terms], ignore_index=True), float(
        sum(one.effects[:, 0].sum() for one in terms)
    )


def _rows(terms: Terms) -> pd.DataFrame:
    effects = terms.effects.cpu()
    controls = effects[:, 1:]
    is_known = controls.shape[1] > 0
    mean = controls.mean(1) if is_known else torch.zeros(len(effects))
    std = controls.std(1, correction=0) if is_known else torch.zeros(len(effects))
    return pd.DataFrame(
        {
            "part": terms.names,
            "layer": terms.layer,
            "kind": terms.kind,
            "effect": effects[:, 0].tolist(),
            "control_mean": mean.tolist(),
            "control_std": std.tolist(),
        }
    )


def _model_value(model: Model, done: Run, position: int, said: tuple[Sequence[int], Tensor]) -> float:
    """Return what the model itself says, before its soft cap."""
    head: Any = model.anatomy.unembed
    stack = model.anatomy.decoder
    ids, logits = said
    if head.softcap is not None:
        normed = done.captured["ln_final.out"][0, position]
        logits = replace(head, softcap=None)(normed if stack.project is None else stack.project(normed))
    chosen = logits[list(ids)].double().tolist()
    return float(chosen[0] - sum(chosen[1:]))
