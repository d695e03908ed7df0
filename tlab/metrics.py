"""What a sweep measures: one number a run, from the logits at the positions that it reads.

`logit_diff`, `logit`, `prob`, `kl`, `loss`. A token may be given as text or as id. Refuses: running anything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tlab.errors import UnknownOption, UnusablePrompt, shown
from tlab.plain import plain, whole
from tlab.precision import precise

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Int
    from torch import Tensor

    from tlab.models import Model

__all__ = ["Metric", "checked_metric", "kl", "logit", "logit_diff", "loss", "prob"]

_KINDS = ("kl", "logit", "logit_diff", "loss", "prob")


@dataclass(frozen=True)
class Metric:
    """One way to turn a run into a number; made by the functions of this module.

    Args:
        kind: which of them.
        pos: the token that counts up.
        neg: the token that counts down, for a difference.
        position: where the logits are read, counted from the end if negative; `None` for where the model answers.

    """

    kind: str
    pos: str | int | None = None
    neg: str | int | None = None
    position: int | None = None

    @property
    def unit(self) -> str:
        """What the number is counted in."""
        return {"prob": "probability", "kl": "nats", "loss": "nats a token"}.get(self.kind, "logits")

    @property
    def label(self) -> str:
        """The metric for an axis or a sentence, e.g. `logit difference ' Mary' − ' John'`."""
        return {
            "logit_diff": f"logit difference {self.pos!r} − {self.neg!r}",
            "logit": f"logit of {self.pos!r}",
            "prob": f"probability of {self.pos!r}",
            "kl": "KL divergence from the plain run",
            "loss": "loss",
        }[self.kind]

    def reads(self, model: Model, ids: Int[Tensor, " pos"]) -> tuple[int, ...]:
        """Return the positions of a prompt at which logits are needed, counted from 0.

        Args:
            model: knows where it answers.
            ids: the prompt's.

        Raises:
            UnknownOption: the position lies outside the prompt, or an encoder, which foretells no next token, is
                asked for a loss.
            UnusablePrompt: the loss of a single token, or an encoder's prompt without a mask.

        """
        n_pos = len(ids)
        if self.kind == "loss":
            if model.family == "encoder":
                raise UnknownOption(
                    f"metric refused: expected one that an encoder has, got loss(), which asks {shown(model.name)} for "
                    f"next tokens; take prob or logit_diff at the mask"
                )
            if n_pos == 1:
                raise UnusablePrompt(
                    "prompt unusable: expected at least two tokens for a loss, got one; write a longer text"
                )
            return tuple(range(n_pos - 1))
        if self.position is None:
            return (model.answer_position(ids),)
        is_whole = isinstance(self.position, int) and not isinstance(self.position, bool)
        if not is_whole or not -n_pos <= self.position < n_pos:
            raise UnknownOption(
                f"position refused: expected {-n_pos} to {n_pos - 1}, got {shown(self.position)}; "
                f"the prompt has {n_pos} tokens"
            )
        return (self.position % n_pos,)

    def shows(self, model: Model, ids: Int[Tensor, " pos"]) -> int:
        """Return the position whose prediction is shown beside the number: where it is read, for a loss the last.

        Raises:
            UnknownOption: as `reads`.
            UnusablePrompt: as `reads`.

        """
        return model.answer_position(ids) if self.kind == "loss" else self.reads(model, ids)[0]

    def bind(
        self, model: Model, ids: Int[Tensor, " pos"], reference: Float[Tensor, "read d_vocab"] | None = None
    ) -> Callable[[Float[Tensor, "batch read d_vocab"]], Float[Tensor, " batch"]]:
        """Return the measure for one prompt: from logits at `reads` to one number a run.

        Args:
            model: knows the tokens.
            ids: the run's own, for the loss.
            reference: the plain run's logits, for the divergence.

        Raises:
            UnusableToken: a token is not a single token.

        """
        if self.kind == "loss":
            targets = ids[1:]

            def loss_of(logits: Tensor) -> Tensor:
                steps = precise(logits).log_softmax(-1)
                return -steps.gather(-1, targets.expand(len(logits), -1)[..., None])[..., 0].mean(-1)

            return loss_of
        if self.kind == "kl":
            if reference is None:
                raise UnknownOption("metric refused: expected a reference run for kl(), got none; use logit_diff")
            log_p = precise(reference).log_softmax(-1)
            return lambda logits: (
                (log_p.exp() * (log_p - precise(logits).log_softmax(-1))).sum(-1).mean(-1).clamp(min=0)
            )
        pos = model.to_id(self.pos)  # type: ignore[arg-type]
        if self.kind == "prob":
            return lambda logits: precise(logits[:, 0]).softmax(-1)[:, pos]
        if self.kind == "logit":
            return lambda logits: precise(logits[:, 0, pos])
        neg = model.to_id(self.neg)  # type: ignore[arg-type]
        return lambda logits: precise(logits[:, 0, pos]) - precise(logits[:, 0, neg])


def logit_diff(pos: str | int, neg: str | int, *, position: int | None = None) -> Metric:
    """Measure how much higher the logit of one token is than that of another.

    Shapes:
        measured: from logits `batch read d_vocab` to `batch`

    Args:
        pos: the token that counts up, as text or as id.
        neg: the token that counts down.
        position: where the logits are read, counted from 0, or from the end if negative. By default where the model
            answers: the last position, in an encoder the first mask.

    Units: logits; their difference is the logarithm of the ratio of the two probabilities.

    Raises:
        UnusableToken: where it is used, a token that is not a single one.
        UnusablePrompt: likewise, an encoder's prompt without a mask.
        UnknownOption: likewise, a position outside the prompt.

    Source:
        Wang et al., "Interpretability in the Wild" (2022), arXiv:2211.00593, where it measures the IOI task.

    """
    return checked_metric(Metric("logit_diff", pos, neg, position))


def logit(token: str | int, *, position: int | None = None) -> Metric:
    """Measure the logit of one token.

    Shapes:
        measured: from logits `batch read d_vocab` to `batch`

    Args:
        token: as text or as id.
        position: where the logits are read, counted from 0, or from the end if negative. By default where the model
            answers: the last position, in an encoder the first mask.

    Units: logits; a number that is added to all of them changes no probability, and changes this one.

    Raises:
        UnusableToken: where it is used, a token that is not a single one.
        UnusablePrompt: likewise, an encoder's prompt without a mask.
        UnknownOption: likewise, a position outside the prompt.

    Source:
        nostalgebraist, "interpreting GPT: the logit lens" (2020), reads models by their logits.

    """
    return checked_metric(Metric("logit", token, None, position))


def prob(token: str | int, *, position: int | None = None) -> Metric:
    """Measure the probability of one token.

    Shapes:
        measured: from logits `batch read d_vocab` to `batch`

    Args:
        token: as text or as id.
        position: where the logits are read, counted from 0, or from the end if negative. By default where the model
            answers: the last position, in an encoder the first mask.

    Units: from 0 to 1, over the whole vocabulary.

    Raises:
        UnusableToken: where it is used, a token that is not a single one.
        UnusablePrompt: likewise, an encoder's prompt without a mask.
        UnknownOption: likewise, a position outside the prompt.

    Source:
        Meng et al., "Locating and Editing Factual Associations in GPT" (2022), arXiv:2202.05262, trace it.

    """
    return checked_metric(Metric("prob", token, None, position))


def kl(*, position: int | None = None) -> Metric:
    """Measure how far the whole prediction moved from the plain run's: KL(plain ‖ edited), in nats.

    Between two prompts, the plain run is the one that is patched.

    Shapes:
        measured: from logits `batch read d_vocab` to `batch`

    Args:
        position: where the logits are read, counted from 0, or from the end if negative. By default where the model
            answers: the last position, in an encoder the first mask.

    Units: nats; 0 if nothing moved.

    Raises:
        UnusablePrompt: where it is used, an encoder's prompt without a mask.
        UnknownOption: likewise, a position outside the prompt.

    Source:
        Conmy et al., "Towards Automated Circuit Discovery for Mechanistic Interpretability" (2023), arXiv:2304.14997,
        judge circuits by it.

    """
    return checked_metric(Metric("kl", None, None, position))


def loss() -> Metric:
    """Measure how badly the prompt's own tokens are predicted: mean cross-entropy, in nats a token.

    Between two prompts each run is asked for the next tokens of its own prompt, and the patched run for those of the
    prompt that is patched: of the corrupted one to denoise, of the clean one to noise. In `tlab.circuits`, whose runs
    lie between the two, all are asked for the clean prompt's.

    Shapes:
        measured: from logits `batch read d_vocab` to `batch`

    Units: nats a token; every position counts but the last, whose next token nobody knows.

    Raises:
        UnusablePrompt: where it is used, a prompt of a single token.
        UnknownOption: where it is used, an encoder, which foretells no next token.

    Source:
        Hugging Face's `model(ids, labels=ids).loss` is the same number.

    """
    return Metric("loss")


def checked_metric(metric: Any) -> Metric:  # noqa: ANN401  whatever a caller gave
    """Return the metric.

    Raises:
        UnknownOption: it is none, or reads at what is neither a position nor `None`, for where the model answers.

    """
    if isinstance(metric, Metric) and metric.kind in _KINDS:
        position = None if metric.position is None else whole(metric.position)
        if position is None and metric.position is not None:
            raise UnknownOption(
                f"position refused: expected a whole number, got {shown(metric.position)}; "
                f"-1 is the last position of the prompt"
            )
        return replace(metric, pos=plain(metric.pos), neg=plain(metric.neg), position=position)
    raise UnknownOption(
        f"metric refused: expected one of tlab.metrics, got {shown(metric)}; "
        f"try tlab.metrics.logit_diff(' Mary', ' John')"
    )
