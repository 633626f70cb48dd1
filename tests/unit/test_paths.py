"""Typed paths and the paths in the filespace that they resolve to."""

from __future__ import annotations

import json
import string
from urllib.parse import quote as percent_encode

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from gateway.errors import InvalidPath, PathNotAllowed, SettingsError
from gateway.paths import Filespaces, resolve, resolve_all
from gateway.paths.refusal import Refused
from gateway.paths.resolver import apply_rules, resolve_clean
from support.path_cases import ACCEPTED, MOUNT, REFUSED, VIDEO
from support.path_cases import SINGLE as FILESPACE
from support.path_names import NAMES


def cases(table):
    return [pytest.param(*row[1:], id=row[0]) for row in table]


@pytest.mark.parametrize(("typed", "expected"), cases(ACCEPTED))
def test_a_path_is_found_in_the_filespace(typed, expected):
    assert resolve(typed, FILESPACE) == expected


@pytest.mark.parametrize(("typed", "reason"), cases(REFUSED))
def test_a_path_is_refused_with_its_reason(typed, reason):
    with pytest.raises(InvalidPath) as caught:
        resolve(typed, FILESPACE)
    assert reason in caught.value.message
    assert reason in caught.value.details[0]["error"]
    json.dumps(caught.value.details).encode()


@pytest.mark.parametrize(
    ("mount", "typed", "expected"),
    [
        ("/data/fs", "/media/lucidlink-1/a", "/data/fs/a"),
        ("/data/fs", "/media/ann/tc-east-1/a", "/data/fs/a"),
        ("/data/fs", "/data/fs/a", "/data/fs/a"),
        ("/filespace", "/mnt/lucidlink/tc-east-1/a", "/filespace/a"),
        ("/filespace", "/Volumes/x/tc-1", "/filespace"),
        ("/mnt/lucidlink", "/mnt/lucidlink/tc-east-1/a", "/mnt/lucidlink/tc-east-1/a"),
        ("/mnt/tc-1", "/Volumes/x/tc-2/a", "/mnt/tc-1/a"),
        ("/mnt/tc-1", "/mnt/lucidlink/tc-east-1/a", "/mnt/tc-1/a"),
        ("/media/tc-1", "/media/ann/tc-east-1/a", "/media/tc-1/a"),
    ],
)
def test_client_paths_resolve_for_any_mount_point(mount, typed, expected):
    assert resolve(typed, Filespaces.single(mount)) == expected


@pytest.mark.parametrize(
    "typed", ["/mnt/tc-2/a", "/mnt/tc-10", "/mnt", "/mnt/tc-2/tc-east-1/a", "/mnt/../mnt/tc-1/a"]
)
def test_a_sibling_of_the_mount_is_never_a_client_path(typed):
    with pytest.raises(InvalidPath, match="outside the filespace"):
        resolve(typed, Filespaces.single("/mnt/tc-1"))


def test_the_longest_name_and_the_longest_path_are_accepted():
    name = "n" * 255
    assert resolve(name, FILESPACE) == f"{MOUNT}/{name}"
    longest = "/".join([name] * 15 + ["m" * (4096 - len(MOUNT) - 1 - 256 * 15)])
    assert len(resolve(longest, FILESPACE)) == 4096
    with pytest.raises(InvalidPath, match="longer than 4096 bytes"):
        resolve(longest + "m", FILESPACE)


# Batches


def test_a_batch_keeps_its_order_and_duplicates():
    typed = ["b", r"C:\x\tc-1\a", "b", f"{MOUNT}/c"]
    assert resolve_all(typed, FILESPACE) == [f"{MOUNT}/{name}" for name in "babc"]
    assert resolve_all([], FILESPACE) == []


def test_a_batch_reports_all_problems():
    filespace = Filespaces.single(MOUNT, ["00_Media"])
    with pytest.raises(InvalidPath) as caught:
        resolve_all(["../x", "00_Media/a", "01_Other/b", ""], filespace)
    assert caught.value.message == (
        "Cannot use the path '../x': its .. leads out of the filespace (and 2 more)"
    )
    assert caught.value.details == [
        {"path": "../x", "error": "its .. leads out of the filespace"},
        {"path": "01_Other/b", "error": "it is outside the paths that may be cached"},
        {"path": "", "error": "it is empty"},
    ]


