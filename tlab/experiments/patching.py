"""`patch`: put what a part said in one run into another run, and see how much of the answer comes along."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pandas as pd
import torch

from tlab.engine import Edit, Sweep, Variant, run
from tlab.errors import UnequalPrompts, UnknownOption, shown
from tlab.experiments.controls import alike
from tlab.experiments.pairs import pair_of
from tlab.experiments.wording import counted, percent_range, without_controls
from tlab.manifest import experiment
from tlab.metrics import checked_metric, logit, logit_diff, prob
from tlab.plain import whole_number
from tlab.precision import precise, precise_dtype
from tlab.results import Result
from tlab.targets import parse_targets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from tlab.experiments.pairs import Pair
    from tlab.metrics import Metric
    from tlab.models import Model
    from tlab.targets import Target

__all__ = ["PatchResult", "answer_of", "are_alike", "base_and_source", "contrast", "patch", "put", "share"]

_SHOWN_TOKENS = 6
_ROUNDING = 1e-5
_DIRECTIONS = ("denoise", "noise")
# Which run is patched, and which it is patched from.
_NAMES = {"denoise": {"base": "corrupted", "source": "clean"}, "noise": {"base": "clean", "source": "corrupted"}}


@dataclass(frozen=True, eq=False, repr=False)
class PatchResult(Result):
    """The base run, the base run with the patch, and the run that the patch comes from.

    Args:
        clean: the clean prompt.
        corrupted: the corrupted prompt.
        targets: what was patched, as normalised names.
        positions: at which positions; `None` for all.
        direction: `denoise` puts clean values into the corrupted run, `noise` the other way round.
        metric: what was measured, in words.
        unit: what it is counted in.
        clean_value: of the metric in the clean run.
        corrupted_value: likewise.
        patched_value: of the metric in the patched run.
        frame: `token token_id clean corrupted patched clean_logit corrupted_logit patched_logit`: probabilities and
            logits of the tokens that matter in any run.
        controls: the share of the difference that random parts of the same kind carry: name → share.
        kl_nats: how far the patched run's prediction lies from the clean run's: KL(clean ‖ patched).

    """

    clean: str
    corrupted: str
    targets: tuple[str, ...]
    positions: tuple[int, ...] | None
    direction: str
    metric: str
    unit: str
    clean_value: float
    corrupted_value: float
    patched_value: float
    frame: pd.DataFrame
    controls: dict[str, float]
    kl_nats: float = float("nan")

    @property
    def share(self) -> float:
        """How much of the way from the base run to the other the patch went: 0 none, 1 all of it."""
        return share(self.patched_value, self.clean_value, self.corrupted_value, self.direction)

    def to_frame(self) -> pd.DataFrame:
        """Return the top tokens of the three runs, one row a token, with their probabilities and logits."""
        return self.frame.copy()

    def _twin_frame(self) -> pd.DataFrame:
        return self.frame[["token", "clean", "corrupted", "patched"]].round(3)

    def explain(self) -> str:
        """Say how much of the difference between the runs the patched parts carry."""
        names = ", ".join(self.targets) or "nothing"
        where = "" if self.positions is None else f" at position {', '.join(map(str, self.positions))}"
        source, base = ("clean", "corrupted") if self.direction == "denoise" else ("corrupted", "clean")
        if are_alike(self.clean_value, self.corrupted_value):
            return (
                f"The {self.metric} is {self.clean_value:.3f} in both runs: there is no difference that {names} could "
                f"carry. With the patch it is {self.patched_value:.3f}. Choose prompts, or a metric, that differ."
            )
        said = (
            f"The {self.metric} is {self.clean_value:.3f} in the clean run and {self.corrupted_value:.3f} in the "
            f"corrupted one. With {names}{where} taken from the {source} run, the {base} run gives "
            f"{self.patched_value:.3f}: {100 * self.share:.0f} % of the way."
        )
        if self.controls:
            values = sorted(self.controls.values())
            span = percent_range(values[0], values[-1])
            said += f" {counted(len(values), 'random choice')} of the same size: {span} of the way."
        elif self.targets:
            said += without_controls(self)
        meaning = (
            "What comes along is enough, given the rest of the corrupted run"
            if self.direction == "denoise"
            else "What gets lost was needed, given the rest of the clean run"
        )
        return f"{said} {meaning}; it need not be all that carries the difference."


@experiment
def patch(
    model: Model,
    clean: str,
    corrupted: str,
    targets: str | Sequence[str],
    *,
    positions: Sequence[int] | None = None,
    direction: Literal["denoise", "noise"] = "denoise",
    metric: Metric | None = None,
    controls: int = 5,
    seed: int = 0,
) -> PatchResult:
    """Run one prompt with some parts' outputs taken from a run of the other.

    Args:
        model: from `load`.
        clean: the prompt whose answer is of interest.
        corrupted: a prompt of as many tokens with another answer.
        targets: `"L3H4"`, `"L3.attn"`, `"L3.mlp"`, `"L3"`, or a place in the stream: `"L3.resid_pre"`.
        positions: at which positions, counted from 0, or from the end if negative; all by default.
        direction: `denoise` puts clean values into the corrupted run: is this part enough? `noise` puts corrupted
            values into the clean run: is it needed?
        metric: from `tlab.metrics`; by default the logit difference between the two runs' answers.
        controls: how many random choices of as many parts of the same kind are patched beside.
        seed: of those choices.

    Units: values in those of the metric; shares from 0 (none of the way) to 1 (all of it).

    Invariants:
        Patching a prompt with itself changes nothing; patching `L0.resid_pre` everywhere gives the other run (whose
        `loss` is then taken on the tokens of the prompt that is patched).

    Raises:
        UnknownTarget: a name cannot be read or lies outside the model.
        UnequalPrompts: the prompts differ in length, or an encoder's masks stand at different positions.
        UnusablePrompt: a prompt cannot be read, an encoder's holds no mask, or the model is an encoder-decoder.
        UnknownOption: the direction, the positions or the metric are none of the known.

    Cost: two forward passes, and one for the patch and each control from the first patched block and position on.

    Source:
        Vig et al., "Investigating Gender Bias in Language Models Using Causal Mediation Analysis" (2020); Meng et al.,
        "Locating and Editing Factual Associations in GPT" (2022), arXiv:2202.05262; for the two directions Heimersheim
        and Nanda (2024), arXiv:2404.15255. Our `denoise` is TransformerLens' `patching` with the same two prompts.

    """
    pair = pair_of(model, clean, corrupted)
    parsed = parse_targets(targets, model.n_layers, model.n_heads, with_stream=True)
    where = _checked_positions(positions, pair.n_pos)
    base, source = base_and_source(pair, direction)
    choices = [parsed, *alike(parsed, model, n_choices=controls, seed=seed)]
    sites = tuple(dict.fromkeys(site for choice in choices for target in choice for site in target.sites))
    other = run(model, source, sites=sites)
    variants = [Variant(_patches(choice, other.captured, where)) for choice in choices]
    measured, bind = contrast(model, pair, metric)
    reads = measured.reads(model, base)
    n_read, wanted = len(reads), tuple(dict.fromkeys((*reads, measured.shows(model, base))))
    runs = Sweep(model, base, variants, read=wanted)
    other_logits = other.logits[0, list(wanted)]
    measure, of_source = (bind(ids, runs.base_logits[:n_read]) for ids in (base, source))
    patched = torch.empty(len(variants), *other_logits.shape, dtype=precise_dtype(model.dtype))
    for members, logits in runs.run(lambda logits: logits):
        patched[members] = precise(logits).cpu()
    values = measure(patched[:, :n_read].to(other_logits.device)).tolist()
    base_value, source_value = (
        float(measure(runs.base_logits[None, :n_read])),
        float(of_source(other_logits[None, :n_read])),
    )
    clean_value, corrupted_value = (source_value, base_value) if direction == "denoise" else (base_value, source_value)
    ends = {"base": runs.base_logits[-1], "source": other_logits[-1], "patched": patched[0, -1]}
    rows = {_NAMES[direction].get(name, name): precise(logits).cpu() for name, logits in ends.items()}
    return PatchResult(
        clean=clean,
        corrupted=corrupted,
        targets=tuple(str(target) for target in parsed),
        positions=where,
        direction=direction,
        metric=measured.label,
        unit=measured.unit,
        clean_value=clean_value,
        corrupted_value=corrupted_value,
        patched_value=values[0],
        frame=_table(model, rows),
        controls={
            " ".join(map(str, choice)): share(value, clean_value, corrupted_value, direction)
            for choice, value in zip(choices[1:], values[1:], strict=True)
        },
        kl_nats=_divergence(rows["clean"], rows["patched"]),
    )


def base_and_source(pair: Pair, direction: str) -> tuple[Tensor, Tensor]:
    """Return the ids of the run that is patched, and of the run that the patch comes from.

    Raises:
        UnknownOption: the direction is none of the two.

    """
    if direction not in _DIRECTIONS:
        raise UnknownOption(
            f"direction refused: expected 'denoise' or 'noise', got {shown(direction)}; "
            f"'denoise' puts clean values into the corrupted run"
        )
    return (pair.corrupted, pair.clean) if direction == "denoise" else (pair.clean, pair.corrupted)


def contrast(
    model: Model, pair: Pair, metric: Metric | None
) -> tuple[Metric, Callable[[Tensor, Tensor], Callable[[Tensor], Tensor]]]:
    """Return the metric, and what binds it to a run's own ids and to the base run's logits.

    The patched run is a run of the base prompt: its ids are the base's. Without a metric it is the logit difference
    between the two runs' answers, or the answer's logit if they agree.

    Raises:
        UnknownOption: the metric is none, or reads outside the prompts.
        UnusablePrompt: an encoder's prompt holds no mask.
        UnequalPrompts: an encoder's masks stand at different positions.

    """
    asked = prob("") if metric is None else checked_metric(metric)
    places = [asked.reads(model, ids) for ids in (pair.clean, pair.corrupted)]
    if places[0] != places[1]:
        raise UnequalPrompts(
            f"prompts unequal: expected the encoder's mask at the same position in both, got {places[0][0]} and "
            f"{places[1][0]}; move it in one, or give the metric a position"
        )
    if metric is not None:
        return asked, lambda ids, reference: asked.bind(model, ids, reference)
    answers = [answer_of(model, ids) for ids in (pair.clean, pair.corrupted)]
    texts = [model.to_text(answer) for answer in answers]
    if answers[0] == answers[1]:
        return logit(texts[0]), lambda ids, _: logit(answers[0]).bind(model, ids)
    return logit_diff(*texts), lambda ids, _: logit_diff(*answers).bind(model, ids)


def answer_of(model: Model, ids: Tensor) -> int:
    """Return the id of the token that the model holds likeliest where it answers.

    Raises:
        UnusablePrompt: an encoder's prompt holds no mask.

    """
    return int(run(model, ids, read=(model.answer_position(ids),)).logits[0, 0].argmax())


def share(value: float, clean_value: float, corrupted_value: float, direction: str) -> float:
    """Return how far a patched value lies on the way from the base run's to the other's: 0 none, 1 all of it."""
    base, other = (corrupted_value, clean_value) if direction == "denoise" else (clean_value, corrupted_value)
    return float("nan") if are_alike(base, other) else (value - base) / (other - base)


def are_alike(base: float, other: float) -> bool:
    """Tell whether two runs' values are the same but for rounding, so that there is no way from one to the other."""
    return abs(other - base) <= _ROUNDING * max(1.0, abs(base), abs(other))


