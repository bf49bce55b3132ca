"""The house's rules of form, which no linter has.

Functions of at most 60 lines and 8 parameters, files of at most 500; optional behaviour
is a typed sub-protocol, never `hasattr` or `getattr` with a default; what is public is
typed and, 95 % of it, documented.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

import score_mia

ROOT = Path(score_mia.__file__).parent
LINES, PARAMETERS, FILE, DOCUMENTED = 60, 8, 500, 0.95

FOREIGN = {
    "data/pixels.py: getattr(picture, 'n_frames', 1)",  # Pillow: where a format has it
    # What a store answered, in the words of botocore and of gcsfs.
    "bucket.py: getattr(error, 'response', None)",
    "bucket.py: getattr(error, 'code', None)",
}
"""What is asked of objects of other packages, which have no protocol of ours."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def trees() -> tuple[tuple[str, ast.Module], ...]:
    paths = sorted(ROOT.rglob("*.py"))
    return tuple(
        (p.relative_to(ROOT).as_posix(), ast.parse(p.read_text())) for p in paths
    )


def defined(
    node: ast.AST, name: str = "", public: bool = True
) -> Iterator[tuple[str, Function | ast.ClassDef, bool]]:
    """Every function and class: its dotted name, and whether a user may call it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function | ast.ClassDef):
            own = f"{name}.{child.name}" if name else child.name
            plain = child.name == "__call__" or not child.name.startswith("_")
            yield own, child, public and plain
            inside = public and plain and isinstance(child, ast.ClassDef)
            yield from defined(child, own, inside)
        else:
            yield from defined(child, name, public)


@functools.cache
def functions() -> tuple[tuple[str, Function, bool], ...]:
    return tuple(
        (f"{file}: {name}", node, public)
        for file, tree in trees()
        for name, node, public in defined(tree)
        if isinstance(node, Function)
    )


def arguments(node: Function) -> list[ast.arg]:
    a = node.args
    every = [*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg]
    return [one for one in every if one and one.arg not in ("self", "cls")]


def long() -> set[str]:
    return {
        name
        for name, node, _ in functions()
        if (node.end_lineno or 0) - node.lineno + 1 > LINES
    }


def parameters() -> set[str]:
    return {n for n, node, _ in functions() if len(arguments(node)) > PARAMETERS}


def file() -> set[str]:
    paths = {p.relative_to(ROOT).as_posix(): p for p in ROOT.rglob("*.py")}
    return {n for n, p in paths.items() if len(p.read_text().splitlines()) > FILE}


def asking() -> set[str]:
    """Calls that ask an object what it has."""
    calls = set()
    for name, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                fixed = len(node.args) == 3 and isinstance(node.args[1], ast.Constant)
                if node.func.id == "hasattr" or (node.func.id == "getattr" and fixed):
                    calls.add(f"{name}: {ast.unparse(node)}")
    return calls - FOREIGN


def untyped() -> set[str]:
    return {
        name
        for name, node, public in functions()
        if public
        and (node.returns is None or any(a.annotation is None for a in arguments(node)))
    }


RULES = {
    "long": long,
    "parameters": parameters,
    "file": file,
    "asking": asking,
    "untyped": untyped,
}


@pytest.mark.parametrize("rule", RULES)
def test_nothing_breaks_a_rule(rule):
    assert RULES[rule]() == set()


def test_what_is_public_is_documented():
    every = [
        (f"{file}: {name}", ast.get_docstring(node) is not None)
        for file, tree in trees()
        for name, node, public in defined(tree)
        if public
    ]
    bare = [name for name, told in every if not told]
    assert len(bare) <= (1 - DOCUMENTED) * len(every), bare
