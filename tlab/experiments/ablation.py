"""`ablate`: take a part out of the computation and see what the prediction loses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pandas as pd
import torch

from tlab.engine import Sweep, Variant
from tlab.errors import UnknownOption, shown
from tlab.experiments.controls import alike
from tlab.experiments.prompts import inputs_of
from tlab.experiments.replacement import METHODS, ablations, replacements
from tlab.experiments.wording import without_controls
from tlab.manifest import experiment
from tlab.precision import precise, precise_dtype
from tlab.references import REFERENCE_PROMPTS
from tlab.results import Result, percent
from tlab.targets import parse_targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from tlab.models import Model

__all__ = ["AblationResult", "ablate"]

_SHOWN_TOKENS = 6


@dataclass(frozen=True, eq=False, repr=False)
class AblationResult(Result):
    """The clean run beside the patched one, where the model answers: at the last position, in an encoder at its mask.

    Args:
        prompt: the text that was run.
        targets: what was ablated, as normalised names.
        method: `zero`, `mean` or `resample`.
        token: the token that is followed (by default the clean run's answer).
        clean_probability: of that token in the clean run.
        patched_probability: of that token in the patched run.
        clean_logit: of that token in the clean run.
        patched_logit: of that token in the patched run.
        kl_nats: Kullback-Leibler divergence of the patched from the clean distribution, in nats.
        frame: `token clean patched change` for the tokens that matter in either run.
        by_method: method → the followed token's probability under that way of ablating the same parts.
        controls: the same for as many parts of the same kind, drawn at random: name → probability.

    """

    prompt: str
    targets: tuple[str, ...]
    method: str
    token: str
    clean_probability: float
    patched_probability: float
    clean_logit: float
    patched_logit: float
    kl_nats: float
    frame: pd.DataFrame
    by_method: dict[str, float]
    controls: dict[str, float]

    @property
    def change(self) -> float:
        """Change of the followed token's probability, patched minus clean."""
        return self.patched_probability - self.clean_probability

    @property
    def patched_token(self) -> str:
        """The patched run's likeliest next token."""
        return str(self.frame.sort_values("patched", ascending=False)["token"].iloc[0])

    def to_frame(self) -> pd.DataFrame:
        """Return `token clean patched change`: probabilities of the top tokens of both runs."""
        return self.frame.copy()

    def _twin_frame(self) -> pd.DataFrame:
        return self.frame.round(3)

    def explain(self) -> str:
        """Say what became of the prediction, and what became of it under other methods and without other parts."""
        names = ", ".join(self.targets) or "nothing"
        before, after = percent(self.clean_probability), percent(self.patched_probability)
        verdict = _verdict(self.clean_probability, self.patched_probability)
        return (
            f"With {names} ablated ({self.method}), {self.token!r} {verdict} from {before} to {after} "
            f"{self._standing()}. "
            f"The whole prediction moved by {self.kl_nats:.3f} nats (KL divergence)."
            f"{self._other_methods()}{self._beside_controls()}"
        )

    def _standing(self) -> str:
        clean_token = str(self.frame.sort_values("clean", ascending=False)["token"].iloc[0])
        if self.patched_token == self.token:
            return "and is still the likeliest next token" if clean_token == self.token else "and comes first now"
        if clean_token == self.token:
            return f"and is no longer first: the patched run prefers {self.patched_token!r}"
        return f"and is first in neither run: the patched one prefers {self.patched_token!r}"

    def _other_methods(self) -> str:
        others = [f"{percent(value)} with {name}" for name, value in self.by_method.items() if name != self.method]
        return f" Other methods leave it {' and '.join(others)}." if others else ""

    def _beside_controls(self) -> str:
        if not self.controls:
            return without_controls(self) if self.targets else ""
        values = list(self.controls.values())
        return (
            f" Beside that, {len(values)} random choices of the same size leave it "
            f"between {percent(min(values))} and {percent(max(values))}."
        )


@experiment
def ablate(
    model: Model,
    prompt: str,
    targets: str | Sequence[str],
    *,
    method: Literal["zero", "mean", "resample"] = "zero",
    token: str | int | None = None,
    reference: Sequence[str] = REFERENCE_PROMPTS,
    seed: int = 0,
    controls: int = 5,
    compare_methods: bool = True,
) -> AblationResult:
    """Run the prompt twice, the second time with parts of the model replaced, and compare the predictions.

    What is replaced is the part's *output*: a head's `z`, an attention layer's or an MLP's write to the residual
    stream. `zero` writes nothing, which the model never met in training; `mean` writes the part's average over the
    reference prompts, which keeps what it always says; `resample` writes what it said at a random place in them.

    Args:
        model: from `load`.
        prompt: the text to run.
        targets: one name or several: `"L3H4"` (a head), `"L3.attn"`, `"L3.mlp"`, `"L3"` (both); counted from 0.
        method: what takes the place of the output.
        token: the token to follow; by default the clean run's likeliest.
        reference: the prompts from which mean and resample take their values.
        seed: of the random choices: of resample's moments, and of the controls.
        controls: how many random choices of as many parts of the same kind are ablated beside.
        compare_methods: whether the other two methods are run beside.

    Units: probabilities from 0 to 1, logits without a unit, divergence in nats.

    Invariants:
        No targets change nothing; the model is the same after it, also after an exception.

    Raises:
        UnknownTarget: a name cannot be read or lies outside the model.
        UnknownOption: the method is none of the three.
        UnusableToken: the followed token is not a single token.
        UnusablePrompt: an encoder's prompt holds no mask.

    Cost: one forward pass, and one from the first ablated block on for each of method and control; one for the
        reference prompts together unless the method is `zero`.

    Example:
        >>> ablate(load("smollm2-135m"), "The capital of France is", "L0.mlp").token
        ' Paris'

    Source:
        For zero, mean and resample ablation and what each can show: Heimersheim and Nanda, "How to use and interpret
        activation patching" (2024), arXiv:2404.15255.

    """
    if method not in METHODS:
        raise UnknownOption(f"method refused: expected one of {', '.join(METHODS)}, got {shown(method)}; try 'zero'")
    parsed = parse_targets(targets, model.n_layers, model.n_heads)
    inputs = inputs_of(model, prompt)
    n_pos, place = inputs.ids.shape[1], model.answer_position(inputs.ids[0])
    methods = (method, *(other for other in METHODS if other != method)) if compare_methods else (method,)
    choices = alike(parsed, model, n_choices=controls, seed=seed)
    texts = tuple(reference) if isinstance(reference, Iterable) and not isinstance(reference, str) else reference
    variants = []
    for choice, way in [(parsed, way) for way in methods] + [(choice, method) for choice in choices]:
        sites = tuple(dict.fromkeys(site for target in choice for site in target.sites))
        values = replacements(model, sites, n_pos, method=way, reference=texts, seed=seed)
        variants.append(Variant(ablations(choice, values)))
    runs = Sweep(model, inputs, variants, read=(place,))
    patched = torch.empty(len(variants), model.W_U.shape[1], dtype=precise_dtype(model.dtype))
    for members, logits in runs.run(lambda logits: logits[:, -1]):
        patched[members] = precise(logits).cpu()
    clean = precise(runs.base_logits[-1]).cpu()
    token_id = int(clean.argmax()) if token is None else model.to_id(token)
    followed = patched.softmax(-1)[:, token_id].tolist()
    clean_log, patched_log = clean.log_softmax(-1), patched[0].log_softmax(-1)
    return AblationResult(
        prompt=prompt,
        targets=tuple(str(target) for target in parsed),
        method=method,
        token=model.to_text(token_id),
        clean_probability=float(clean_log[token_id].exp()),
        patched_probability=float(patched_log[token_id].exp()),
        clean_logit=float(clean[token_id]),
        patched_logit=float(patched[0, token_id]),
        kl_nats=float((clean_log.exp() * (clean_log - patched_log)).sum().clamp(min=0)),
        frame=_comparison(model, clean, patched[0], token_id),
        by_method=dict(zip(methods, followed, strict=False)) if compare_methods else {},
        controls={" ".join(map(str, c)): p for c, p in zip(choices, followed[len(methods) :], strict=True)},
    )


def _comparison(model: Model, clean: Tensor, patched: Tensor, token_id: int) -> pd.DataFrame:
    ids = [token_id, *clean.topk(_SHOWN_TOKENS).indices.tolist(), *patched.topk(_SHOWN_TOKENS).indices.tolist()]
    chosen = list(dict.fromkeys(ids))
    before, after = clean.softmax(-1)[chosen].tolist(), patched.softmax(-1)[chosen].tolist()
    frame = pd.DataFrame({"token": [model.to_text(i) for i in chosen], "clean": before, "patched": after})
    frame["change"] = frame["patched"] - frame["clean"]
    return frame


def _verdict(before: float, after: float) -> str:
    visible = 0.005
    if abs(after - before) < visible:
        return "hardly moves:"
    return "falls" if after < before else "rises"
