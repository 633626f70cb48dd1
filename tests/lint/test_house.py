"""The rules of the code that no linter knows: where SQL is, what no module holds, how long.

Each rule walks the tree once and names every place that breaks it. `make lint` runs them. Which
room may import from which other stands in pyproject.toml, for import-linter.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "gateway"
MODULES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}

# What makes something that changes: no constant begins so.
MAKERS = re.compile(
    r"(list|dict|set|bytearray|open|defaultdict|OrderedDict|Counter|deque|ContextVar|ClientSession"
    r"|(asyncio|threading|queue|itertools|collections|contextvars|weakref)\.\w+|\w*(Lock|Queue))"
)
MUTATORS = {
    "add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove",
    "setdefault", "update",
}  # fmt: skip

SQL = re.compile(
    r"^\s*(SELECT|INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|WITH\s+\w+\s+AS|CREATE|ALTER|DROP"
    r"|TRUNCATE|COPY|SET|LOCK|LISTEN|NOTIFY|ANALYZE|VACUUM|GRANT)\s+[\w%{*(\"']"
)
# The server's own account is made before there is a database whose queries could be named.
SPEAKS_SQL = {"database/database.py", "standalone/postgres/provision.py"}


def place(path: Path, node: ast.AST | None = None) -> str:
    line = f":{node.lineno}" if node is not None and hasattr(node, "lineno") else ""
    return f"{path.relative_to(ROOT).as_posix()}{line}"


def refuse(found: Iterable[str]) -> None:
    places = list(found)
    assert not places, "\n" + "\n".join(places)


def test_sql_is_written_in_one_place() -> None:
    refuse(
        place(path, node)
        for path, tree in TREES.items()
        if path.relative_to(PACKAGE).as_posix() not in SPEAKS_SQL
        and PACKAGE / "database" / "sql" not in path.parents
        for node in strings_of(tree)
        if SQL.match(node.value)
    )


def strings_of(tree: ast.Module) -> Iterator[ast.Constant]:
    """The strings of a module that are no documentation."""
    documentation = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        is_string = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_string and id(node) not in documentation:
            yield node


@pytest.mark.parametrize(
    "text", ["SELECT 1", "\n  UPDATE jobs SET a = 1", "DELETE FROM x", "SET x = 1", "DROP TABLE x"]
)
def test_sql_is_known_when_it_is_seen(text: str) -> None:
    assert SQL.match(text)


@pytest.mark.parametrize("text", ["Select one", "SET", "Update the index", "DELETE", "with a key"])
def test_words_are_not_taken_for_sql(text: str) -> None:
    assert not SQL.match(text)


def test_no_module_has_a_state() -> None:
    refuse(found for path, tree in TREES.items() for found in states_of(path, tree))


def states_of(path: Path, tree: ast.Module) -> Iterator[str]:
    names = set()
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            names |= {target.id for target in ast.walk(node) if is_stored_name(target)}
            if makes_state(node.value):
                yield place(path, node)
    for node in ast.walk(tree):
        if isinstance(node, ast.Global) or changes_one_of(node, names):
            yield place(path, node)


def is_stored_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def makes_state(value: ast.expr) -> bool:
    """Whether something is made that changes, or a container that begins empty, to be filled."""
    if isinstance(value, ast.Dict):
        return not value.keys
    if isinstance(value, ast.List | ast.Set):
        return not value.elts
    return isinstance(value, ast.Call) and MAKERS.fullmatch(ast.unparse(value.func)) is not None


@pytest.mark.parametrize(
    "text", ["{}", "[]", "dict()", "asyncio.Event()", "threading.Lock()", "OrderedDict()"]
)
def test_state_is_known_when_it_is_seen(text: str) -> None:
    assert makes_state(ast.parse(text, mode="eval").body)


def changes_one_of(node: ast.AST, names: set[str]) -> bool:
    """Whether a statement changes a name of the module in place."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        owner = node.func.value
        return node.func.attr in MUTATORS and isinstance(owner, ast.Name) and owner.id in names
    if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
        return isinstance(node.value, ast.Name) and node.value.id in names
    return False


def test_a_file_is_read_in_one_sitting() -> None:
    texts = [*MODULES, *(ROOT / "tests").rglob("*.py"), *PACKAGE.rglob("*.sql")]
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in texts}
    refuse(f"{place(path)} has {count} lines" for path, count in lengths.items() if count > 400)


def test_a_function_fits_on_a_screen() -> None:
    refuse(
        f"{place(path, node)} {node.name} has {length} lines"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > 55
    )


SHIPPED = re.compile(
    r"(?!\.git/|.*__pycache__|\.[a-z_]+_cache/|\.venv/|\.hypothesis/).*"
    r"(\.(py|sql|md|toml|ya?ml|html|js|css|sh|json)|/run|Makefile|Dockerfile|\.env\.example)"
)


def documents() -> Iterator[Path]:
    """Every text that ships with the project."""
    for path in ROOT.rglob("*"):
        if SHIPPED.fullmatch(path.relative_to(ROOT).as_posix()) and path.is_file():
            yield path


def test_the_project_stands_on_its_own() -> None:
    """No word of notes that only its authors had, nor of the machine that it was written on."""
    words = [f"{name}.md" for name in ("DESIGN", "STACK", "HOUSE", "TRUTH")]
    words.append("/".join(["", "work", ""]))
    texts = {path: path.read_text(encoding="utf-8", errors="replace") for path in documents()}
    refuse(
        f"{place(path)} speaks of {word}"
        for path, text in texts.items()
        for word in words
        if word in text
    )
