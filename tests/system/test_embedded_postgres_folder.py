"""The data folder of the embedded PostgreSQL: odd, foreign, shared, full."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from gateway.errors import EmbeddedPostgresError
from gateway.standalone.postgres.binaries import find_binaries
from gateway.standalone.postgres.cluster import SCRATCH
from gateway.standalone.postgres.log import MAX_LOG_BYTES
from support.embedded_postgres_tools import (
    Make,
    ask,
    tell,
    wait_until_gone,
)
from support.optional_programs import NO_MOUNTS, leave_out


def test_a_long_path_gets_its_socket_in_a_private_folder(
    make_server: Make, public_folder: Path
) -> None:
    deep = public_folder / ("d" * 60) / ("e" * 60)
    with make_server(deep) as server:
        host = Path(server.host)
        assert deep not in host.parents
        assert stat.S_IMODE(host.stat().st_mode) == 0o700
        assert ask(server, "SELECT 1") == 1
        assert (deep / "socket.path").read_text().strip() == str(host)
    assert not host.exists()
    assert not (deep / "socket.path").exists()


def test_a_server_that_comes_back_is_where_clients_look_for_it(
    make_server: Make, public_folder: Path
) -> None:
    server = make_server(public_folder / ("d" * 60) / ("e" * 60))
    server.start()
    host = server.host
    os.kill(server.pid, signal.SIGKILL)
    wait_until_gone(server.pid)
    server.start()
    assert server.host == host
    assert ask(server, "SELECT 1") == 1
    assert stat.S_IMODE(Path(host).stat().st_mode) == 0o700


def test_a_folder_that_something_lies_in_is_used_again(
    make_server: Make, public_folder: Path
) -> None:
    server = make_server(public_folder / ("d" * 60) / ("e" * 60))
    server.start()
    host = Path(server.host)
    (host / "note").write_text("mine")
    server.stop()
    try:
        server.start()
        assert server.host == str(host)
        assert ask(server, "SELECT 1") == 1
        assert (host / "note").read_text() == "mine"
    finally:
        (host / "note").unlink()


@pytest.mark.parametrize("trap", ["open to all", "a link", "a file"])
def test_a_folder_whose_name_somebody_took_is_not_trusted(
    make_server: Make, public_folder: Path, trap: str
) -> None:
    server = make_server(public_folder / ("d" * 60) / ("e" * 60))
    server.start()
    taken = Path(server.host)
    server.stop()
    try:
        if trap == "open to all":
            taken.mkdir()
            taken.chmod(0o777)
            (taken / "theirs").touch()
        elif trap == "a link":
            taken.symlink_to(public_folder)
        else:
            taken.touch()
        server.start()
        assert server.host != str(taken)
        assert ask(server, "SELECT 1") == 1
    finally:
        if taken.is_dir() and not taken.is_symlink():
            shutil.rmtree(taken)
        else:
            taken.unlink()


@pytest.mark.parametrize("name", ["with space", "com,ma", 'quo"te', "ünï", "-dash", "per%cent"])
def test_a_folder_with_an_odd_name_works(make_server: Make, public_folder: Path, name: str) -> None:
    with make_server(public_folder / name) as server:
        assert ask(server, "SELECT 1") == 1


def test_a_second_gateway_is_told_who_holds_the_folder(make_server: Make) -> None:
    with make_server() as server:
        with pytest.raises(EmbeddedPostgresError, match=f"in use.*{os.getpid()}"):
            make_server().start()
        assert ask(server, "SELECT 1") == 1


def test_the_lock_is_free_after_a_stop(make_server: Make) -> None:
    first = make_server()
    first.start()
    first.stop()
    with make_server() as second:
        assert ask(second, "SELECT 1") == 1


def test_a_cluster_of_another_version_is_left_alone(make_server: Make, data_dir: Path) -> None:
    with make_server():
        pass
    (data_dir / "postgres" / "PG_VERSION").write_text("12\n")
    with pytest.raises(EmbeddedPostgresError) as caught:
        make_server().start()
    message = str(caught.value)
    assert "PostgreSQL 12" in message
    assert str(data_dir / "postgres") in message
    assert str(find_binaries(make_server()._bin_dir, None).version) in message


def test_the_wheel_serves_a_cluster_of_its_older_version(make_server: Make) -> None:
    newest = find_binaries(None, None)
    older = find_binaries(None, 16)
    if older.major == newest.major:
        leave_out("this wheel brings one version only")
    with make_server(bin_dir=older.folder) as server:
        tell(server, "CREATE TABLE t AS SELECT 42 AS x")
    with make_server(bin_dir=None) as server:
        assert ask(server, "SELECT x FROM t") == 42


def test_a_folder_that_is_no_cluster_is_left_alone(make_server: Make, data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    data_dir.chmod(0o711)
    treasure = data_dir / "postgres" / "treasure"
    treasure.write_text("mine")
    with pytest.raises(EmbeddedPostgresError, match="no PostgreSQL cluster"):
        make_server().start()
    assert treasure.read_text() == "mine"


def test_a_file_in_place_of_the_data_folder_is_refused(
    make_server: Make, public_folder: Path
) -> None:
    file = public_folder / "file"
    file.write_text("mine")
    with pytest.raises(EmbeddedPostgresError, match="is not a folder"):
        make_server(file).start()
    with pytest.raises(EmbeddedPostgresError, match="Not a directory"):
        make_server(file / "below").start()
    assert file.read_text() == "mine"


def test_a_folder_of_others_keeps_its_owner_and_mode(make_server: Make, data_dir: Path) -> None:
    data_dir.mkdir()
    data_dir.chmod(0o755)
    before = data_dir.stat()
    with make_server():
        pass
    after = data_dir.stat()
    assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)


def test_a_link_in_place_of_the_lock_is_not_followed(make_server: Make, data_dir: Path) -> None:
    with make_server():
        pass
    victim = data_dir.parent / "victim"
    victim.write_text("precious")
    (data_dir / "lock").unlink()
    (data_dir / "lock").symlink_to(victim)
    with pytest.raises(EmbeddedPostgresError, match="lock"):
        make_server().start()
    assert victim.read_text() == "precious"


def test_a_socket_record_that_names_another_folder_harms_nobody(
    make_server: Make, data_dir: Path
) -> None:
    with make_server():
        pass
    elsewhere = data_dir.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("mine")
    (data_dir / "socket.path").write_text(str(elsewhere))
    with make_server() as server:
        assert ask(server, "SELECT 1") == 1
    assert (elsewhere / "file").read_text() == "mine"


def test_a_large_log_is_put_aside(make_server: Make, data_dir: Path) -> None:
    with make_server():
        pass
    log = data_dir / "postgres.log"
    log.write_bytes(b"x" * (MAX_LOG_BYTES + 1))
    with make_server():
        assert log.stat().st_size < MAX_LOG_BYTES
    assert (data_dir / "postgres.log.1").stat().st_size == MAX_LOG_BYTES + 1


def test_a_full_disk_is_told_and_leaves_nothing(make_server: Make, data_dir: Path) -> None:
    data_dir.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m,mode=0711", "tmpfs", data_dir],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        leave_out(NO_MOUNTS)
    try:
        with pytest.raises(EmbeddedPostgresError, match="No space left on device"):
            make_server().start()
        assert not (data_dir / "postgres").exists()
        assert not list(data_dir.glob(f"{SCRATCH}*"))
    finally:
        subprocess.run(["umount", data_dir], check=True)


def test_what_a_cut_off_initdb_left_is_removed(make_server: Make, data_dir: Path) -> None:
    remains = data_dir / f"{SCRATCH}cut"
    (remains / "base").mkdir(parents=True)
    data_dir.chmod(0o711)
    with make_server() as server:
        assert ask(server, "SELECT 1") == 1
        assert not remains.exists()
