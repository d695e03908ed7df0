"""Modules and functions stay readable: where each must be split, whatever its subject."""

from __future__ import annotations

import ast

from source_tree import Source, front_end_files, loose_files, modules, parsed

_LONGEST_MODULE = 450
_LONGEST_FUNCTION = 60


def _too_long(source: Source) -> list[str]:
    found = [f"{source.name} has {source.n_lines} lines"] if source.n_lines > _LONGEST_MODULE else []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            n_lines = (node.end_lineno or node.lineno) - node.lineno + 1 - _docstring_lines(node)
            if n_lines > _LONGEST_FUNCTION:
                found.append(f"{source.name}:{node.lineno} {node.name}() has {n_lines} lines")
    return found


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the length of a docstring: what it explains does not make a function harder to read."""
    first = node.body[0]
    is_docstring = ast.get_docstring(node) is not None
    return (first.end_lineno or first.lineno) - first.lineno + 1 if is_docstring else 0


def test_no_module_and_no_function_is_too_long() -> None:
    assert [line for source in (*modules(), *loose_files()) for line in _too_long(source)] == []


def test_no_file_of_the_front_end_is_too_long() -> None:
    files = front_end_files()
    assert any(name.endswith(".test.ts") for name in files), "the tests of the front end belong to it"
    assert [f"{name} has {n} lines" for name, n in files.items() if n > _LONGEST_MODULE] == []


def test_every_module_says_first_what_it_is() -> None:
    assert [source.name for source in (*modules(), *loose_files()) if not ast.get_docstring(source.tree)] == []


def test_the_measure_finds_what_is_too_long() -> None:
    assert _too_long(parsed("x = 1\n" * 451, "kb.store")) == ["kb.store has 451 lines"]
    assert _too_long(parsed("x = 1\n" * 450, "kb.store")) == []
    function = "def f():\n" + "    x = 1\n" * 60
    assert _too_long(parsed(function, "kb.store")) == ["kb.store:1 f() has 61 lines"]
    method = "class A:\n    async def f(self):\n" + "        x = 1\n" * 60
    assert _too_long(parsed(method, "kb.store")) == ["kb.store:2 f() has 61 lines"]
    explained = 'def f():\n    """First.\n' + "    more\n" * 20 + '    """\n' + "    x = 1\n" * 50
    assert _too_long(parsed(explained, "kb.store")) == []
