"""The server's log, kept to a bounded size."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from gateway.standalone.postgres.account import Account

MAX_LOG_BYTES: Final = 5 * 1024 * 1024
TAIL: Final = 16 * 1024
SEVERE: Final = re.compile(r"(?:FATAL|PANIC|error):\s+(?P<reason>.*)")


# What PostgreSQL says after one of these is a consequence of it.
CAUSE: Final = re.compile(
    r"No space left on device|Disk quota exceeded|Permission denied|Read-only file system"
    r"|Input/output error|Cannot allocate memory|Too many open files"
    r"|could not (?:write|extend|create|fsync|allocate)\b"
)
SAID: Final = re.compile(r"(?:LOG|WARNING|ERROR|FATAL|PANIC|error):\s+(?P<reason>.*)")


def open_log(path: Path, account: Account) -> int:
    """Open the log at ``path`` for appending and return its descriptor.

    One larger than 5 MiB becomes ``<path>.1`` first, in place of the one before.
    """
    if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
        path.rename(path.with_name(f"{path.name}.1"))
    # Not through a link: the folder may belong to somebody else than us.
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    account.take(fd)
    return fd


def find_reason(path: Path, since: int) -> str:
    """The reason that the log names for an end of the server, after ``since`` bytes of it."""
    with path.open("rb") as log:
        end = log.seek(0, os.SEEK_END)
        log.seek(max(since, end - TAIL))
        return pick_reason(log.read().decode(errors="replace"))


def pick_reason(text: str) -> str:
    """The last message in ``text`` that names a cause, as a full disk, else the last severe one.

    Without either it is the last line, or that nothing was said.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    severe = [found["reason"] for line in lines if (found := SEVERE.search(line))]
    said = [found["reason"] for line in lines if (found := SAID.search(line))]
    causes = [reason for reason in said if CAUSE.search(reason)]
    return (causes or severe or lines or ["it said nothing"])[-1]
