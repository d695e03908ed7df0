"""Answers are made of the book's sentences, cite what they use, and admit what they do not know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kb.answers import Piece, compose, confidence, grounds
from kb.retrieval import Retrieval
from kb.store import Found

PASSAGE = Found(
    kind="document",
    document="self-attention",
    page="kb/documents/self-attention",
    title="Self-attention",
    section="The causal mask",
    anchor="the-causal-mask",
    found=[
        {"body": "The mask hides what comes later.", "cosine": 0.8},
        {"body": "It makes a triangle.", "cosine": 0.5},
        {"body": "Rows add up to one.", "cosine": 0.3},
        {"body": "The last sentence is far.", "cosine": 0.1},
    ],
    score=5.0,
    passage_cosine=0.7,
    sentence_cosine=0.8,
    bm25=4.0,
    coverage=1.0,
)
OTHER = replace(
    PASSAGE, section="Many heads", anchor="", found=[{"body": "Each head has its own mask.", "cosine": 0.7}], score=4.0
)
ECHO = replace(
    OTHER, section="Echo", anchor="echo", found=[{"body": "So the mask hides what comes later.", "cosine": 0.75}]
)


def test_a_sure_answer_leads_with_the_best_passage_and_cites_each_sentence() -> None:
    answer = compose(Retrieval("q", [PASSAGE, ECHO, OTHER]))
    assert answer.tier == "answer"
    assert answer.pieces == (
        Piece("The mask hides what comes later.", (1,)),
        Piece(" It makes a triangle.", (1,)),
        Piece(" Rows add up to one.", (1,)),
        Piece(" Each head has its own mask.", (2,)),
    )
    assert [source.url for source in answer.sources] == [
        "kb/documents/self-attention.html#the-causal-mask",
        "kb/documents/self-attention.html",
    ]
    assert answer.text.startswith("The mask hides what comes later. [1] It makes")


def test_a_doubtful_answer_says_that_it_is_only_the_closest() -> None:
    doubtful = replace(PASSAGE, passage_cosine=0.4, sentence_cosine=0.4, coverage=0.3)
    answer = compose(Retrieval("q", [doubtful]))
    assert answer.tier == "closest"
    assert answer.pieces[0].cites == ()
    assert answer.pieces[1].cites == (1,)


@pytest.mark.parametrize("found", [[], [replace(PASSAGE, passage_cosine=0.2, sentence_cosine=0.2, coverage=0.1)]])
def test_what_is_not_covered_has_no_sources(found: list[Found]) -> None:
    answer = compose(Retrieval("q", found))
    assert (answer.tier, answer.sources) == ("none", ())
    assert all(piece.cites == () for piece in answer.pieces)


def test_confidence_grows_with_each_of_its_parts() -> None:
    base = confidence(Retrieval("q", [PASSAGE]))
    for part in ("passage_cosine", "sentence_cosine", "coverage"):
        assert confidence(Retrieval("q", [replace(PASSAGE, **{part: 0.1})])) < base
    assert confidence(Retrieval("q", [])) == 0.0


def test_excerpts_are_bounded() -> None:
    long = replace(PASSAGE, found=[{"body": "word " * 200, "cosine": 0.9}])
    (source,) = compose(Retrieval("q", [long])).sources
    assert len(source.excerpt) <= 240
    assert source.excerpt.endswith("…")


def test_a_models_sources_begin_with_those_of_the_extract() -> None:
    retrieval = Retrieval("q", [PASSAGE, ECHO, OTHER])
    answer = compose(retrieval)
    sources = grounds(retrieval, answer, 3)
    assert tuple(source for source, _ in sources)[: len(answer.sources)] == answer.sources
    assert [source.n for source, _ in sources] == [1, 2, 3]
    assert sources[0][1].endswith("The last sentence is far.")
