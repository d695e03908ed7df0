"""The Lab's place in a page: state for the script, words for everybody else, and stored answers as classic scripts."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest

from book.extensions.lab import Frozen, frozen_files, placeholder, scripts

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "</script><img src=x onerror=alert(1)>"


def opened(best: str = " cold") -> dict[str, Any]:
    lens = {"token": [["a", " b"], ["c", best]], "p": [[0.1, 0.2], [0.3, 0.681]]}
    guesses = [{"token": best, "id": 1, "p": 0.681}]
    return {
        "explain": f"The model continues with {best}.",
        "tokens": [{"text": "The", "id": 5}, {"text": " is", "id": 6}],
        "next": [guesses, guesses],
        "lens": lens,
    }


def file(answers: dict[str, Any] | None = None, prompt: str = "The is") -> dict[str, Any]:
    asked = {"ask": "open", "model": "toy", "prompt": prompt}
    return {
        "version": 1,
        "model": "toy",
        "prompt": prompt,
        "questions": [json.dumps(asked)],
        "answers": [answers or opened()],
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "b.json").write_text(json.dumps(file(prompt="second")), encoding="utf-8")
    (tmp_path / "a.json").write_text(json.dumps(file()), encoding="utf-8")
    return tmp_path


def test_frozen_files_are_read_by_name(folder: Path) -> None:
    found = frozen_files(folder)
    assert [(one.name, one.prompt) for one in found] == [("a", "The is"), ("b", "second")]
    assert found[0].opened["tokens"][1]["text"] == " is"


@pytest.mark.parametrize("text", ["{", "[]", '{"model": "toy"}', '{"questions": ["{}"], "answers": []}'])
def test_a_damaged_file_is_named_and_left_out(folder: Path, caplog: pytest.LogCaptureFixture, text: str) -> None:
    (folder / "c.json").write_text(text, encoding="utf-8")
    with caplog.at_level(logging.WARNING, logger="sphinx.book.extensions.lab"):
        assert len(frozen_files(folder)) == 2


def test_scripts_put_each_prompt_under_its_name(folder: Path) -> None:
    written = scripts(frozen_files(folder))
    assert sorted(written) == ["a.js", "b.js", "index.js"]
    index = json.loads(written["index.js"].partition(" = ")[2].rstrip(";\n"))
    assert index == [
        {"model": "toy", "prompt": "The is", "name": "a"},
        {"model": "toy", "prompt": "second", "name": "b"},
    ]
    assert written["a.js"].startswith('(window.tlFrozen ??= {})["a"] = {')


def test_the_place_holds_its_state_and_the_run_in_words() -> None:
    frozen = Frozen("a", "toy", "The is", "{}", opened())
    html = placeholder({"model": "toy", "position": 1}, frozen, is_wide=True)
    data = unescape(html.partition('data-lab="')[2].partition('"')[0])
    assert json.loads(data) == {"model": "toy", "position": 1}
    assert "data-wide" in html
    assert "<td>␣cold</td><td>68.1%</td>" in html


def test_whatever_a_token_holds_stays_text() -> None:
    frozen = Frozen("a", HOSTILE, HOSTILE, "{}", opened(HOSTILE))
    html = placeholder({"prompt": HOSTILE}, frozen, is_wide=False)
    assert "<img" not in html
    assert "</script" not in html


def test_a_place_without_stored_answers_says_what_stands_there() -> None:
    assert "needs scripts" in placeholder({}, None, is_wide=False)


def build(tmp_path: Path, page: str) -> subprocess.CompletedProcess[str]:
    source = tmp_path / "source"
    source.mkdir(exist_ok=True)
    (source / "conf.py").write_text('extensions = ["myst_parser", "book.extensions.lab"]\nlab_frozen = "frozen"\n')
    (source / "index.md").write_text(page)
    (source / "frozen").mkdir(exist_ok=True)
    (source / "frozen" / "a.json").write_text(json.dumps(file()))
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", str(source), str(tmp_path / "out")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_page_gets_its_place_and_the_site_its_files(tmp_path: Path) -> None:
    done = build(tmp_path, "# Page\n\n```{lab}\n:prompt: The is\n:part: L3H4\n:position: 1\n```\n")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    html = (tmp_path / "out" / "index.html").read_text()
    assert 'class="tl-lab"' in html
    assert "␣cold" in html
    assert {path.name for path in (tmp_path / "out/_static/lab").iterdir()} == {"a.js", "index.js"}


@pytest.mark.parametrize(
    ("option", "words"),
    [(":part: third", "expected a part such as L3H4"), (":mode: fly", "look"), (":position: -1", "-1")],
)
def test_an_option_that_cannot_be_is_refused_with_a_sentence(tmp_path: Path, option: str, words: str) -> None:
    done = build(tmp_path, f"# Page\n\n```{{lab}}\n{option}\n```\n")
    assert words in done.stderr
