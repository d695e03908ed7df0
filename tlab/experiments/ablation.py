"""`ablate`: take a part out of the computation and see what the prediction loses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from tlab.engine import Sweep, Variant
from tlab.errors import UnknownOption, shown
from tlab.experiments.controls import alike
from tlab.experiments.prompts import inputs_of
from tlab.experiments.replacement import METHODS, ablations, replacements
from tlab.experiments.wording import without_controls
from tlab.manifest import experiment
from tlab.precision import precise
from tlab.references import REFERENCE_PROMPTS
from tlab.results import Result, percent
from tlab.targets import parse_targets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jaxtyping import Float
    from torch import Tensor

    from tlab.models import Model
    from tlab.targets import Target

    _Choice = tuple[Target, ...]

__all__ = ["AblationResult", "ablate", "ablate_each"]

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
        frame: `token token_id clean patched change` for the tokens that matter in either run.
        by_method: method → the followed token's probability under that way of ablating the same parts.
        controls: the same for as many parts of the same kind, drawn at random: name → probability.
        everywhere: `pos token token_id probability` of the patched run's likeliest next token at every position; empty
            if it was not asked for.

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
    everywhere: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def change(self) -> float:
        """Change of the followed token's probability, patched minus clean."""
        return self.patched_probability - self.clean_probability

    @property
    def patched_token(self) -> str:
        """The patched run's likeliest next token."""
        return str(self.frame.sort_values("patched", ascending=False)["token"].iloc[0])

    def to_frame(self) -> pd.DataFrame:
        """Return `token token_id clean patched change`: probabilities of the top tokens of both runs."""
        return self.frame.copy()

    def _twin_frame(self) -> pd.DataFrame:
        return self.frame.drop(columns="token_id").round(3)

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
    everywhere: bool = False,
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
        everywhere: whether the patched run's next token is read at every position, not only where the model answers.

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
    _check_method(method)
    parsed = parse_targets(targets, model.n_layers, model.n_heads)
    others = tuple(other for other in METHODS if other != method) if compare_methods else ()
    beside = {parsed: alike(parsed, model, n_choices=controls, seed=seed)}
    drawn = _Drawn(_listed(reference), seed)
    (found,) = _ablated(model, prompt, beside, (method, *others), token=token, drawn=drawn, everywhere=everywhere)
    return found


def ablate_each(
    model: Model,
    prompt: str,
    targets: Sequence[str],
    *,
    method: Literal["zero", "mean", "resample"] = "zero",
    token: str | int | None = None,
    reference: Sequence[str] = REFERENCE_PROMPTS,
    seed: int = 0,
    controls: int = 5,
    everywhere: bool = False,
) -> list[AblationResult]:
    """Ablate parts one at a time, all in one sweep, and return for each what `ablate` would.

    The arguments are those of `ablate`; other methods are not run beside. A control that is itself a part of the list
    is not run again.

    Cost: one forward pass and one sweep: about a tenth of as many calls of `ablate`.

    """
    _check_method(method)
    each: list[_Choice] = [(target,) for target in parse_targets(targets, model.n_layers, model.n_heads)]
    beside = {one: alike(one, model, n_choices=controls, seed=seed) for one in each}
    drawn = _Drawn(_listed(reference), seed)
    return _ablated(model, prompt, beside, (method,), token=token, drawn=drawn, everywhere=everywhere)


def _check_method(method: object) -> None:
    if method not in METHODS:
        raise UnknownOption(f"method refused: expected one of {', '.join(METHODS)}, got {shown(method)}; try 'zero'")


def _listed(reference: Any) -> Any:  # noqa: ANN401  checked where it is used
    # What can be gone through once only is gone through here.
    return tuple(reference) if isinstance(reference, Iterable) and not isinstance(reference, str) else reference


@dataclass(frozen=True)
class _Drawn:
    """Where mean and resample take their values from."""

    reference: Any
    seed: int

    def variant(
        self, model: Model, choice: Sequence[Target], method: str, n_pos: int, read: tuple[int, ...]
    ) -> Variant:
        sites = tuple(dict.fromkeys(site for target in choice for site in target.sites))
        values = replacements(model, sites, n_pos, method=method, reference=self.reference, seed=self.seed)
        return Variant(ablations(choice, values), read=read)


