"""The door takes questions and turns away everything else with a sentence."""

from __future__ import annotations

import json

import pytest

from kb.desk import RateLimit
from kb.errors import QuestionError
from kb.question import Question, read_question


def test_a_full_question_is_read() -> None:
    body = {"question": " What is\tit? ", "page": "lessons/tour", "history": [{"question": "Q", "answer": "A"}] * 9}
    assert read_question(json.dumps(body).encode()) == Question("What is it?", "lessons/tour", (("Q", "A"),) * 4)


def test_characters_that_a_database_refuses_become_blanks() -> None:
    assert read_question(rb'{"question": "a\u0000b \ud800 \u202e c"}').text == "a b c"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "expected JSON"),
        (b"{", "expected JSON"),
        (b"\xff\xfe", "expected JSON"),
        (b"[" * 10_000, "expected JSON"),
        (b"[]", r"expected a JSON object, got \[\]"),
        (b"{}", "expected a string, got None at question"),
        (b'{"question": 3}', "expected a string, got 3 at question"),
        (b'{"question": "  \\u0000 "}', "expected some words"),
        (json.dumps({"question": "x" * 601}).encode(), "expected at most 600 characters, got '601 characters'"),
        (b'{"question": "q", "page": "../../etc passwd"}', "expected a page's name"),
        (b'{"question": "q", "page": 1}', "expected a page's name"),
        (b'{"question": "q", "history": {}}', "expected a list"),
        (b'{"question": "q", "history": [1]}', "expected a list"),
        (b'{"question": "q", "history": [{"question": "a"}]}', "expected a string, got None at answer"),
        (json.dumps({"question": "q", "history": [{}] * 51}).encode(), "at most 50 objects"),
    ],
)
def test_a_malformed_question_is_refused_with_one_bounded_line(body: bytes, message: str) -> None:
    with pytest.raises(QuestionError, match=message) as caught:
        read_question(body)
    assert caught.value.payload()["status"] == 400
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_reader_who_asks_too_often_waits_and_others_do_not() -> None:
    now = [0.0]
    limit = RateLimit(2, 10.0, lambda: now[0])
    limit.admit("a")
    now[0] = 4.0
    limit.admit("a")
    with pytest.raises(QuestionError, match="at most 2 questions in 10 s, got one more; ask again in 6 s") as caught:
        limit.admit("a")
    assert caught.value.payload()["code"] == "too-many-questions"
    assert caught.value.status == 429
    limit.admit("b")
    now[0] = 10.0
    limit.admit("a")
