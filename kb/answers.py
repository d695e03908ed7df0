"""Makes an answer out of the book's own sentences, each with its source, and says honestly how sure it is.

No language model takes part: nothing is phrased that does not stand in the book, apart from three fixed remarks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kb.retrieval import Retrieval
    from kb.store import Found

__all__ = ["Answer", "Piece", "Source", "Tier", "compose", "confidence", "grounds", "link", "tier_of"]

Tier = Literal["answer", "closest", "none"]

# The three numbers below were set on the questions of tests/kb/questions.yaml whose part is `tune`; `python -m kb eval`
# prints what they do to those and, apart, to the held-out ones. Confidence mixes how close the best passage and
# sentence are in meaning with how many of the question's rare words a passage has: either alone mistakes
# "the voltage of a power transformer" or a paraphrase. With these weights a question of the book was almost always
# above one that is not (area under the curve 0.95 on `tune`).
_PASSAGE_WEIGHT, _SENTENCE_WEIGHT, _COVERAGE_WEIGHT = 0.35, 0.35, 0.3
# Below: the book does not cover it. Placed so that at most one in twenty of the book's questions is turned away.
_CLOSEST_FROM = 0.325
# From here on the first passage was right in most cases; between the two, it is offered as the closest there is.
_ANSWER_FROM = 0.45

# How many of the first passages count for confidence and supply sentences.
_JUDGED = 3
_QUOTED = 5
_LEAD_SENTENCES = 3
_FURTHER_SENTENCES = 2
# A sentence of another passage joins if it is this close to the question, and not much less so than the best one.
_FURTHER_COSINE = 0.45
_FURTHER_DISTANCE = 0.2
# Weight of a passage's rank against its sentences' cosines when the leading one is chosen.
_RANK_STEP = 0.08
# Share of words in common from which two sentences say the same.
_SAME_WORDS = 0.7
_EXCERPT_CHARACTERS = 240

_NOT_COVERED = "I found nothing on this in the book."
_TRY_AGAIN = "Try other words, or ask about transformers, attention, the residual stream, the logit lens or ablations."
_CLOSEST = "I found no direct answer, but this comes nearest:"


@dataclass(frozen=True)
class Source:
    """A place in the book that the answer rests on; `url` is relative to the site's root."""

    n: int
    id: str
    title: str
    section: str
    url: str
    excerpt: str


@dataclass(frozen=True)
class Piece:
    """A stretch of the answer and the numbers of the sources that it rests on."""

    text: str
    cites: tuple[int, ...] = ()


@dataclass(frozen=True)
class Answer:
    """A tier, the sources in the order of their numbers, and the text piece by piece."""

    tier: Tier
    sources: tuple[Source, ...]
    pieces: tuple[Piece, ...]

    @property
    def text(self) -> str:
        """The whole answer with its citations, for a terminal."""
        return "".join("".join((piece.text, *(f" [{n}]" for n in piece.cites))) for piece in self.pieces)


def confidence(retrieval: Retrieval) -> float:
    """Judge how well what was found fits what was asked, from about 0 to 1."""
    if not retrieval.found:
        return 0.0
    first = retrieval.found[:_JUDGED]
    return (
        _PASSAGE_WEIGHT * max(found.passage_cosine for found in first)
        + _SENTENCE_WEIGHT * max(found.sentence_cosine for found in first)
        + _COVERAGE_WEIGHT * max(found.coverage for found in first)
    )


def tier_of(retrieval: Retrieval) -> Tier:
    """Decide between an answer, the closest that there is, and *not covered*."""
    sureness = confidence(retrieval)
    if sureness < _CLOSEST_FROM:
        return "none"
    return "answer" if sureness >= _ANSWER_FROM else "closest"


def compose(retrieval: Retrieval) -> Answer:
    """Choose the sentences that answer the question and number their sources."""
    tier = tier_of(retrieval)
    if tier == "none":
        return Answer(tier, (), _spaced([Piece(_NOT_COVERED), Piece(_TRY_AGAIN)]))
    chosen = _leading(retrieval) if tier == "answer" else _closest(retrieval)
    sources: list[Source] = []
    pieces = [] if tier == "answer" else [Piece(_CLOSEST)]
    pieces += [Piece(sentence, (_number(sources, found),)) for found, sentence in chosen]
    return Answer(tier, tuple(sources), _spaced(pieces))


def grounds(retrieval: Retrieval, answer: Answer, passages: int) -> list[tuple[Source, str]]:
    """Give sources with their text for a language model: the answer's own, then further ones, numbered on."""
    sources, texts = list(answer.sources), dict[int, list[str]]()
    for found in retrieval.found[:passages]:
        texts.setdefault(_number(sources, found), []).extend(str(sentence["body"]) for sentence in found.found)
    return [(source, " ".join(texts.get(source.n, [source.excerpt]))) for source in sources]


def link(page: str, anchor: str) -> str:
    """Point to a section of a page (docname), relative to the site's root."""
    return f"{page}.html#{anchor}" if anchor else f"{page}.html"


def _spaced(pieces: list[Piece]) -> tuple[Piece, ...]:
    """Let every piece but the first begin with a space: whoever shows them only appends."""
    return tuple(Piece(f" {piece.text}" if n else piece.text, piece.cites) for n, piece in enumerate(pieces))


def _leading(retrieval: Retrieval) -> Iterator[tuple[Found, str]]:
    """Give some consecutive sentences of the best passage, then the best ones of others that add something."""
    passages = retrieval.found[:_QUOTED]
    ranked = sorted(range(len(passages)), key=lambda rank: _RANK_STEP * rank - _best(passages[rank])[1])
    lead = passages[ranked[0]]
    start, closeness = _best(lead)
    bodies = [sentence["body"] for sentence in lead.found]
    start = max(0, min(start, len(bodies) - _LEAD_SENTENCES))
    said = bodies[start : start + _LEAD_SENTENCES]
    yield from ((lead, body) for body in said)
    added = 0
    for rank in ranked[1:]:
        position, cosine = _best(passages[rank])
        body = passages[rank].found[position]["body"]
        near = cosine >= max(_FURTHER_COSINE, closeness - _FURTHER_DISTANCE)
        if near and added < _FURTHER_SENTENCES and not any(_alike(body, other) for other in said):
            said.append(body)
            added += 1
            yield passages[rank], body


def _closest(retrieval: Retrieval) -> Iterator[tuple[Found, str]]:
    said: list[str] = []
    for found in retrieval.found[:_JUDGED]:
        body = found.found[_best(found)[0]]["body"]
        if not any(_alike(body, other) for other in said):
            said.append(body)
            yield found, body


def _best(found: Found) -> tuple[int, float]:
    """Find the passage's sentence nearest to the question: its index and its cosine."""
    position = max(range(len(found.found)), key=lambda index: float(found.found[index]["cosine"]))
    return position, float(found.found[position]["cosine"])


def _alike(one: str, other: str) -> bool:
    first, second = set(one.lower().split()), set(other.lower().split())
    return len(first & second) >= _SAME_WORDS * len(first | second)


def _number(sources: list[Source], found: Found) -> int:
    """Give the section's number, adding it to the sources when it is new."""
    url = link(found.page, found.anchor)
    for source in sources:
        if source.url == url:
            return source.n
    body = str(found.found[_best(found)[0]]["body"])
    excerpt = body if len(body) <= _EXCERPT_CHARACTERS else body[: _EXCERPT_CHARACTERS - 1].rstrip() + "…"
    sources.append(Source(len(sources) + 1, found.document, found.title, found.section, url, excerpt))
    return len(sources)
