"""One question from start to end, as the events that the reader's browser receives. Knows neither HTTP nor SQL."""

from __future__ import annotations

import time
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from kb.answers import Answer, Piece, Source, compose, grounds
from kb.errors import ModelFailed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from kb.model import ChatModel
    from kb.question import Question
    from kb.retrieval import Retrieval

__all__ = ["Chat", "Event"]

# The model reads the first passages only: more of them cost time and distract a small model.
_MODEL_PASSAGES = 4
_DID_NOT_ANSWER = "The language model did not answer, so these are the book's own sentences."
_BROKE_OFF = " … The language model broke off here. From the book itself:"


@dataclass(frozen=True)
class Event:
    """One event of the stream: `meta`, `sources`, `text` (repeated) and `done`, in this order."""

    name: str
    data: Any = field(default_factory=dict)


class Chat:
    """Answers questions by the book's own sentences, or through a language model where one is configured.

    Args:
        find: searches the corpus, without blocking the event loop.
        model: phrases answers; without one they are extracts.

    """

    def __init__(self, find: Callable[[Question], Awaitable[Retrieval]], model: ChatModel | None = None) -> None:
        self._find = find
        self._model = model

    async def answer(self, question: Question) -> AsyncGenerator[Event]:
        """Yield the events of one answer; closing the iteration stops a model that is still writing.

        Raises:
            StoreUnavailable: (``database-unavailable``) before the first event.

        """
        started = time.monotonic()
        retrieval = await self._find(question)
        answer = compose(retrieval)
        if self._model is None or answer.tier == "none":
            events = _extract(answer)
        else:
            events = _phrased(self._model, question, retrieval, answer)
        async with aclosing(events):
            async for event in events:
                yield event
        yield Event("done", {"elapsed_ms": round(1000 * (time.monotonic() - started))})


async def _extract(answer: Answer) -> AsyncGenerator[Event]:
    yield _meta(answer, None)
    yield _sources(answer.sources)
    for piece in answer.pieces:
        yield _text(piece)


async def _phrased(model: ChatModel, question: Question, retrieval: Retrieval, answer: Answer) -> AsyncGenerator[Event]:
    """Stream the model's words; if it fails, say so and give the extract in its place."""
    passages = grounds(retrieval, answer, _MODEL_PASSAGES)
    spoken = False
    try:
        async with aclosing(model.answer(question.text, passages, question.history)) as pieces:
            async for piece in pieces:
                if not spoken:
                    spoken = True
                    yield _meta(answer, model.name)
                    yield _sources([source for source, _ in passages])
                yield _text(piece)
    except ModelFailed as failure:
        if not spoken:
            yield _meta(answer, None)
            yield _sources(answer.sources)
        notice = _BROKE_OFF if spoken else _DID_NOT_ANSWER
        yield Event("text", {"text": notice, "cites": [], "failure": failure.code})
        for piece in answer.pieces:
            yield _text(piece if piece.text.startswith(" ") else Piece(f" {piece.text}", piece.cites))


def _meta(answer: Answer, model: str | None) -> Event:
    return Event("meta", {"tier": answer.tier, "mode": "model" if model else "extractive", "model": model})


def _sources(sources: Sequence[Source]) -> Event:
    return Event("sources", [asdict(source) for source in sources])


def _text(piece: Piece) -> Event:
    return Event("text", {"text": piece.text, "cites": list(piece.cites)})
