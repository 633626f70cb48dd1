"""Several filespaces: which one a path is in, and their settings."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.errors import InvalidPath, PathNotAllowed, SettingsError
from gateway.paths import Filespace, Filespaces, PathTarget, Problem, Rule, explain_all, resolve
from gateway.paths.refusal import Refused
from gateway.paths.resolver import apply_rules, resolve_clean
from gateway.settings import Settings
from support import ROOT
from support.path_cases import (
    EAST,
    LISTED,
    LISTED_ACCEPTED,
    LISTED_REFUSED,
    MOUNT,
    SINGLE,
    WEST,
)
from support.path_names import NAMES

MOUNTS = tuple(it.mount_point for it in LISTED.filespaces)


def cases(table: list[tuple[str, str, str]]) -> list[Any]:
    return [pytest.param(*row[1:], id=row[0]) for row in table]


@pytest.mark.parametrize(("typed", "expected"), cases(LISTED_ACCEPTED))
def test_a_path_is_found_in_its_filespace(typed: str, expected: str) -> None:
    assert resolve(typed, LISTED) == expected


@pytest.mark.parametrize(("typed", "reason"), cases(LISTED_REFUSED))
def test_a_path_is_refused_with_its_reason(typed: str, reason: str) -> None:
    with pytest.raises(InvalidPath) as caught:
        resolve(typed, LISTED)
    assert reason in caught.value.details[0]["error"]


@pytest.mark.parametrize(
    ("typed", "filespaces", "rule", "name"),
    [
        (f"{MOUNT}/a", SINGLE, Rule.MOUNT_POINT, "lucidlink-1"),
        ("a", SINGLE, Rule.RELATIVE, "lucidlink-1"),
        ("/Volumes/x/tc-1/a", SINGLE, Rule.KNOWN_ROOT, "lucidlink-1"),
        (f"{WEST}/a", LISTED, Rule.MOUNT_POINT, "tc-west-1"),
        ("tc-west-1/a", LISTED, Rule.FILESPACE_NAME, "tc-west-1"),
        ("L:/a", LISTED, Rule.LISTED_ROOT, "tc-east-1"),
    ],
)
def test_the_rule_that_resolved_a_path_is_reported(
    typed: str, filespaces: Filespaces, rule: Rule, name: str
) -> None:
    [found] = explain_all([typed], filespaces)
    assert isinstance(found, PathTarget)
    assert (found.rule, found.filespace.name) == (rule, name)


def test_paths_are_explained_individually_and_in_order() -> None:
    filespaces = Filespaces.single(MOUNT, ["00_Media"])
    good, bad, kept_out = explain_all(["00_Media/a", "../a", "01/a"], filespaces)
    assert isinstance(good, PathTarget)
    assert bad == Problem("../a", "its .. leads out of the filespace")
    assert isinstance(kept_out, Problem)
    assert kept_out.forbidden


def test_only_some_of_many_roots_are_listed() -> None:
    roots = [f"/srv/{number}" for number in range(9)]
    filespaces = Filespaces.listed([Filespace.create("tc", MOUNT, roots)])
    with pytest.raises(InvalidPath, match=r"known are /srv/0, .*, /srv/4, …\); write it relative"):
        resolve("/etc/passwd", filespaces)


def test_with_one_listed_filespace_relative_paths_need_no_name() -> None:
    filespaces = Filespaces.listed([Filespace.create("tc-east-1", MOUNT, ["L:"])])
    assert resolve("a/b", filespaces) == f"{MOUNT}/a/b"
    assert resolve("tc-east-1/b", filespaces) == f"{MOUNT}/tc-east-1/b"
    assert filespaces.relative(f"{MOUNT}/a/b") == "a/b"


def test_the_wsl_form_of_a_drive_may_be_listed_for_another_filespace() -> None:
    filespaces = Filespaces.listed(
        [Filespace.create("a", "/m/a", ["L:"]), Filespace.create("b", "/m/b", ["/mnt/l"])]
    )
    assert resolve("L:/x", filespaces) == "/m/a/x"
    assert resolve("/mnt/l/x", filespaces) == "/m/b/x"


# What may be cached


def test_allowed_paths_name_their_filespace() -> None:
    filespaces = Filespaces.listed(LISTED.filespaces, ["tc-east-1/00_Media", f"{WEST}/x"])
    assert filespaces.allowed_prefixes == (f"{EAST}/00_Media", f"{WEST}/x")
    assert resolve("L:/00_Media/a", filespaces) == f"{EAST}/00_Media/a"
    with pytest.raises(PathNotAllowed):
        resolve("M:/00_Media/a", filespaces)


@pytest.mark.parametrize("wrong", ["00_Media", "tc-east-1", "tc-north/a", r"L:\a", "/srv/East/a"])
def test_a_wrong_allowed_path_stops_the_start(wrong: str) -> None:
    with pytest.raises(SettingsError, match="ALLOWED_PATHS"):
        Filespaces.listed(LISTED.filespaces, [wrong])


# Settings


@pytest.mark.parametrize("name", ["", " ", "a/b", r"a\b", "..", "a\0b", "n" * 256])
def test_a_filespaces_name_is_one_name(name: str) -> None:
    with pytest.raises(SettingsError, match="FILESPACES"):
        Filespace.create(name, MOUNT)


@pytest.mark.parametrize(
    "root", ["", "a/b", "/", "//", "C:x", r"\x", "/a/../b", "L:/..", "/a\0", "~/x", "s3://b"]
)
def test_a_client_root_is_an_absolute_folder(root: str) -> None:
    with pytest.raises(SettingsError, match="FILESPACES"):
        Filespace.create("tc-1", MOUNT, [root])


@pytest.mark.parametrize("root", [MOUNT, f"{MOUNT}/a", "/media/lucidlink-2"])
def test_a_root_that_a_mount_point_hides_is_refused(root: str) -> None:
    with pytest.raises(SettingsError, match="cannot lie under a mount point"):
        Filespaces.listed(
            [Filespace.create("a", MOUNT, [root]), Filespace.create("b", "/media/lucidlink-2")]
        )


def load(text: str, tmp_path: Any) -> Settings:
    (tmp_path / "config.toml").write_text(text)
    return Settings.load(tmp_path / "config.toml", environ={})


def test_the_config_file_lists_filespaces(tmp_path: Any) -> None:
    text = """
        [[filespaces]]
        name = "east"
        mount_point = "/media//lucidlink-1/"
        client_roots = ["/Volumes/dmpfs/east", "L:"]

        [[filespaces]]
        name = "west"
        mount_point = "/media/lucidlink-2"
    """
    east, west = load(text, tmp_path).filespaces
    assert (east.name, east.mount_point, east.client_roots) == (
        "east", "/media/lucidlink-1", ("/Volumes/dmpfs/east", "L:"),
    )  # fmt: skip
    assert west.client_roots == ()
    assert load(text, tmp_path).mount_points == ("/media/lucidlink-1", "/media/lucidlink-2")
    assert Settings().mount_points == ("/media/lucidlink-1",)


def test_the_environment_lists_them_as_json() -> None:
    written = '[{"name": "east", "mount_point": "/m/e", "client_roots": ["L:"]}]'
    [east] = Settings.load(environ={"FILESPACES": written}).filespaces
    assert east.client_roots == ("L:",)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("east", "must be a JSON list"),
        ('{"name": "a"}', "must be a list of tables"),
        ('[{"name": "a"}]', "1: mount_point: is missing"),
        (
            '[{"name": "a", "mount_point": "/m", "roots": []}]',
            "1: unknown field roots, did you mean client_roots?",
        ),
        ('[{"name": "a", "mount_point": "/m", "x": 1}]', "1: unknown field x (known are name, "),
        (
            '[{"name": "a", "mount_point": "/m", "db_host": "x"}]',
            "1: db_host is no field of a filespace but a setting",
        ),
        ("[1]", "1: must be a table with a name and a mount_point"),
        ('[{"name": "", "mount_point": "/m"}]', "1: name: must not be empty"),
        ('[{"name": "a/b", "mount_point": "/m"}]', "1: name: 'a/b': a filespace's name is one"),
        ('[{"name": "..", "mount_point": "/m"}]', "1: name: '..': a filespace's name is one name"),
        (
            '[{"name": "a", "mount_point": "/m", "client_roots": ["L"]}]',
            "1: client_roots: 'L': a client root must be an absolute folder",
        ),
        (
            '[{"name": "a", "mount_point": "/m", "client_roots": ["/"]}]',
            "1: client_roots: '/': a client root must be an absolute folder",
        ),
        (
            '[{"name": "a", "mount_point": "/m", "client_roots": ["/m/x"]}]',
            ": '/m/x': a client root cannot lie under a mount point",
        ),
        ('[{"name": "a", "mount_point": "m"}]', "1: mount_point: must be an absolute path"),
        ('[{"name": "a", "mount_point": "/m", "client_roots": [1]}]', "client_roots: 1:"),
        (
            '[{"name": "a", "mount_point": "/m"}, {"name": "A", "mount_point": "/n"}]',
            "two filespaces are called a",
        ),
        (
            '[{"name": "a", "mount_point": "/m"}, {"name": "b", "mount_point": "/m/n"}]',
            "b is mounted in a, at /m/n",
        ),
        (
            '[{"name": "a", "mount_point": "/m"}, {"name": "b", "mount_point": "/m"}]',
            "a and b are mounted at the same point, /m",
        ),
    ],
)
def test_an_invalid_list_prevents_the_start_and_names_the_place(written: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load(environ={"FILESPACES": written})
    assert caught.value.message.startswith("Wrong value for FILESPACES in the environment: ")
    assert said in caught.value.message


def test_tables_beside_the_shipped_file_are_read_and_beside_a_list_explained(tmp_path: Any) -> None:
    tables = '\n[[filespaces]]\nname = "east"\nmount_point = "/m/e"\n'
    shipped = (ROOT / "config.toml").read_text(encoding="utf-8")
    assert load(shipped + tables, tmp_path).mount_points == ("/m/e",)
    with pytest.raises(SettingsError, match=r"take the line filespaces = \[\] out"):
        load("filespaces = []\n" + tables, tmp_path)
    with pytest.raises(SettingsError, match=r"config.toml: 1: name: 'a/b'"):
        load(tables.replace("east", "a/b"), tmp_path)


def test_a_misspelt_list_is_not_ignored() -> None:
    with pytest.raises(SettingsError, match="did you mean FILESPACES"):
        Settings.load(environ={"FILESPACE": "[]"})


# Any input

ROOTS = [
    "tc-east-1/",
    "tc-west-1\\",
    "L:/",
    "l:\\",
    "C:\\dmpfs\\tc-east-1\\",
    "/Volumes/dmpfs/",
    "/mnt/l/",
    "/VOLUMES/Zu\u0308rich/",
    "\\\\nas\\east\\",
    "\\\\?\\M:\\",
    "file:///srv/East/",
    f"{WEST}/",
    EAST,
]
PIECES = st.sampled_from(
    [
        *ROOTS,
        "..",
        ".",
        "/",
        "\\",
        "//",
        "a",
        "tc-east-1",
        "C:",
        "S:\\",
        "media",
        "UNC\\",
        "%2e",
        "%5c",
        "\u0308",
        "ß",
        "İ",
        "\0",
        '"',
        "b" * 256,
    ]
)
REST = st.lists(PIECES | st.text(max_size=3), max_size=9).map("".join)
TYPED = st.text() | REST | st.builds("".join, st.tuples(st.sampled_from(ROOTS), REST))
# A path under a root is mostly accepted, unless a part is invalid.
LIKELY = st.builds("".join, st.tuples(st.sampled_from(ROOTS), st.text("aü.-/\\:%", min_size=1)))


def resolve_or_none(typed: str) -> str | None:
    try:
        return resolve(typed, LISTED)
    except (InvalidPath, PathNotAllowed):
        return None


@given(LIKELY | TYPED)
def test_no_input_resolves_outside_the_mounts(typed: str) -> None:
    path = resolve_or_none(typed)
    if path is not None:
        assert path in MOUNTS or path.startswith(tuple(f"{mount}/" for mount in MOUNTS))
        assert not {"", ".", ".."} & set(path[1:].split("/"))


@given(LIKELY | TYPED)
def test_resolved_and_displayed_paths_resolve_to_themselves(typed: str) -> None:
    path = resolve_or_none(typed)
    if path is not None:
        assert resolve(path, LISTED) == path
        # A name may contain a backslash, which only the absolute form can express.
        if "\\" not in path:
            assert resolve(LISTED.relative(path), LISTED) == path


@given(TYPED)
def test_the_fast_path_for_clean_paths_agrees_with_the_rules(typed: str) -> None:
    try:
        quick = resolve_clean(typed, LISTED)
    except Refused:
        quick = None
    if quick is not None:
        assert apply_rules(typed, LISTED).path == quick


@given(NAMES)
def test_a_file_is_the_same_from_every_client(path: str) -> None:
    windows = path.replace("/", "\\")
    forms = [
        f"tc-east-1/{path}",
        f"{EAST}/{path}",
        f"/Volumes/dmpfs/tc-east-1/{path}",
        f"C:\\dmpfs\\tc-east-1\\{windows}",
        f"l:\\{windows}",
        f"L:/{path}",
        f"\\\\?\\L:\\{windows}",
        f"\\\\nas\\east\\./{windows}",
        f"/mnt/c/dmpfs/tc-east-1/{path}",
        f"/mnt/l/{path}",
        f"/srv/East/{path}",
    ]
    # A share's first folder may be the root of another filespace.
    assume(path.split("/")[0].casefold() != "old")
    assert {resolve(form, LISTED) for form in forms} == {f"{EAST}/{path}"}
