"""What the tests of the embedded PostgreSQL share."""

from __future__ import annotations

import multiprocessing
import os
import select
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extras
import pytest

from gateway.standalone.postgres import EmbeddedPostgres
from gateway.standalone.postgres.account import Account, choose_account

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
# Commits still reach the kernel, so they survive the death of every process.
FAST = {"fsync": "off"}
FORK = multiprocessing.get_context("fork")

Make = Callable[..., EmbeddedPostgres]


@contextmanager
def connect(server: EmbeddedPostgres, user: str = "gw", database: str = "db") -> Iterator[Any]:
    connection = psycopg2.connect(host=server.host, port=server.port, user=user, dbname=database)
    with closing(connection):
        connection.autocommit = True
        yield connection.cursor()


def ask(server: EmbeddedPostgres, query: str, **who: str) -> Any:
    with connect(server, **who) as cur:
        cur.execute(query)
        return cur.fetchone()[0]


def tell(server: EmbeddedPostgres, statement: str, **who: str) -> None:
    with connect(server, **who) as cur:
        cur.execute(statement)


def is_alive(pid: int) -> bool:
    """Whether ``pid`` runs; a zombie, whose parent has yet to look at it, does not."""
    try:
        stat_line = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat_line.rpartition(")")[2].split()[0] != "Z"


def account_of(folder: Path) -> Account:
    return choose_account(folder / "postgres")


def wait_until_gone(pid: int) -> None:
    """Until the kernel says that ``pid`` has ended, whether reaped or not."""
    fd = os.pidfd_open(pid)
    try:
        assert select.select([fd], [], [], 30)[0]
    finally:
        os.close(fd)


def write_script(path: Path, *lines: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.parent.chmod(0o755)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)


def run_as(account: Account, work: Callable[[Connection], None]) -> str:
    """What ``work`` sent or raised, done by ``account``.

    In a fork: this account could neither start this Python nor import us if they live in a
    private home, as root's does; what is imported already needs no file.
    """
    theirs, ours = FORK.Pipe()

    def become() -> None:
        os.setgroups([])
        os.setgid(account.gid)
        os.setuid(account.uid)
        try:
            work(theirs)
        except Exception as error:
            theirs.send(f"{type(error).__name__}: {error}")

    child = FORK.Process(target=become)
    child.start()
    theirs.close()
    outcome: str = ours.recv()
    child.join()
    return outcome
