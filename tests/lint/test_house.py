"""The rules that the code keeps: which way imports run, where SQL is, and what no module holds."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import ROOT

PACKAGE = ROOT / "gateway"
MODULES = sorted(PACKAGE.rglob("*.py"))
TEXTS = {path: path.read_text(encoding="utf-8") for path in MODULES}
TREES = {path: ast.parse(text) for path, text in TEXTS.items()}

# A room may import from its own floor and from those below. A folder is one room.
FLOORS = (
    ("errors", "formatting", "runtime", "web", "client"),
    ("net", "paths", "job", "mount"),
    ("settings", "metrics"),
    ("database", "logs", "schemas"),
    ("auth", "events", "index"),
    ("jobs", "openapi", "worker"),
    ("app_keys", "monitors"),
    ("http",),
    ("handlers",),
    ("app", "server"),
    ("standalone",),
    ("cli",),
    ("__main__", "__init__"),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

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


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room_of(dotted: str) -> str:
    """``gateway.handlers.jobs`` is in the room ``handlers``."""
    return dotted.split(".")[1] if "." in dotted else "__init__"


def dotted_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if len(parts) > 2 and parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts)


def imports_of(tree: ast.Module) -> Iterator[str]:
    """The modules of ours that a module imports, also inside its functions."""
    ours = {dotted_name(path) for path in MODULES}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if room_is_ours(alias.name))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module and room_is_ours(node.module):
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    yield inner if inner in ours else node.module


def room_is_ours(dotted: str) -> bool:
    return dotted.split(".")[0] == "gateway"


def each_module() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", MODULES, ids=name_of)


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(dotted_name(path)) for path in MODULES}
    assert rooms <= set(FLOOR_OF)


@each_module()
def test_imports_run_one_way(path: Path) -> None:
    floor = FLOOR_OF[room_of(dotted_name(path))]
    for imported in imports_of(TREES[path]):
        assert FLOOR_OF[room_of(imported)] <= floor, f"{name_of(path)} imports {imported}"


def test_the_client_knows_only_the_wire() -> None:
    for path in (PACKAGE / "client").rglob("*.py"):
        assert set(map(room_of, imports_of(TREES[path]))) <= {"client"}, name_of(path)


@pytest.mark.parametrize(("room", "other"), [("handlers", "monitors"), ("monitors", "handlers")])
def test_handlers_and_monitors_do_not_know_each_other(room: str, other: str) -> None:
    for path in (PACKAGE / room).rglob("*.py"):
        assert other not in map(room_of, imports_of(TREES[path])), name_of(path)


def test_errors_and_jobs_know_nothing_of_http_or_the_database() -> None:
    for name in ("errors.py", "job.py", "auth/token_bucket.py", "settings/settings.py"):
        roots = {module.split(".")[0] for module in foreign_imports(TREES[PACKAGE / name])}
        assert not roots & {"aiohttp", "aiopg", "psycopg2"}, name


def test_only_the_database_knows_the_driver() -> None:
    """Its errors become ours beside it; migrations and the embedded server connect on their own."""
    knowing = {
        room_of(dotted_name(path))
        for path, tree in TREES.items()
        if {"psycopg2", "aiopg"} & {module.split(".")[0] for module in foreign_imports(tree)}
    }
    assert knowing <= {
        *("database", "standalone"),
    }


def foreign_imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@each_module()
def test_sql_is_written_in_one_place(path: Path) -> None:
    if name_of(path) in SPEAKS_SQL or name_of(path).startswith("database/sql/"):
        return
    documentation = {id(node) for node in docstrings(TREES[path])}
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            is_prose = id(node) in documentation
            assert is_prose or not SQL.match(node.value), f"{name_of(path)}:{node.lineno}"


def docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


@pytest.mark.parametrize(
    "text", ["SELECT 1", "\n  UPDATE jobs SET a = 1", "DELETE FROM x", "SET x = 1", "DROP TABLE x"]
)
def test_sql_is_known_when_it_is_seen(text: str) -> None:
    assert SQL.match(text)


@pytest.mark.parametrize("text", ["Select one", "SET", "Update the index", "DELETE", "with a key"])
def test_words_are_not_taken_for_sql(text: str) -> None:
    assert not SQL.match(text)


@each_module()
def test_no_module_has_a_state(path: Path) -> None:
    names = set()
    for node in TREES[path].body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            names |= {target.id for target in ast.walk(node) if is_stored_name(target)}
            assert not makes_state(node.value), f"{name_of(path)}:{node.lineno}"
    for node in ast.walk(TREES[path]):
        assert not isinstance(node, ast.Global), f"{name_of(path)}:{node.lineno}"
        assert not changes_one_of(node, names), f"{name_of(path)}:{getattr(node, 'lineno', 0)}"


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


@each_module()
def test_nothing_is_remembered_behind_the_callers_back(path: Path) -> None:
    """A cached function is state of its module, which outlives the application that filled it."""
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = {ast.unparse(decorator).partition("(")[0] for decorator in node.decorator_list}
            assert not names & {"cache", "lru_cache", "functools.cache", "functools.lru_cache"}


@pytest.mark.parametrize(
    "path",
    [*MODULES, *sorted((ROOT / "tests").rglob("*.py")), *sorted(PACKAGE.rglob("*.sql"))],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_a_file_is_read_in_one_sitting(path: Path) -> None:
    most = 500 if path.name == "test_paths.py" else 400
    assert len(path.read_text(encoding="utf-8").splitlines()) <= most


@each_module()
def test_a_function_fits_on_a_screen(path: Path) -> None:
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 55, f"{name_of(path)}: {node.name} has {length} lines"


SHIPPED = re.compile(
    r"(?!\.git/|.*__pycache__|\.[a-z]+_cache/|\.venv/|\.hypothesis/).*"
    r"(\.(py|sql|md|toml|ya?ml|html|js|css|sh|json)|/run|Makefile|Dockerfile|\.env\.example)"
)


def documents() -> Iterator[Path]:
    """Every text that ships with the project."""
    for path in ROOT.rglob("*"):
        if SHIPPED.fullmatch(path.relative_to(ROOT).as_posix()) and path.is_file():
            yield path


def test_the_project_stands_on_its_own() -> None:
    """No word of notes that only its authors had, nor of the machine that it was written on."""
    words = [f"{name}.md" for name in ("DESIGN", "STACK", "HOUSE")] + ["/".join(["", "work", ""])]
    for path in documents():
        text = path.read_text(encoding="utf-8", errors="replace")
        found = [word for word in words if word in text]
        assert not found, f"{path.relative_to(ROOT)} speaks of {found}"


@pytest.mark.parametrize(
    ("path", "apart"),
    [
        ("auth/key_store.py", {"auth.tokens", "auth.public_keys"}),
        ("cli/commands/keys.py", {"app", "auth.tokens"}),
    ],
)
def test_who_needs_a_name_alone_loads_nothing_large(path: str, apart: set[str]) -> None:
    loaded = set(imports_of(TREES[PACKAGE / path]))
    assert not {f"gateway.{it}" for it in apart} & loaded
