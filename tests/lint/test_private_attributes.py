"""Which private attributes of aiohttp the package relies on: any release may change them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

ROOT = Path(__file__).resolve().parents[2]

# By module of the package. A test reads names alone: `_loop` is aiopg's.
PRIVATE = {
    "database/connection.py": {"_loop"},
    "server/connection.py": {"_close", "_force_close", "_messages"},
}


# Documented methods of named tuples.
PUBLIC = {"_replace"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def used_in(tree: ast.Module) -> Iterator[str]:
    """The private attributes that are read, set or asked for by name, of any object."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            yield node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr"):
            name = node.args[1]
            if isinstance(name, ast.Constant) and is_private(str(name.value)):
                yield str(name.value)


def defined_in(tree: ast.Module) -> Iterator[str]:
    """The private names of the classes of a module: what their bodies and ``__init__`` set."""
    for parent in ast.walk(tree):
        if isinstance(parent, ast.ClassDef):
            for node in parent.body:
                yield from names_of(node)


def names_of(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield node.name
        if node.name != "__init__":
            return
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name | ast.Attribute) and isinstance(inner.ctx, ast.Store):
            yield inner.id if isinstance(inner, ast.Name) else inner.attr


def aiohttp_names() -> set[str]:
    trees = (ast.parse(path.read_bytes()) for path in Path(aiohttp.__file__).parent.glob("*.py"))
    return {name for tree in trees for name in (*used_in(tree), *defined_in(tree))}


def private_of(tree: ast.Module, names: set[str]) -> set[str]:
    return (set(used_in(tree)) - set(defined_in(tree))) & names


def test_the_private_attributes_of_aiohttp_are_these() -> None:
    package, names = ROOT / "gateway", aiohttp_names()
    found = {}
    for path in package.rglob("*.py"):
        if used := private_of(ast.parse(path.read_bytes()), names):
            found[path.relative_to(package).as_posix()] = used
    assert found == PRIVATE


@pytest.mark.parametrize(
    "text",
    [
        "connection._waiter",
        "connection._waiter = None",
        "getattr(connection, '_waiter', None)",
        "class Own(Connection):\n def wait(self):\n  self._waiter = None",
    ],
)
def test_a_private_attribute_is_noticed(text: str) -> None:
    assert private_of(ast.parse(text), {"_waiter"}) == {"_waiter"}


@pytest.mark.parametrize(
    "text",
    [
        "connection.waiter",
        "class Own:\n def __init__(self):\n  self._waiter = None\n def get(self):\n  self._waiter",
        "class Own:\n def _waiter(self): ...\n def get(self):\n  self._waiter()",
        "class Own:\n _waiter: int\n def get(self):\n  self._waiter",
    ],
)
def test_attributes_of_the_package_are_its_own(text: str) -> None:
    assert not private_of(ast.parse(text), {"_waiter"})
