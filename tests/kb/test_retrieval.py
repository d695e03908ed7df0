"""The right section is found however the question is put, and what the book lacks is not answered."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from kb.answers import compose
from kb.errors import DocumentError
from kb.evaluation import judge, read_cases, report
from kb.question import Question

if TYPE_CHECKING:
    from pathlib import Path

    from kb.library import Library

pytestmark = pytest.mark.pg


def _cited(library: Library, text: str, page: str = "", previous: str = "") -> list[str]:
    history = ((previous, ""),) if previous else ()
    return [source.url for source in compose(library.ask(Question(text, page, history))).sources]


@pytest.mark.parametrize(
    ("question", "place"),
    [
        ("What does the causal mask do?", "kb/documents/self-attention.html#the-causal-mask"),
        ("Why do long texts take so much compute?", "kb/documents/self-attention.html#what-attention-costs"),
        ("diference of zero and resampel abaltion",
         "kb/documents/reading-ablations-and-patches.html#three-ways-to-take-a-part-away"),
        ("What is the voltage of a causal mask?", "kb/documents/self-attention.html#the-causal-mask"),
    ],
)  # fmt: skip
def test_the_right_section_is_cited(library: Library, question: str, place: str) -> None:
    assert place in _cited(library, question)


@pytest.mark.parametrize("question", ["How do I bake sourdough bread?", "Who founded OpenAI?", "asdf qwer zxcv", "?"])
def test_what_the_book_lacks_is_not_answered(library: Library, question: str) -> None:
    answer = compose(library.ask(Question(question)))
    assert (answer.tier, answer.sources) == ("none", ())


def test_a_question_that_points_at_the_page_is_answered_from_it(library: Library) -> None:
    for page in ("kb/documents/reading-the-logit-lens", "lessons/tour"):
        assert library.ask(Question("How do I read this picture?", page)).found[0].page == page


def test_a_follow_up_is_understood_from_the_question_before(library: Library) -> None:
    bare = library.ask(Question("When does it mislead?"))
    following = library.ask(Question("When does it mislead?", "", (("What is the logit lens?", ""),)))
    assert following.found[0].anchor == "when-the-lens-misleads"
    assert following.found[0].coverage >= bare.found[0].coverage


def test_a_new_subject_is_not_pulled_back_to_the_question_before(library: Library) -> None:
    place = "kb/documents/self-attention.html#the-causal-mask"
    assert place in _cited(library, "What does the causal mask do in one row?", previous="What is RMSNorm?")


@pytest.mark.parametrize(
    "text",
    [
        "'; DROP SCHEMA tlab_kb CASCADE; --",
        "%s %(vector)s %%",
        "a & | ! <-> :* ( attention",
        "\\",
        "🦆 {0} $1",
        "a" * 600,
    ],
)
def test_hostile_text_is_only_text(library: Library, text: str) -> None:
    before = library.sizes()
    library.ask(Question(text, text[:200], ((text, text),)))
    assert library.sizes() == before


def test_many_readers_at_once_get_the_answers_they_would_get_alone(library: Library) -> None:
    questions = ["What is the residual stream?", "What does the causal mask do?", "What is mean ablation?"] * 8
    alone = {question: _cited(library, question) for question in set(questions)}
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda question: _cited(library, question), questions))
    assert together == [alone[question] for question in questions]


def test_the_set_of_questions_keeps_its_promises(book_root: Path) -> None:
    cases = read_cases(book_root / "tests" / "kb" / "questions.yaml")
    assert len(cases) >= 30
    for part in ("tune", "held"):
        assert sum(not case.expects for case in cases if case.part == part) >= 8
    assert len({(case.question.text, case.question.page) for case in cases}) == len(cases)


def test_quality_stays_where_it_was_measured(library: Library, book_root: Path) -> None:
    outcomes = judge(read_cases(book_root / "tests" / "kb" / "questions.yaml"), library.ask)
    for part in ("tune", "held"):
        figures = report(outcome for outcome in outcomes if outcome.case.part == part)
        assert figures.hit_at_1 >= 0.6
        assert figures.ndcg_at_5 >= 0.75
        assert figures.tiers[True, "none"] <= 0.05 * figures.answerable + 1
        assert figures.tiers[False, "none"] >= 0.75 * figures.unanswerable


@pytest.mark.parametrize("text", ["- {part: tune}", "- 3", "- {part: x, kind: k, question: q, expects: []}", "["])
def test_a_malformed_set_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "questions.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(DocumentError, match="reading questions: expected"):
        read_cases(path)
