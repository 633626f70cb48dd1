"""The embedded PostgreSQL on a bad day: killed, stuck, or failing to start."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import psycopg2
import psycopg2.extras
import pytest

from gateway.errors import EmbeddedPostgresError
from gateway.standalone.postgres import SUPERUSER, Patience, shutdown
from gateway.standalone.postgres.binaries import find_binaries
from gateway.standalone.postgres.log import pick_reason
from gateway.standalone.postgres.shutdown import find_servers, read_startup_progress
from support.embedded_postgres_tools import (
    FAST,
    FORK,
    Make,
    account_of,
    ask,
    is_alive,
    tell,
    wait_until_gone,
    write_script,
)

# What a kill -9 leaves


def test_a_server_left_behind_is_stopped_and_its_data_kept(
    make_server: Make, data_dir: Path
) -> None:
    """The gateway dies, its server lives on: the next start takes the folder over."""
    left_behind = leave_server_behind(make_server)
    assert is_alive(left_behind)
    with make_server() as server:
        assert server.pid != left_behind
        assert not is_alive(left_behind)
        assert find_servers(data_dir / "postgres") >= {server.pid}
        assert ask(server, "SELECT x FROM t") == 42


def leave_server_behind(make_server: Make) -> int:
    """Start a server from a process that is killed afterwards; returns the postmaster's pid."""
    theirs, ours = FORK.Pipe()

    def work() -> None:
        server = make_server()
        server.start()
        tell(server, "CREATE TABLE t AS SELECT 42 AS x")
        theirs.send(server.pid)
        signal.pause()

    gateway = FORK.Process(target=work)
    gateway.start()
    theirs.close()
    pid: int = ours.recv()
    gateway.kill()
    gateway.join()
    return pid


def test_processes_that_lost_their_postmaster_are_ended_and_the_crash_recovered(
    make_server: Make, data_dir: Path
) -> None:
    """As after the system's out-of-memory killer: a busy backend outlives its postmaster."""
    server = make_server()
    server.start()
    tell(server, "CREATE TABLE t AS SELECT 42 AS x")
    busy = psycopg2.connect(host=server.host, user="gw", dbname="db", async_=1)
    psycopg2.extras.wait_select(busy)
    busy.cursor().execute("SELECT count(*) FROM generate_series(1, 1e12)")
    os.kill(server.pid, signal.SIGKILL)
    wait_until_gone(server.pid)
    orphan = busy.info.backend_pid
    assert is_alive(orphan)
    server.start()
    busy.close()
    assert orphan not in find_servers(data_dir / "postgres")
    assert ask(server, "SELECT x FROM t") == 42


@pytest.mark.parametrize("content", ["{dead}", "{other}", "", "rubbish\n\0", "-1", "0", "1"])
def test_a_stale_pid_file_does_not_stop_the_start(
    make_server: Make, data_dir: Path, content: str
) -> None:
    """Its pid may be nobody's by now, or that of any other process of the same account."""
    with make_server():
        pass
    account = account_of(data_dir)
    with account.spawn(["sleep", "600"]) as other:
        try:
            text = content.format(dead=2**22 - 3, other=other.pid)
            stale = data_dir / "postgres" / "postmaster.pid"
            stale.write_text(f"{text}\n{data_dir}/postgres\n1700000000\n5432\n")
            account.take(stale)
            with make_server() as server:
                assert ask(server, "SELECT 1") == 1
            assert other.poll() is None
        finally:
            other.kill()


# A start that fails


def test_a_server_that_ends_at_once_is_told_with_its_reason(
    make_server: Make, data_dir: Path
) -> None:
    with pytest.raises(EmbeddedPostgresError, match="unrecognized configuration parameter"):
        make_server(options={**FAST, "no_such_setting": "1"}).start()
    assert not (data_dir / "socket").exists()
    with make_server() as server:
        assert ask(server, "SELECT 1") == 1


def test_a_failure_after_the_start_of_the_server_leaves_no_process(
    make_server: Make, data_dir: Path
) -> None:
    with make_server() as server:
        tell(server, "ALTER ROLE postgres NOLOGIN", user=SUPERUSER)
    with pytest.raises(EmbeddedPostgresError, match="not permitted to log in"):
        make_server().start()
    assert find_servers(data_dir / "postgres") == frozenset()