def test_a_batch_of_disallowed_paths_is_forbidden_not_invalid():
    filespace = Filespaces.single(MOUNT, ["00_Media"])
    with pytest.raises(PathNotAllowed) as caught:
        resolve_all(["01_Other/b", "00_Media", "02"], filespace)
    assert "'01_Other/b': it is outside the paths that may be cached (and 1 more)" in str(
        caught.value
    )
    assert [problem["path"] for problem in caught.value.details] == ["01_Other/b", "02"]


def test_a_single_problem_has_no_count():
    with pytest.raises(InvalidPath) as caught:
        resolve_all(["a", "~"], FILESPACE)
    assert "more" not in caught.value.message


# What may be cached


@pytest.mark.parametrize("written", ["00_Media/Farm", f"{MOUNT}/00_Media/Farm/", r"00_Media\Farm"])
@pytest.mark.parametrize(
    ("typed", "allowed"),
    [
        ("00_Media/Farm", True),
        ("00_Media/Farm/a.mov", True),
        ("/Volumes/x/tc-1/00_Media/Farm/a.mov", True),
        ("00_Media/Other/../Farm/a.mov", True),
        ("00_Media/Farm2/a.mov", False),
        ("00_Media/Farm/../a.mov", False),
        ("00_Media/farm/a.mov", False),
        ("00_Media", False),
        (MOUNT, False),
    ],
)
def test_only_what_is_in_an_allowed_folder_may_be_cached(written, typed, allowed):
    filespace = Filespaces.single(MOUNT, [written])
    assert filespace.allowed_prefixes == (f"{MOUNT}/00_Media/Farm",)
    if allowed:
        assert resolve(typed, filespace).startswith(f"{MOUNT}/00_Media/Farm")
    else:
        with pytest.raises(PathNotAllowed, match="is outside the paths that may be cached"):
            resolve(typed, filespace)


def test_any_of_several_allowed_folders_will_do():
    filespace = Filespaces.single(MOUNT, ["a", "b/c"])
    assert resolve_all(["a/x", "b/c/y"], filespace) == [f"{MOUNT}/a/x", f"{MOUNT}/b/c/y"]


def test_the_mount_point_as_an_allowed_path_allows_everything():
    filespace = Filespaces.single(MOUNT, [MOUNT])
    assert resolve_all([MOUNT, "a"], filespace) == [MOUNT, f"{MOUNT}/a"]


@pytest.mark.parametrize(
    "wrong",
    ["", " ", "/", ".", "a/..", "../a", "/00_Media", "/media/lucidlink-10/a", "/media", "C:a",
     r"C:\x\tc-1\a", "/Volumes/x/tc-1/a", "~/a", "a\nb", "https://a/b"],
)  # fmt: skip
def test_a_wrong_allowed_path_stops_the_start_and_is_named(wrong):
    with pytest.raises(SettingsError, match="ALLOWED_PATHS") as caught:
        Filespaces.single(MOUNT, ["00_Media", wrong])
    assert wrong.replace("\n", r"\n") in caught.value.message


@pytest.mark.parametrize("wrong", ["", "/", "//", "media/x", "/media/../x", "/media/x\0", r"C:\x"])
def test_a_wrong_mount_point_stops_the_start(wrong):
    with pytest.raises(SettingsError, match="CONTAINER_MOUNT_POINT"):
        Filespaces.single(wrong)


@pytest.mark.parametrize("written", ["/media/lucidlink-1/", "//media/./lucidlink-1//"])
def test_a_mount_point_is_normalized(written):
    assert Filespaces.single(written) == FILESPACE


# Messages


@pytest.mark.parametrize("forged", ["\n", "\r", "\x1b[2J", "\x85", "\u2028", "\u202e", "\ud800"])
def test_a_message_is_one_line_of_printable_text(forged):
    with pytest.raises(InvalidPath) as caught:
        resolve(f"/etc/{forged}INFO all is well", FILESPACE)
    assert caught.value.message.isprintable()
    assert repr(forged)[1:-1] in caught.value.message


@pytest.mark.parametrize("long", ["/x" * 5000, "../" * 1_000_000, "\U000e0001" * 5000, "\n" * 9000])
def test_a_message_shows_little_of_a_long_path(long):
    with pytest.raises(InvalidPath) as caught:
        resolve(long, FILESPACE)
    assert len(caught.value.message) < 120 + 260
    assert len(caught.value.details[0]["path"]) <= 4097


