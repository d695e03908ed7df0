"""`generate` and `stream_tokens`: let the model go on with a text, and see how sure it was of every token."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import pandas as pd

from tlab.experiments.continuation import (
    Sampling,
    beginning,
    continuation_text,
    continue_text,
    stopped_by,
)
from tlab.experiments.intervention import Interventions, push_of
from tlab.manifest import experiment
from tlab.plain import whole_number
from tlab.references import REFERENCE_PROMPTS
from tlab.results import Result, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tlab.engine import Edit, Inputs
    from tlab.experiments.continuation import GeneratedToken
    from tlab.models import Model

__all__ = ["Generation", "generate", "stream_tokens"]

_MOST_ALTERNATIVES = 100
_MOST_TOKENS = 100_000
_LONGEST_SHOWN = 300


class _Options(TypedDict, total=False):
    """The options of `generate`, for `stream_tokens` to take too."""

    max_new_tokens: int
    temperature: float
    top_k: int | None
    top_p: float | None
    seed: int
    ablate: str | Sequence[str]
    method: str
    reference: Sequence[str]
    vector: Any
    layer: int | None
    coef: float
    positions: str | Sequence[int]
    edits: Sequence[Edit]
    target: str | None
    n_alternatives: int


@dataclass(frozen=True, eq=False, repr=False)
class Generation(Result):
    """A prompt and what the model made of it.

    Args:
        prompt: the text that was given.
        continuation: the text that was generated, without the mark that ends it.
        stopped_by: `end` (the model ended the text), `length` (as many tokens as were asked for) or `context`
            (the model reads no longer text).
        changed: what was changed in the model meanwhile; empty if nothing was.
        plain: what the unchanged model generates under the same settings; the continuation itself if nothing changed.
        same_steps: how many tokens at the beginning the two have in common.
        temperature: of the choice; at 0 the likeliest token was taken.
        ids: the generated tokens, with the one that ended the text.
        frame: `step pos token token_id probability rank drawn_probability entropy_nats`, one row a token.
        alternatives: `step rank token probability`: the likeliest tokens of every step.

    """

    prompt: str
    continuation: str
    stopped_by: str
    changed: str
    plain: str
    same_steps: int
    temperature: float
    ids: tuple[int, ...]
    frame: pd.DataFrame
    alternatives: pd.DataFrame

    @property
    def loss_nats(self) -> float:
        """The mean surprise of the model, changed as it was, at its own tokens, in nats a token."""
        return float(-self.frame["probability"].clip(lower=1e-45).map(math.log).mean())

    def to_frame(self) -> pd.DataFrame:
        """Return one row a generated token."""
        return self.frame.copy()

    def _twin_frame(self) -> pd.DataFrame:
        return self.frame[["step", "token", "probability", "rank", "entropy_nats"]].round(3)

    def explain(self) -> str:
        """Say what was generated, how sure the model was, and what changing it changed."""
        how = f"At temperature {self.temperature:g}"
        if self.temperature == 0:
            given = self.manifest.arguments if self.manifest else {}
            idle = " and ".join(name for name in ("top_k", "top_p") if given.get(name) is not None)
            how = "Taking the likeliest token each time"
            how += f" (at temperature 0, {idle} cannot change anything)" if idle else ""
        change = f" with {self.changed}" if self.changed else ""
        ends = {"end": "then ends the text", "length": "up to the limit", "context": "up to its longest text"}
        n_tokens = len(self.frame)
        sentence = (
            f"{how}{change}, the model goes on from {_short(self.prompt)} with {_short(self.continuation)} "
            f"({n_tokens} token{'s' if n_tokens > 1 else ''}, {ends[self.stopped_by]})."
        )
        return f"{sentence}{self._sureness()}{self._beside_plain()} {_CAVEAT}"

    def _sureness(self) -> str:
        unsure = self.frame.loc[self.frame["probability"].idxmin()]
        sentence = (
            f" It gave each of its tokens {percent(math.exp(-self.loss_nats))} (geometric mean), and the fewest to "
            f"{unsure['token']!r} at step {unsure['step']} ({percent(unsure['probability'])}, rank {unsure['rank']})."
        )
        n_drawn = int((self.frame["rank"] > 1).sum())
        return f"{sentence} {n_drawn} of them were not the likeliest." if self.temperature > 0 else sentence

    def _beside_plain(self) -> str:
        if not self.changed:
            return ""
        if self.plain == self.continuation and self.same_steps == len(self.frame):
            return " The unchanged model says the same."
        return (
            f" The unchanged model goes on with {_short(self.plain)}: the first {self.same_steps} tokens are the same."
        )


_CAVEAT = "These are the model's own probabilities: they say how likely it finds the text, not whether it is true."


def _short(text: str) -> str:
    flat = repr(text)
    return flat if len(flat) <= _LONGEST_SHOWN else f"{flat[: _LONGEST_SHOWN - 1]}…"


@experiment
def generate(
    model: Model,
    prompt: str,
    *,
    max_new_tokens: int = 20,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    ablate: str | Sequence[str] = (),
    method: str = "zero",
    reference: Sequence[str] = REFERENCE_PROMPTS,
    vector: Any = None,  # noqa: ANN401  a tensor, or a result with a vector and a layer
    layer: int | None = None,
    coef: float = 1.0,
    positions: str | Sequence[int] = "all",
    edits: Sequence[Edit] = (),
    target: str | None = None,
    n_alternatives: int = 5,
) -> Generation:
    """Let the model continue a text token by token, changed or as it is, and keep how sure it was of each.

    At temperature 0 every token is the likeliest one. Above, tokens are drawn: a higher temperature flattens the
    distribution, `top_k` and `top_p` cut off its tail. What is changed is changed at every step; the unchanged model
    is run beside it under the same settings. Only the new position is computed at each step, with the keys and values
    of the earlier ones kept, unless an edit of the caller's own might look further.

    Args:
        model: from `load`.
        prompt: the text to continue; in an encoder-decoder the source that it answers to.
        max_new_tokens: how many tokens at most.
        temperature: what the logits are divided by before a token is drawn; 0 takes the likeliest.
        top_k: draw from so many of the likeliest tokens only.
        top_p: draw from the likeliest tokens that together have this probability only.
        seed: of the draws, and of resample ablation.
        ablate: parts to take out at every position, e.g. `"L3H4"`; several as a list.
        method: what takes their place: `zero`, `mean` or `resample`.
        reference: the prompts from which mean and resample take their values.
        vector: added to the residual stream: `d_model` numbers, or the result of `steering_vector`.
        layer: the block after which it is added; by default the one that it was made at.
        coef: what it is multiplied with.
        positions: where it is added: `"all"`, `"prompt"`, `"last"` (the prompt's last position), `"continuation"`
            (from there on), or positions of the prompt.
        edits: `tlab.engine.Edit` objects of your own. A result that was made with them cannot be saved: name what is
            changed by `ablate` and `vector` where that will do.
        target: in an encoder-decoder, what the decoder has written so far.
        n_alternatives: how many of the likeliest tokens of each step are kept.

    Units: probabilities from 0 to 1; entropy in nats.

    Invariants:
        At temperature 0 the tokens are those of Hugging Face's `generate`; above, the same settings and seed give the
        same tokens again. Hugging Face's penalties, forced tokens and beams are not applied.

    Raises:
        UnusablePrompt: the model is an encoder, or the prompt cannot be read or fills the context.
        UnknownOption: an option outside its values.
        UnknownTarget: a part that the model does not have.

    Cost: one pass over the prompt and one over a single position for each further token; twice that if something is
        changed. With edits of your own that name no positions, one pass over the whole text for each token.

    Example:
        >>> generate(load("smollm2-135m"), "The capital of France is", max_new_tokens=2).continuation
        ' Paris.'

    Source:
        Holtzman et al., "The Curious Case of Neural Text Degeneration" (2020), arXiv:1904.09751, for top-p (their
        nucleus sampling).

    """
    plan = _planned(
        model,
        prompt,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        ablate=ablate,
        method=method,
        reference=reference,
        vector=vector,
        layer=layer,
        coef=coef,
        positions=positions,
        edits=edits,
        target=target,
        n_alternatives=n_alternatives,
    )
    steps = list(plan.steps())
    plain = list(plan.unchanged().steps()) if plan.changes.label else steps
    pairs = [a.token_id == b.token_id for a, b in zip(steps, plain, strict=False)]
    return Generation(
        prompt=prompt,
        continuation=continuation_text(model, plan.inputs, steps),
        stopped_by=stopped_by(model, steps, max_new_tokens),
        changed=plan.changes.label,
        plain=continuation_text(model, plan.inputs, plain),
        same_steps=pairs.index(False) if False in pairs else len(pairs),
        temperature=plan.sampling.temperature,
        ids=tuple(step.token_id for step in steps),
        frame=_frame(steps),
        alternatives=_alternatives(steps),
    )


def stream_tokens(model: Model, prompt: str, **options: Unpack[_Options]) -> Iterator[GeneratedToken]:
    """Yield the tokens of `generate` one by one, each as soon as it is chosen.

    Whoever stops listening leaves nothing behind in the model. A mistake in the arguments is raised by this call and
    not by the first token.

    Args:
        model: from `load`.
        prompt: the text to continue.
        options: those of `generate`.

    Raises:
        UnusablePrompt: the model is an encoder, or the prompt cannot be read.
        UnknownOption: an option outside its values.
        UnknownTarget: a part that the model does not have.

    Cost: as `generate`, without the unchanged run beside it.

    """
    return _planned(model, prompt, **options).steps()


@dataclass(frozen=True, eq=False)
class _Plan:
    """A generation that has not begun."""

    model: Model
    inputs: Inputs
    changes: Interventions
    sampling: Sampling
    n_most: int
    n_shown: int

    def steps(self) -> Iterator[GeneratedToken]:
        return continue_text(
            self.model, self.inputs, self.changes, self.sampling, n_most=self.n_most, n_shown=self.n_shown
        )

    def unchanged(self) -> _Plan:
        n_prompt = self.inputs.ids.shape[1]
        return replace(self, changes=Interventions(self.model, n_prompt, n_prompt + self.n_most))


def _planned(model: Model, prompt: str, **options: Unpack[_Options]) -> _Plan:
    bound = inspect.signature(generate).bind(model, prompt, **options)
    bound.apply_defaults()
    given = bound.arguments
    n_most = whole_number("max_new_tokens", given["max_new_tokens"], 1, _MOST_TOKENS, "try max_new_tokens=20")
    n_shown = whole_number("n_alternatives", given["n_alternatives"], 1, _MOST_ALTERNATIVES, "try n_alternatives=5")
    sampling = Sampling(given["temperature"], given["top_k"], given["top_p"], given["seed"])
    inputs = beginning(model, prompt, given["target"])
    n_prompt = inputs.ids.shape[1]
    push = None
    if given["vector"] is not None:
        push = push_of(
            model,
            given["vector"],
            layer=given["layer"],
            coef=given["coef"],
            positions=given["positions"],
            n_prompt=n_prompt,
        )
    changes = Interventions(
        model,
        n_prompt,
        n_prompt + n_most,
        ablate=given["ablate"],
        method=given["method"],
        reference=given["reference"],
        seed=given["seed"],
        push=push,
        edits=given["edits"],
    )
    return _Plan(model, inputs, changes, sampling, n_most, n_shown)


def _frame(steps: Sequence[GeneratedToken]) -> pd.DataFrame:
    columns = ("pos", "token", "token_id", "probability", "rank", "drawn_probability", "entropy_nats")
    return pd.DataFrame(
        {"step": step, **{column: getattr(one, column) for column in columns}} for step, one in enumerate(steps)
    )


def _alternatives(steps: Sequence[GeneratedToken]) -> pd.DataFrame:
    return pd.DataFrame(
        {"step": step, "rank": rank, "token": token, "probability": probability}
        for step, one in enumerate(steps)
        for rank, (token, probability) in enumerate(one.alternatives, start=1)
    )