class put:  # noqa: N801  a function with a tensor of its own
    """Replace whatever comes by what stood there in another run.

    Args:
        value: already cut down to the selected positions and heads.

    """

    def __init__(self, value: Tensor) -> None:
        self._value = value

    def __call__(self, tensor: Tensor) -> Tensor:
        """Return the value in the tensor's place."""
        return self._value.expand_as(tensor)


def _patches(
    targets: Sequence[Target], captured: Mapping[str, Tensor], positions: tuple[int, ...] | None
) -> tuple[Edit, ...]:
    edits = []
    for target in targets:
        for site in target.sites:
            value = captured[site]
            if positions is not None:
                value = value[:, list(positions)]
            if target.heads is not None:
                value = value[:, :, list(target.heads)]
            edits.append(Edit(site, put(value), heads=target.heads, positions=positions))
    return tuple(edits)


def _checked_positions(positions: Sequence[int] | None, n_pos: int) -> tuple[int, ...] | None:
    if positions is None:
        return None
    given = tuple(positions) if isinstance(positions, Iterable) and not isinstance(positions, str) else (positions,)
    if not given:
        raise UnknownOption(
            f"positions refused: expected at least one, got {shown(positions)}; leave it out to patch at every one"
        )
    numbers = [whole_number("position", one, -n_pos, n_pos - 1, f"the prompts have {n_pos} tokens") for one in given]
    return tuple(sorted({position % n_pos for position in numbers}))


def _divergence(clean: Tensor, patched: Tensor) -> float:
    log_p, log_q = clean.log_softmax(-1), patched.log_softmax(-1)
    return float((log_p.exp() * (log_p - log_q)).sum().clamp(min=0))


def _table(model: Model, rows: Mapping[str, Tensor]) -> pd.DataFrame:
    probabilities = {name: logits.softmax(-1) for name, logits in rows.items()}
    tops = [p.topk(_SHOWN_TOKENS).indices.tolist() for p in probabilities.values()]
    chosen = list(dict.fromkeys(token for top in zip(*tops, strict=True) for token in top))
    runs = ("clean", "corrupted", "patched")
    columns = {name: probabilities[name][chosen].tolist() for name in runs}
    columns |= {f"{name}_logit": rows[name][chosen].tolist() for name in runs}
    return pd.DataFrame({"token": [model.to_text(token) for token in chosen], "token_id": chosen, **columns})
