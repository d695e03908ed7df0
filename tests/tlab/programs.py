"""Running programs of plain code, and comparing what they find with the results that they were written for.

A file of parity tests names its cases `CASES` and has `parity_test(CASES)` compare them, with the fixtures `small` and
`traced` of conftest.py.

Programs for torch and TransformerLens run in this process, in an empty namespace. Those for nnsight run in one of
their own: importing nnsight changes torch's tensors and every object for all that follows.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.testing import assert_close

from tlab.code import LIBRARIES, write
from tlab.manifest import Manifest

if TYPE_CHECKING:
    from tlab import Model

__all__ = [
    "OTHERS",
    "PRETRAINED",
    "SMALL",
    "Case",
    "Numbers",
    "all_cases",
    "found",
    "found_apart",
    "manifest_of",
    "of",
    "parity_test",
    "program",
    "trace_small",
]

# What a program leaves in `answer` and in `table`.
Numbers = tuple[float, Any]

SMALL = ("gpt2", "llama-grouped")
OTHERS = ("gemma", "mistral", "qwen2", "qwen3", "smollm3", "starcoder2")
PRETRAINED = "smollm2-135m"
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Case:
    """One call.

    Args:
        verb: the experiment's name, as `Manifest.name` has it.
        arguments: its arguments by name, or what makes them for a model.
        expected: what tlab gives, from the model and the arguments.
        models: for which it is written.

    """

    verb: str
    arguments: Mapping[str, Any] | Callable[[Model], Mapping[str, Any]]
    expected: Callable[[Model, Mapping[str, Any]], Numbers]
    models: tuple[str, ...] = SMALL

    def given(self, model: Model) -> Mapping[str, Any]:
        """Return the arguments for a model."""
        return self.arguments if isinstance(self.arguments, Mapping) else self.arguments(model)


def of(verb: Callable[..., Any], read: Callable[[Any], Numbers]) -> Callable[[Model, Mapping[str, Any]], Numbers]:
    """Return the numbers of a result."""
    return lambda model, arguments: read(verb(model, **arguments))


def manifest_of(verb: str, arguments: Mapping[str, Any], model: Model, *, dtype: str = "float32") -> Manifest:
    """Return the manifest of a call, under a full name that gives the verb's short one."""
    package, _, name = verb.rpartition(".")
    return Manifest(f"tlab.{package or 'experiments'}.x.{name}", arguments, model.name, dtype=dtype)


def program(verb: str, arguments: Mapping[str, Any], library: str, model: Model) -> str:
    """Write the program of a call."""
    return write(manifest_of(verb, arguments, model), library, model)


def found(text: str) -> Numbers:
    """Run a program as a reader would, and return what it found."""
    namespace: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(text, "<program>", "exec"), namespace)  # noqa: S102  that is what programs are for
    assert said.getvalue().splitlines()[-1] == str(namespace["answer"])
    return namespace["answer"], namespace["table"]


# Runs every program of a folder and writes what they found into one file.
_RUNNER = """
import contextlib, io, json, pathlib, runpy, sys
import torch, transformers
torch.set_num_threads(1)
transformers.utils.logging.disable_progress_bar()
found = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.py")):
    with contextlib.redirect_stdout(io.StringIO()):
        namespace = runpy.run_path(str(path))
    found[path.stem] = [namespace["answer"], torch.as_tensor(namespace["table"]).tolist()]
pathlib.Path(sys.argv[2]).write_text(json.dumps(found))
"""


def found_apart(programs: Mapping[str, str], folder: Path) -> dict[str, Numbers]:
    """Run programs, each from a file, one after the other in one process of their own."""
    keys = dict(zip((f"{number:04}" for number in range(len(programs))), programs, strict=True))
    for stem, key in keys.items():
        (folder / f"{stem}.py").write_text(programs[key], encoding="utf-8")
    into = folder / "found.json"
    command = [sys.executable, "-c", _RUNNER, str(folder), str(into)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    read = json.loads(into.read_text(encoding="utf-8"))
    return {keys[stem]: (answer, table) for stem, (answer, table) in read.items()}


def trace_small(cases: Mapping[str, Case], small: Callable[[str], Model], folder: Path) -> dict[str, Numbers]:
    """Run all of nnsight's programs for the small models; the keys are `case-model`."""
    programs = {
        f"{case_name}-{name}": program(case.verb, case.given(small(name)), "nnsight", small(name))
        for case_name, case in cases.items()
        for name in case.models
        if name != PRETRAINED
    }
    return found_apart(programs, folder)


def parity_test(cases: Mapping[str, Case]) -> Callable[..., None]:
    """Return the test that compares every case's program with its result, for each of its models, in each library."""

    @pytest.mark.parametrize("library", LIBRARIES)
    @pytest.mark.parametrize(("name", "case_name"), _parameters(cases))
    def test(case_name: str, name: str, library: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        _check_parity(cases, case_name, name, library, request=request, folder=tmp_path)

    return test


def _parameters(cases: Mapping[str, Case]) -> list[Any]:
    return [
        pytest.param(name, case_name, id=f"{case_name}-{name}", marks=[pytest.mark.slow] if name == PRETRAINED else [])
        for case_name, case in cases.items()
        for name in case.models
    ]


def _check_parity(
    cases: Mapping[str, Case],
    case_name: str,
    name: str,
    library: str,
    *,
    request: pytest.FixtureRequest,
    folder: Path,
) -> None:
    """Compare a program's numbers with its result's."""
    is_real = name == PRETRAINED
    model: Model = request.getfixturevalue("model") if is_real else request.getfixturevalue("small")(name)
    case = cases[case_name]
    arguments = case.given(model)
    if library == "nnsight" and not is_real:
        answer, table = request.getfixturevalue("traced")[f"{case_name}-{name}"]
    else:
        text = program(case.verb, arguments, library, model)
        answer, table = found_apart({"it": text}, folder)["it"] if library == "nnsight" else found(text)
    expected_answer, expected_table = case.expected(model, arguments)
    assert_close(float(answer), float(expected_answer), atol=_TOLERANCE, rtol=_TOLERANCE)
    assert_close(
        torch.as_tensor(table, dtype=torch.float32).detach(),
        torch.as_tensor(expected_table, dtype=torch.float32),
        atol=_TOLERANCE,
        rtol=_TOLERANCE,
        equal_nan=True,
    )


def all_cases() -> list[Case]:
    """Return the cases of every file of parity tests."""
    paths = sorted(Path(__file__).parent.glob("test_code_parity*.py"))
    return [case for path in paths for case in importlib.import_module(path.stem).CASES.values()]
