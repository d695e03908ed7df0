"""From a question to its answer: the one door of the Lab, the same for a kernel and for a frozen file.

An answer is JSON as `book/frontend/src/lab/contract.ts` describes it. Long ones come in parts, between which whoever
asks may stop listening; nothing is left behind in the model then. Refuses: drawing, and keeping anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlab.errors import TlabError, UnknownModel, UnknownOption, UnsupportedModel, UnusablePrompt, shown
from tlab.lab import intervening, looking
from tlab.lab.program import coded
from tlab.lab.questions import MAX_TOKENS, checked_question
from tlab.models import Model
from tlab.targets import parse_targets

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tlab.experiments.tuned_lens import TunedLens

    _Answer = dict[str, Any]
    _Steps = Generator[_Answer | None, None, _Answer]

__all__ = ["answer", "answers", "refusal"]

_TEXTS = ("prompt", "corrupted", "other", "toward", "away")


def answer(
    source: Model | Callable[[str], Model],
    question: object,
    on_part: Callable[[dict[str, Any]], object] | None = None,
    *,
    lens: TunedLens | None = None,
) -> dict[str, Any]:
    """Answer one question of the Lab.

    A question is complete in itself: it names model, prompt and what is asked. It may come from anywhere: every field
    is checked.

    Args:
        source: a model, or a function from a model's name to one, such as `tlab.load`.
        question: an object with a field `ask`: `open flow part lens heads ablate head_map patch patch_map steer
            compare code identities`, and the fields of its kind.
        on_part: is given answers that are not complete yet, as they grow.
        lens: a trained lens, for questions about the tuned one.

    Returns:
        The answer: lists, texts and numbers of four significant digits, as JSON can hold them.

    Raises:
        UnusableQuestion: the question is none.
        TlabError: what the verb that answers it refuses: a prompt, a part, a model.

    Example:
        >>> asked = {"ask": "flow", "model": "smollm2-135m", "prompt": "The capital of France is", "position": 4}
        >>> answer(load, asked)["position"]
        4

    """
    steps = answers(source, question, lens=lens)
    while True:
        try:
            part = next(steps)
        except StopIteration as end:
            complete: dict[str, Any] = end.value
            return complete
        if part is not None and on_part is not None:
            on_part(part)


def answers(
    source: Model | Callable[[str], Model], question: object, *, lens: TunedLens | None = None
) -> Generator[dict[str, Any] | None, None, dict[str, Any]]:
    """Yield a question's answer as it grows, and return it when it is complete.

    Between two steps whoever asks may do something else, or stop. `None` stands for a step that shows nothing new.

    The question is checked when the first part is asked for.

    Args:
        source: as in `answer`.
        question: likewise.
        lens: likewise.

    """
    asked = checked_question(question)
    model = _model(source, asked["model"])
    _check_model(model)
    about = asked.get("about", asked)
    for field in _TEXTS:
        if about.get(field):
            _check_text(model, about[field])
    _check_parts(model, about)
    yield None
    given = {field: value for field, value in asked.items() if field not in {"ask", "model", "prompt"}}
    return (yield from _ANSWERS[asked["ask"]](model, asked["prompt"], given, lens))


def refusal(error: Exception) -> dict[str, str]:
    """Return an error as the one sentence that a reader sees."""
    if isinstance(error, TlabError):
        return {"message": str(error), "code": error.code}
    message = " ".join(str(error).split()) or "no message"
    return {
        "message": f"not answered: expected an answer, got {type(error).__name__} ({shown(message)}); "
        f"ask something else, or restart the kernel",
        "code": "",
    }


def _model(source: Model | Callable[[str], Model], name: str) -> Model:
    if not isinstance(source, Model):
        return source(name)
    if source.name != name:
        raise UnknownModel(
            f"model unknown: expected {shown(source.name)}, with which the Lab was opened, got {shown(name)}; "
            f"open another Lab for it"
        )
    return source


def _check_model(model: Model) -> None:
    if model.family != "decoder":
        raise UnsupportedModel(
            f"model unsupported: expected a decoder, which the Lab can unfold, got the {model.family} "
            f"{shown(model.name)}; take 'smollm2-135m', or look at this one with tlab.dataflow"
        )
    model.check_predicts()


def _check_text(model: Model, text: str) -> None:
    ids, most = model.to_ids(text).tolist(), _most(model)
    if len(ids) > most:
        raise UnusablePrompt(
            f"prompt too long: expected at most {most} tokens in the Lab, got {len(ids)}; shorten the text"
        )
    tokenizer = model.tokenizer
    unknown = tokenizer.unk_token_id
    # Where the mark for unknown words has other uses, no unknown word is turned into it.
    if unknown in ids and unknown not in {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}:
        raise UnusablePrompt(
            f"prompt unusable: expected words that {shown(model.name)} knows, got {shown(text)}, whose token "
            f"{ids.index(unknown)} is none of its vocabulary; write others, or take 'smollm2-135m'"
        )


def _most(model: Model) -> int:
    return min(MAX_TOKENS, model.n_ctx)


def _check_parts(model: Model, about: dict[str, Any]) -> None:
    """Refuse what is no part; what `tlab.component` could show beyond parts has no place in the Lab."""
    if about.get("part", "embed") != "embed":
        parse_targets(about["part"], model.n_layers, model.n_heads, with_stream=True)


def _opened(model: Model, prompt: str, given: _Answer, _lens: TunedLens | None) -> _Steps:
    return looking.opened(model, prompt, max_tokens=_most(model), **given)


def _lensed(model: Model, prompt: str, given: _Answer, lens: TunedLens | None) -> _Steps:
    if given["kind"] == "tuned" and lens is None:
        raise UnknownOption(
            "tuned lens refused: expected a trained lens, got none; train one in minutes with "
            "tlab.train_tuned_lens(model) and give it to tlab.lab.open(lens=…)"
        )
    yield None
    return looking.lensed(model, prompt, lens=lens, **given)


def _compared(model: Model, prompt: str, given: _Answer, _lens: TunedLens | None) -> _Steps:
    return looking.compared(model, prompt, max_tokens=_most(model), **given)


def _at_once(function: Callable[..., _Answer]) -> Callable[..., _Steps]:
    def steps(model: Model, prompt: str, given: _Answer, _lens: TunedLens | None) -> _Steps:
        yield None
        return function(model, prompt, **given)

    return steps


def _growing(function: Callable[..., _Steps]) -> Callable[..., _Steps]:
    def steps(model: Model, prompt: str, given: _Answer, _lens: TunedLens | None) -> _Steps:
        return function(model, prompt, **given)

    return steps


_ANSWERS: dict[str, Callable[[Model, str, dict[str, Any], TunedLens | None], _Steps]] = {
    "open": _opened,
    "flow": _at_once(looking.flowed),
    "part": _at_once(looking.zoomed),
    "lens": _lensed,
    "heads": _at_once(lambda model, _prompt: looking.scored(model)),
    "ablate": _growing(intervening.ablated),
    "head_map": _growing(intervening.head_mapped),
    "patch": _at_once(intervening.patched),
    "patch_map": _growing(intervening.patch_mapped),
    "steer": _growing(intervening.steered),
    "compare": _compared,
    "code": _at_once(lambda model, _prompt, **given: coded(model, **given)),
    "identities": _growing(looking.identified),
}
