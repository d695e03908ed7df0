"""What a module of tlab offers is one literal list, and it is all that other modules take from it."""

from __future__ import annotations

import ast

import pytest
from source_tree import Source, imports_of, modules, parsed


def _literal_all(source: Source) -> list[str] | None:
    for node in source.tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            try:
                names = ast.literal_eval(node.value)
            except ValueError:
                return None
            is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
            return names if is_list else None
    return None


def _defined(source: Source) -> set[str]:
    names: set[str] = set()
    for node in source.tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def _own_public(source: Source) -> set[str]:
    """Return the functions, classes and constants that a module defines itself, without a leading underscore."""
    own = [
        node for node in source.tree.body if not isinstance(node, ast.Import | ast.ImportFrom) and not _is_guard(node)
    ]
    return {
        name for name in _defined(Source(source.name, ast.Module(own, type_ignores=[]))) if not name.startswith("_")
    }


def _is_guard(node: ast.stmt) -> bool:
    return isinstance(node, ast.If)


def _public() -> list[Source]:
    """Return tlab's modules that offer something; a command and a package's bare front page offer nothing."""
    return [source for source in modules("tlab") if not source.name.endswith("__main__") and _defined(source)]


@pytest.mark.parametrize("source", _public(), ids=lambda source: source.name)
def test_what_a_module_offers_is_one_literal_list_of_names_that_exist(source: Source) -> None:
    names = _literal_all(source)
    assert names is not None
    assert sorted(names) == sorted(set(names))
    assert set(names) <= _defined(source)
    assert not [name for name in names if name.startswith("_")]


@pytest.mark.parametrize("source", _public(), ids=lambda source: source.name)
def test_what_is_not_offered_is_private(source: Source) -> None:
    assert _own_public(source) - set(_literal_all(source) or []) == set()


def test_modules_of_tlab_take_from_each_other_only_what_is_offered() -> None:
    offered = {source.name: set(_literal_all(source) or []) for source in _public()}
    taken = [
        f"{source.name}:{one.line} takes {one.name} from {one.target}"
        for source in modules("tlab")
        for one in imports_of(source)
        if one.target in offered and one.name is not None and one.name not in offered[one.target]
    ]
    assert taken == []


@pytest.mark.parametrize(
    "code", ["x = 1", "__all__ = [name for name in dir()]", "__all__ = ('a',)", "__all__ = [1]", "__all__ = a.__all__"]
)
def test_a_list_that_is_missing_or_computed_is_found(code: str) -> None:
    assert _literal_all(parsed(code, "tlab.x")) is None


def test_a_public_name_outside_the_list_is_found() -> None:
    source = parsed("__all__ = ['a']\nimport os\ndef a(): ...\ndef b(): ...\nclass _C: ...\nD = 1\n", "tlab.x")
    assert _literal_all(source) == ["a"]
    assert _own_public(source) - {"a"} == {"b", "D"}
