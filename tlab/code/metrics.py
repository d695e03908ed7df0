"""The number that a sweep follows, as a function of the logits in the generated program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlab.errors import UnknownOption, shown

if TYPE_CHECKING:
    from tlab.code.dialects.dialect import Dialect

__all__ = ["METRICS", "contrast_lines", "metric_lines", "token_id"]

METRICS = ("kl", "logit", "logit_diff", "loss", "prob")
_FARTHEST = 1_000_000


def metric_lines(metric: object, say: Dialect, *, plain: str, answer: str, ids: str) -> tuple[str, list[str]]:
    """Return what the metric is, for a comment, and the lines that define `metric(logits)`.

    Args:
        metric: one of tlab's metrics; `None` for the probability of the likeliest token.
        say: the dialect.
        plain: the variable with the logits of the run that is changed, for the divergence.
        answer: the variable with the logits of the run whose likeliest token is followed.
        ids: the variable with the token ids whose loss is taken.

    Raises:
        UnknownOption: it is none of them.

    """
    kind, pos, neg, at = _read(metric)
    if kind == "loss":
        return "the mean surprise at the prompt's own next tokens, in nats", [
            f"def metric(logits, ids={ids}):",
            "    return torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:])",
        ]
    if kind == "kl":
        return "how far the prediction is from the plain run's (KL divergence, in nats)", [
            f"expected = {plain}[{at}].log_softmax(-1)",
            "",
            "def metric(logits):",
            f"    return (expected.exp() * (expected - logits[{at}].log_softmax(-1))).sum()",
        ]
    if kind == "logit_diff":
        return "how much higher the logit of one token is than that of another", [
            f"right = {token_id(pos, say)}",
            f"wrong = {token_id(neg, say)}",
            "",
            "def metric(logits):",
            f"    return logits[{at}, right] - logits[{at}, wrong]",
        ]
    followed = f"int({answer}[-1].argmax())" if metric is None else token_id(pos, say)
    value = f"logits[{at}].softmax(-1)[token]" if kind == "prob" else f"logits[{at}, token]"
    says = "the probability of one token" if kind == "prob" else "the logit of one token"
    return says, [f"token = {followed}", "", "def metric(logits):", f"    return {value}"]


def contrast_lines(metric: object, say: Dialect) -> tuple[str, list[str]]:
    """Return the same for two prompts, whose logits the program has in `base`, `clean_logits` and `corrupted_logits`.

    The ids of the run that is changed are in `base_ids`. Without a metric it is the logit difference between the two
    runs' answers, or the answer's logit if they agree.
    """
    if metric is not None:
        return metric_lines(metric, say, plain="base", answer="clean_logits", ids="base_ids")
    return "how much higher the logit of the clean run's answer is than that of the corrupted run's", [
        "right, wrong = int(clean_logits[-1].argmax()), int(corrupted_logits[-1].argmax())",
        "",
        "def metric(logits):",
        "    if right == wrong:  # both runs give the same answer",
        "        return logits[-1, right]",
        "    return logits[-1, right] - logits[-1, wrong]",
    ]


def token_id(token: object, say: Dialect) -> str:
    """Return the expression for one token's id, from its text or its number."""
    if isinstance(token, int) and not isinstance(token, bool):
        return str(token)
    if isinstance(token, str) and token:
        return f'{say.tokenizer}({token!r}, add_special_tokens=False)["input_ids"][0]'
    raise UnknownOption(f"token refused: expected the text of one token, got {shown(token)}; try ' Paris'")


def _read(metric: object) -> tuple[str, object, object, int]:
    """Return a metric's kind, its two tokens and its position."""
    if metric is None:
        return "prob", None, None, -1
    kind, at = getattr(metric, "kind", None), getattr(metric, "position", None)
    # Code is written for decoders, which answer at the last position.
    at = -1 if at is None else at
    if kind not in METRICS or not isinstance(at, int) or isinstance(at, bool) or abs(at) > _FARTHEST:
        raise UnknownOption(
            f"metric refused: expected one of {', '.join(METRICS)}, got {shown(metric)}; "
            f"try tlab.metrics.logit_diff(' Mary', ' John')"
        )
    return str(kind), getattr(metric, "pos", None), getattr(metric, "neg", None), at