def _ablated(
    model: Model,
    prompt: str,
    choices: Mapping[_Choice, Sequence[_Choice]],
    methods: Sequence[str],
    *,
    token: str | int | None,
    drawn: _Drawn,
    everywhere: bool,
) -> list[AblationResult]:
    """Run every choice of parts with every method, and its controls, in one sweep."""
    method = methods[0]
    inputs = inputs_of(model, prompt)
    n_pos, place = inputs.ids.shape[1], model.answer_position(inputs.ids[0])
    wanted = {(one, method): False for some in choices.values() for one in some}
    wanted |= {(choice, way): everywhere and way == method for choice in choices for way in methods}
    # The answer's position comes last, also where all others are read.
    reads = [(*range(n_pos), place) if is_everywhere else (place,) for is_everywhere in wanted.values()]
    variants = [drawn.variant(model, *one, n_pos, read) for one, read in zip(wanted, reads, strict=True)]
    runs = Sweep(model, inputs, variants, read=(place,))
    clean = precise(runs.base_logits[-1]).cpu()
    token_id = int(clean.argmax()) if token is None else model.to_id(token)
    outcomes = dict(zip(wanted, _outcomes(model, runs), strict=True))
    followed = {one: float(logits.softmax(-1)[token_id]) for one, (logits, _) in outcomes.items()}
    return [
        AblationResult(
            prompt=prompt,
            targets=tuple(str(target) for target in choice),
            method=method,
            **_both(model, clean, outcomes[choice, method][0], token_id),
            by_method={way: followed[choice, way] for way in methods} if len(methods) > 1 else {},
            controls={" ".join(map(str, one)): followed[one, method] for one in beside},
            everywhere=outcomes[choice, method][1],
        )
        for choice, beside in choices.items()
    ]


def _outcomes(model: Model, runs: Sweep) -> list[tuple[Tensor, pd.DataFrame]]:
    """Return, for every variant, the logits where the model answers, and its likeliest tokens elsewhere."""
    found: dict[int, tuple[Tensor, pd.DataFrame]] = {}
    for members, rows in runs.run(lambda logits: precise(logits).cpu()):
        for index, logits in zip(members, rows, strict=True):
            found[index] = (logits[-1].clone(), _likeliest(model, logits[:-1]))
    return [found[index] for index in range(runs.n_variants)]


def _likeliest(model: Model, logits: Float[Tensor, "pos d_vocab"]) -> pd.DataFrame:
    if len(logits) == 0:
        return pd.DataFrame()
    probabilities, ids = (found.tolist() for found in logits.softmax(-1).max(-1))
    return pd.DataFrame(
        {
            "pos": range(len(ids)),
            "token": [model.to_text(token_id) for token_id in ids],
            "token_id": ids,
            "probability": probabilities,
        }
    )


def _both(model: Model, clean: Tensor, patched: Tensor, token_id: int) -> dict[str, Any]:
    """Return what an ablation says of the two runs."""
    clean_log, patched_log = clean.log_softmax(-1), patched.log_softmax(-1)
    return {
        "token": model.to_text(token_id),
        "clean_probability": float(clean_log[token_id].exp()),
        "patched_probability": float(patched_log[token_id].exp()),
        "clean_logit": float(clean[token_id]),
        "patched_logit": float(patched[token_id]),
        "kl_nats": float((clean_log.exp() * (clean_log - patched_log)).sum().clamp(min=0)),
        "frame": _comparison(model, clean, patched, token_id),
    }


def _comparison(model: Model, clean: Tensor, patched: Tensor, token_id: int) -> pd.DataFrame:
    ids = [token_id, *clean.topk(_SHOWN_TOKENS).indices.tolist(), *patched.topk(_SHOWN_TOKENS).indices.tolist()]
    chosen = list(dict.fromkeys(ids))
    before, after = clean.softmax(-1)[chosen].tolist(), patched.softmax(-1)[chosen].tolist()
    names = [model.to_text(i) for i in chosen]
    frame = pd.DataFrame({"token": names, "token_id": chosen, "clean": before, "patched": after})
    frame["change"] = frame["patched"] - frame["clean"]
    return frame


def _verdict(before: float, after: float) -> str:
    visible = 0.005
    if abs(after - before) < visible:
        return "hardly moves:"
    return "falls" if after < before else "rises"
