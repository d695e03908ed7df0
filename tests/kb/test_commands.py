"""`python -m kb`: one line for what is wrong, and an exit code that says so."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from kb.__main__ import main

if TYPE_CHECKING:
    from kb.library import Library


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KB_")}
    command = [sys.executable, "-m", "kb", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=kept | environment, timeout=120)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["gossip"], "invalid choice: 'gossip'"),
        (["ask"], "the following arguments are required: question"),
        (["ask", " \0 "], "expected some words, got none"),
        (["index", "--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"KB_DSN": "host=/nowhere dbname=x"}, "kb: asking the database: expected an answer, got: connection"),
        ({"KB_DSN": "this is no dsn"}, "kb: asking the database: expected"),
        ({"KB_LLM_MODEL": "small"}, "set KB_LLM_BASE_URL too"),
        ({"KB_LLM_MODEL": "small", "KB_LLM_BASE_URL": "ftp://x"}, "expected an http:// or https:// address"),
        ({"TLAB_STATE_DIR": "/dev/null/x"}, "expected a folder to write in, got Not a directory"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_1(environment: dict[str, str], message: str) -> None:
    done = _run("index", **environment)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.pg
def test_index_ask_and_doctor_work_on_a_running_database(library: Library) -> None:
    state_dir = str(library._settings.state_dir)
    library.open()
    indexed = _run("index", TLAB_STATE_DIR=state_dir)
    assert indexed.returncode == 0, indexed.stderr
    assert indexed.stdout.startswith("0 added, 0 removed, ")
    asked = _run("ask", "What does the cuasal mask do?", TLAB_STATE_DIR=state_dir)
    assert asked.returncode == 0, asked.stderr
    assert "kb/documents/self-attention.html#the-causal-mask" in asked.stdout
    assert asked.stderr == ""
