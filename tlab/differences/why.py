"""`why_different`: which of the usual causes makes the one number into the other.

Refuses: guessing. A cause explains a difference only if the number, computed again with it, comes out as the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

from torch import Tensor

from tlab.differences.models import beside_model, between_models
from tlab.differences.results import beside_result, between_results
from tlab.errors import UnknownOption
from tlab.models import Model
from tlab.results import Result

if TYPE_CHECKING:
    from tlab.differences.report import Differences

__all__ = ["why_different"]


def why_different(
    a: Result | Model,
    b: Result | Model | Tensor | float,
    *,
    prompt: str | None = None,
    token: str | int | None = None,
    quantity: str | None = None,
    model: Model | None = None,
) -> Differences:
    """Say which of the usual causes makes two numbers differ that should be the same, by computing each.

    Between two results of one experiment, or two models, the causes are what their notes say is different: prompt,
    seed and other arguments, weights, tokenizer, kind of number, versions. Beside a number or logits from elsewhere
    they are what usually differs there: a special token in front, spaces, the kind of number, the attention
    implementation, logits that are centred because TransformerLens folded the weights, another position.

    Args:
        a: a result of an experiment, or a model.
        b: another of the kind; or a number, from a paper or another library, beside a result or a model; or logits,
            `d_vocab` of the last position or `pos d_vocab`, beside a model.
        prompt: the text, if `a` is a model.
        token: whose logit (or probability, if `b` lies between 0 and 1) the number is, if `a` is a model.
        quantity: which of the result's numbers a number from elsewhere is, e.g. `"patched_logit"` or
            `"frame.probability"` (of the first row); by default the nearest.
        model: the model that made the results, if it cannot be loaded by its name.

    Returns:
        A table of causes with a verdict each; `.causes` names those that explain the difference alone.

    Units: values in those of the number itself; gaps, effects and rests are shares of the largest number beside it.

    Raises:
        UnknownOption: the two cannot be compared, or what is needed for it is not given.
        DamagedResult: a result's note leads to no experiment.

    Cost: one run of the experiment for each cause.

    Example:
        >>> one, other = (predict(load(), text) for text in ("The capital of France is", "The capital of France is "))
        >>> why_different(one, other).causes
        ('prompt: space at the end',)

    See Also:
        `check`, for a model whose places do not mean what they say.

    """
    if isinstance(a, Result) and isinstance(b, Result):
        return between_results(a, b, model)
    if isinstance(a, Result) and _is_number(b):
        return beside_result(a, float(b), quantity, model)
    if isinstance(a, Model) and (isinstance(b, Model | Tensor) or _is_number(b)):
        if prompt is None:
            raise UnknownOption("comparison refused: expected a prompt for the model, got none; add prompt='…'")
        if isinstance(b, Model):
            return between_models(a, b, prompt)
        return beside_model(a, b if isinstance(b, Tensor) else float(b), prompt, token)
    raise UnknownOption(
        f"comparison refused: expected two results, two models, or one of them and a number, got {type(a).__name__} "
        f"and {type(b).__name__}; give the result or the model first"
    )


def _is_number(value: object) -> TypeGuard[float]:
    # True is an int to Python.
    return isinstance(value, float | int) and not isinstance(value, bool)
