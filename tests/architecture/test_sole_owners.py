"""Hooks, SQL, processes and TransformerLens' bridge: each is touched in the few places that own it."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest
from source_tree import Source, imports_of, loose_files, modules, parsed, within

if TYPE_CHECKING:
    from collections.abc import Callable

_HOOKING = frozenset(
    {
        "hooks",
        "add_hook",
        "run_with_hooks",
        "run_with_cache",
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
        "register_module_forward_hook",
    }
)
_STARTING = {
    "os": frozenset({"fork", "forkpty", "popen", "posix_spawn", "posix_spawnp", "startfile", "system"}),
    "asyncio": frozenset({"create_subprocess_exec", "create_subprocess_shell"}),
    "pty": frozenset({"fork", "spawn"}),
}
_PROCESS_MODULES = ("subprocess", "multiprocessing", "concurrent.futures.process")

# What starts processes, and which: kernels, the database, the tools that build the book, and the command that works out
# the Lab's answers, prompts side by side.
_MAY_START_PROCESSES = ("kernel_service", "kb.postgres", "tlab.lab.__main__", "book", "noxfile.py", "conf.py")


def _hooks(source: Source) -> list[str]:
    return [
        f"{source.name}:{node.lineno} calls .{node.func.attr}()"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _HOOKING
    ]


def _importers(package: str) -> Callable[[Source], list[str]]:
    def find(source: Source) -> list[str]:
        return [
            f"{source.name}:{one.line} imports {one.target}"
            for one in imports_of(source)
            if within(one.target, package) and not one.is_typing
        ]

    return find


def _processes(source: Source) -> list[str]:
    found = [
        f"{source.name}:{one.line} imports {one.target}"
        for one in imports_of(source)
        if any(within(one.target, module) for module in _PROCESS_MODULES)
        or one.name in _STARTING.get(one.target, frozenset())
    ]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = node.value.id
            is_start = node.attr in _STARTING.get(owner, frozenset()) or (
                owner == "os" and node.attr.startswith(("exec", "spawn"))
            )
            found += [f"{source.name}:{node.lineno} calls {owner}.{node.attr}"] if is_start else []
    return found


def _grad(source: Source) -> list[str]:
    names = {"no_grad", "enable_grad", "inference_mode", "set_grad_enabled"}
    return [
        f"{source.name}:{node.lineno} uses {node.attr}"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and node.attr in names
    ]


_OWNERS: list[tuple[str, Callable[[Source], list[str]], tuple[str, ...]]] = [
    ("hooks", _hooks, ("tlab.engine",)),
    # Training needs gradients; everything else asks the engine for them.
    ("gradients", _grad, ("tlab.engine", "tlab.training")),
    ("psycopg", _importers("psycopg"), ("kb",)),
    ("pgvector", _importers("pgvector"), ("kb",)),
    ("bertviz", _importers("bertviz"), ("tlab.experiments.attention",)),
    # The library stands on Hugging Face's modules alone; TransformerLens is what it is compared with.
    ("transformer_lens", _importers("transformer_lens"), ("benchmarks",)),
    ("huggingface_hub", _importers("huggingface_hub"), ("tlab.hub",)),
    ("plotly", _importers("plotly"), ("tlab.views",)),
    ("processes", _processes, _MAY_START_PROCESSES),
]


@pytest.mark.parametrize(("find", "owners"), [pytest.param(find, owners, id=name) for name, find, owners in _OWNERS])
def test_only_its_owner_touches_it(find: Callable[[Source], list[str]], owners: tuple[str, ...]) -> None:
    everything = [*modules(), *(source for source in loose_files() if "/" not in source.name)]
    strangers = [source for source in everything if not any(within(source.name, owner) for owner in owners)]
    assert [line for source in strangers for line in find(source)] == []


@pytest.mark.parametrize(
    ("find", "owners"), [pytest.param(find, owners[:1], id=name) for name, find, owners in _OWNERS]
)
def test_its_owner_does_touch_it(find: Callable[[Source], list[str]], owners: tuple[str, ...]) -> None:
    # Otherwise the search looks for something that nobody writes, and would never find a stranger either.
    assert [
        line
        for source in modules("tlab", "kernel_service", "kb", "book", "benchmarks")
        if any(within(source.name, owner) for owner in owners)
        for line in find(source)
    ]


@pytest.mark.parametrize(
    ("find", "code"),
    [
        (_hooks, "with model.bridge.hooks(fwd_hooks=[]):\n    pass"),
        (_hooks, "layer.register_forward_hook(print)"),
        (_hooks, "bridge.run_with_cache(ids)"),
        (_grad, "with torch.inference_mode():\n    pass"),
        (_importers("psycopg"), "def f():\n    from psycopg.rows import dict_row"),
        (_processes, "import subprocess"),
        (_processes, "from asyncio import subprocess, create_subprocess_exec"),
        (_processes, "import os\nos.fork()"),
        (_processes, "from os import fork"),
        (_processes, "import os\nos.execvp('sh', ['sh'])"),
        (_processes, "import asyncio\nasyncio.create_subprocess_exec('sh')"),
        (_processes, "from multiprocessing import Pool"),
    ],
)
def test_the_search_finds_a_stranger(find: Callable[[Source], list[str]], code: str) -> None:
    assert find(parsed(code, "kb.store"))


@pytest.mark.parametrize(
    "code", ["import os\nos.kill(1, 9)", "import signal", "points.hooks", "self.process.terminate()"]
)
def test_the_search_lets_others_pass(code: str) -> None:
    source = parsed(code, "kb.store")
    assert not _processes(source)
    assert not _hooks(source)
