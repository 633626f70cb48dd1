"""The processes that work on a cluster, and how they are brought to their end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import EmbeddedPostgresError

PROC: Final = Path("/proc")
# The last says whether it is ready; it is written last.
PID_FILE_LINES: Final = 8


@dataclass(frozen=True)
class Patience:
    """How long we wait, in seconds."""

    start: float = 60.0
    """… for the next sign of progress while the server starts."""
    fast: float = 10.0
    """… for a fast shutdown, which writes everything down."""
    immediate: float = 5.0
    """… for an immediate one, which leaves that to the next start's recovery."""


@dataclass(frozen=True)
class PidFile:
    """What a cluster's ``postmaster.pid`` says."""

    pid: int
    port: int
    socket_folder: str
    status: str

    @property
    def is_ready(self) -> bool:
        """Whether recovery is done and connections are accepted."""
        return self.status == "ready"


def read_pid_file(cluster: Path) -> PidFile | None:
    """The cluster's ``postmaster.pid``; None where there is none or it is not whole."""
    try:
        text = (cluster / "postmaster.pid").read_text(errors="replace")
        pid, _, _, port, folder, _, _, status, *_ = [*text.splitlines(), *[""] * PID_FILE_LINES]
        return PidFile(int(pid), int(port or 0), folder, status.strip())
    except (OSError, ValueError):
        return None


def find_servers(cluster: Path) -> frozenset[int]:
    """The pids of all PostgreSQL processes whose working directory is ``cluster``.

    A pid alone proves nothing, since the system gives it to another process later on. Without
    /proc none are found, and PostgreSQL's own interlock stands alone.
    """
    try:
        identity = _identify(cluster)
    except OSError:
        return frozenset()
    return frozenset(
        int(process.name) for process in PROC.glob("[0-9]*") if _is_server(process, identity)
    )


def _is_server(process: Path, cluster: tuple[int, int]) -> bool:
    try:
        name = (process / "comm").read_text(errors="replace").strip()
        return name in {"postgres", "postmaster"} and _identify(process / "cwd") == cluster
    except OSError:
        return False


def _identify(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def end_servers(cluster: Path, patience: Patience) -> None:
    """Stop every server process that works on ``cluster``: gently, then less so.

    A postmaster is asked for a fast, then an immediate shutdown. Processes that lost theirs can
    only be told to quit: nobody is left to coordinate them. Raises `EmbeddedPostgresError` if
    some survive.
    """
    for signum, seconds in (
        (signal.SIGINT, patience.fast),
        (signal.SIGQUIT, patience.immediate),
        (signal.SIGKILL, patience.immediate),
    ):
        if not (servers := find_servers(cluster)):
            return
        known = read_pid_file(cluster)
        if signum == signal.SIGKILL:
            _send(servers, signum)
        elif known and known.pid in servers:
            _send([known.pid], signum)
        else:
            _send(servers, signal.SIGQUIT)
        _await_end(cluster, seconds)
    _check_ended(cluster)


def kill_servers(cluster: Path, patience: Patience) -> None:
    """End at once what works on ``cluster``: all patience was spent on its postmaster before.

    Raises `EmbeddedPostgresError` if some survive.
    """
    _send(find_servers(cluster), signal.SIGKILL)
    _await_end(cluster, patience.immediate)
    _check_ended(cluster)


def _check_ended(cluster: Path) -> None:
    if servers := find_servers(cluster):
        pids = ", ".join(str(pid) for pid in sorted(servers))
        raise EmbeddedPostgresError(f"PostgreSQL on {cluster} does not end, its processes: {pids}")


def _send(pids: Iterable[int], signum: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signum)


def _await_end(cluster: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while find_servers(cluster) and time.monotonic() < deadline:
        time.sleep(0.05)


def drop_stale_pid_file(cluster: Path) -> None:
    """Remove ``postmaster.pid`` when no server works on ``cluster``.

    PostgreSQL would refuse to start if the pid in it meanwhile belongs to any other process of
    its account, which is the rule in containers.
    """
    if PROC.is_dir() and not find_servers(cluster):
        (cluster / "postmaster.pid").unlink(missing_ok=True)


def read_startup_progress(postmaster: int) -> tuple[str, ...]:
    """What the startup process below ``postmaster`` has done: differs while recovery moves on.

    Its title names the WAL file it replays (before version 15 the log says nothing meanwhile),
    its processor time moves while it works on anything else.
    """
    try:
        children = (PROC / f"{postmaster}/task/{postmaster}/children").read_text().split()
    except OSError:
        return ()
    return tuple(progress for pid in children if (progress := _read_progress(PROC / pid)))


def _read_progress(process: Path) -> str:
    try:
        title = (process / "cmdline").read_bytes().rstrip(b"\0 ").decode(errors="replace")
        if "startup" not in title:
            return ""
        times = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()[11:13]
    except OSError:
        return ""
    return " ".join([title, *times])