def test_a_path_is_shown_as_it_was_typed():
    with pytest.raises(InvalidPath, match=r"'D:\\Ann\\a\.mov'"):
        resolve(r"D:\Ann\a.mov", FILESPACE)
    with pytest.raises(InvalidPath, match='"/Ann\'s/a"'):
        resolve("/Ann's/a", FILESPACE)


# Any input

PIECES = st.sampled_from(
    ["..", ".", "/", "\\", "//", "\\\\", "a", "tc-1", "lucidlink", "lucidlink-10", "Volumes", "mnt",
     "c", "C:", "media", MOUNT, MOUNT + "/", "/Volumes/x/tc-1/", "C:\\x\\tc-1\\", "\\\\s\\tc-1\\",
     "\\\\?\\", "UNC\\", "file://", "file:", "%2e", "%2f", "%5c", "%00", "%25", "~", '"', "'", " ",
     "\0", "\n", "\ud800", "\ufeff", "ü", "b" * 256]
)  # fmt: skip
HOSTILE = st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join)
TYPED = st.text() | HOSTILE


def resolve_or_none(typed, filespace=FILESPACE):
    try:
        return resolve(typed, filespace)
    except (InvalidPath, PathNotAllowed):
        return None


@given(TYPED)
def test_no_input_resolves_outside_the_mount(typed):
    path = resolve_or_none(typed)
    assume(path is not None)
    assert path == MOUNT or path.startswith(f"{MOUNT}/")
    parts = path[1:].split("/")
    assert not {"", ".", ".."} & set(parts)
    assert all(len(part.encode()) <= 255 for part in parts)
    assert len(path.encode()) <= 4096
    assert not set(path) & {*map(chr, range(32)), "\x7f"}


@given(TYPED)
def test_a_resolved_path_resolves_to_itself(typed):
    path = resolve_or_none(typed)
    assume(path is not None)
    assert resolve(path, FILESPACE) == path


@given(HOSTILE)
def test_disallowed_paths_are_never_resolved(typed):
    path = resolve_or_none(typed, Filespaces.single(MOUNT, ["a"]))
    assert path is None or path == f"{MOUNT}/a" or path.startswith(f"{MOUNT}/a/")


@given(TYPED)
@example("a/b.mov")
@example(f"{MOUNT}/a/b.mov")
@example(f"{MOUNT}/{MOUNT}/a")
def test_the_fast_path_for_clean_paths_agrees_with_the_rules(typed):
    try:
        quick = resolve_clean(typed, FILESPACE)
    except Refused:
        quick = None
    if quick is not None:
        assert apply_rules(typed, FILESPACE).path == quick


@pytest.mark.parametrize("typed", ["00_Media/video.mp4", VIDEO])
def test_the_fast_path_covers_both_common_forms(typed):
    assert resolve_clean(typed, FILESPACE) == VIDEO


@given(NAMES)
@example("tc-notes/a.txt")
@example("lucidlink/tc-east-1/a")
@example("~/C:/a")
def test_a_file_is_the_same_from_every_client(path):
    windows = path.replace("/", "\\")
    forms = [
        f"./{path}",
        f".\\{windows}",
        f"{MOUNT}/{path}",
        f"/Volumes/dmpfs/tc-east-1/{path}",
        f"/mnt/lucidlink/tc-east-1/{path}",
        f"/home/ann/lucidlink/{path}",
        f"/mnt/c/dmpfs/tc-east-1/{path}",
        f"C:\\dmpfs\\tc-east-1\\{windows}",
        f"c:/dmpfs/tc-east-1/{path}",
        f"\\\\server\\share\\tc-east-1\\{windows}",
        f"\\\\?\\C:\\dmpfs\\tc-east-1\\{windows}",
        f'"C:\\dmpfs\\tc-east-1\\{windows}"',
        f"file:///Volumes/dmpfs/tc-east-1/{percent_encode(path)}",
    ]
    assert set(resolve_all(forms, FILESPACE)) == {f"{MOUNT}/{path}"}


@given(st.text(string.ascii_letters + "-_.0123456789", min_size=1), st.text(max_size=5))
def test_a_sibling_with_a_common_prefix_is_not_the_mount(suffix, rest):
    assert resolve_or_none(f"{MOUNT}{suffix}/{rest}") is None
