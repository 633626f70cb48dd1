"""How the commands that use a gateway end, for scripts."""

from __future__ import annotations

from enum import IntEnum

from gateway.client import JobView


class ExitCode(IntEnum):
    """What a script can tell from the end of a command."""

    COMPLETED = 0
    FAILED = 1
    USAGE = 2
    CANCELLED = 3
    UNREACHABLE = 4
    REFUSED = 5
    PARTLY = 6
    """The job is completed, but some of its files failed."""

    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


def code_of(job: JobView) -> ExitCode:
    """How a command ends that has watched ``job`` to its end."""
    if job.status == "completed":
        return ExitCode.PARTLY if job.failed_files else ExitCode.COMPLETED
    return ExitCode.CANCELLED if job.status == "cancelled" else ExitCode.FAILED