@pytest.fixture
def stuck_bin(make_server: Make, public_folder: Path) -> Path:
    """The programs for a cluster that exists, their server never gets ready."""
    with make_server():
        pass
    real = find_binaries(make_server()._bin_dir, None)
    write_script(
        public_folder / "bin" / "postgres",
        f'[ "$1" = --version ] && exec "{real.postgres}" --version',
        f'echo $$ > "{public_folder}/data/postgres/stuck.pid"',
        "echo 'LOG:  taking my time' >&2",
        "exec sleep 600",
    )
    write_script(public_folder / "bin" / "initdb", "exit 0")
    return public_folder / "bin"


def test_a_start_without_progress_is_given_up(
    make_server: Make, stuck_bin: Path, data_dir: Path
) -> None:
    with pytest.raises(EmbeddedPostgresError, match=r"no progress for 2 s.*taking my time"):
        make_server(bin_dir=stuck_bin, patience=Patience(start=2.0)).start()
    assert not is_alive(int((data_dir / "postgres" / "stuck.pid").read_text()))


def test_stop_ends_a_start_that_waits(make_server: Make, stuck_bin: Path, data_dir: Path) -> None:
    server = make_server(bin_dir=stuck_bin)
    failures: list[BaseException] = []

    def start() -> None:
        try:
            server.start()
        except EmbeddedPostgresError as error:
            failures.append(error)

    starter = threading.Thread(target=start)
    starter.start()
    while not (log := data_dir / "postgres.log").exists() or b"taking my" not in log.read_bytes():
        starter.join(0.01)
    server.stop()
    starter.join()
    assert "was stopped while it started" in str(failures[0])
    assert not is_alive(int((data_dir / "postgres" / "stuck.pid").read_text()))


def test_a_server_that_ignores_a_shutdown_is_killed(make_server: Make, data_dir: Path) -> None:
    server = make_server(patience=Patience(fast=0.1, immediate=0.5))
    server.start()
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    server.stop()
    assert not is_alive(pid)
    assert find_servers(data_dir / "postgres") == frozenset()


def test_processes_of_a_server_that_was_killed_are_waited_for_no_second_time(
    make_server: Make, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server(patience=Patience(fast=0.1, immediate=5.0))
    server.start()
    for pid in find_servers(data_dir / "postgres"):
        with suppress(ProcessLookupError):  # one that vacuums may have ended meanwhile
            os.kill(pid, signal.SIGSTOP)
    sent: list[int] = []
    kill = os.kill

    def note(pid: int, signum: int) -> None:
        sent.append(signum)
        kill(pid, signum)

    monkeypatch.setattr(shutdown.os, "kill", note)
    # Popen's own signals to the postmaster go through os.kill as well.
    postmaster = server.pid
    server.stop()
    assert not is_alive(postmaster)
    assert find_servers(data_dir / "postgres") == frozenset()
    assert [n for n in sent if n != signal.SIGKILL] == [signal.SIGINT, signal.SIGQUIT]


def test_a_hung_server_is_ended_before_a_service_manager_loses_patience() -> None:
    patience = Patience()
    assert patience.fast <= 10
    assert patience.immediate <= 5


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (
            'PANIC:  could not write to file "pg_wal/xlogtemp.7": No space left on device\n'
            "LOG:  checkpointer process (PID 7) was terminated by signal 6\n"
            "FATAL:  checkpoint request failed\n",
            'could not write to file "pg_wal/xlogtemp.7": No space left on device',
        ),
        (
            '2026-01-01 UTC [7] ERROR:  could not extend file "base/1/2": wrote only 4096 bytes\n'
            "HINT:  Check free disk space.\n"
            "PANIC:  cannot abort transaction 1, it was already committed\n",
            'could not extend file "base/1/2": wrote only 4096 bytes',
        ),
        (
            "LOG:  could not bind Unix address: Permission denied\nFATAL:  no socket\n",
            "could not bind Unix address: Permission denied",
        ),
        ("FATAL:  the first\nFATAL:  the second\nLOG:  shut down\n", "the second"),
        ("LOG:  hello\n", "LOG:  hello"),
        ("\n", "it said nothing"),
    ],
)
def test_the_reason_for_an_end_is_its_cause_and_no_consequence(log: str, reason: str) -> None:
    assert pick_reason(log) == reason


def test_recovery_shows_its_progress() -> None:
    title = "postgres: startup recovering 000000010000000000000001"
    with subprocess.Popen([title, "600"], executable=shutil.which("sleep")) as startup:
        try:
            wait_for_title(startup.pid, title)
            assert any(title in progress for progress in read_startup_progress(os.getpid()))
        finally:
            startup.kill()


def wait_for_title(pid: int, title: str) -> None:
    while title.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes():
        assert is_alive(pid)
