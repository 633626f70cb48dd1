"""How long a worker waits, and for what."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timers:
    """All times are in seconds. Tests shorten them."""

    check: float = 0.4
    """Between two looks for cancelled jobs and hung reads."""
    idle: float = 5.0
    """Between two looks for work that was not announced: an announcement may be lost."""
    nothing: float = 1.0
    """Until the next claim where nothing was pending, unless a job is announced."""
    retry: float = 1.0
    """After the database failed."""
    gather: float = 0.01
    """For more outcomes, so that one report takes several."""
    report: float = 0.03
    """Between two reports at least, however many files end meanwhile. Each report notifies the
    gateways, and NOTIFY takes a lock at commit that every other writer waits for."""
    ahead: float = 1.0
    """How much work is claimed ahead, at the current rate."""
    housekeeping: float = 5.0
    """Between two rounds of housekeeping."""
    quiet: float = 600.0
    """A job with fewer items than files is ended once nothing has happened to it for this long."""
    unset_flags: float = 60.0
    """Flags that are still unset this long after a job's end are any worker's to set."""
    hold: float = 10.0
    """At most for the readers to finish before cached flags are set: the readers need the
    processors more, and one statement for many files costs less than many statements."""
    flags_retry: float = 1.0
    """Before cached flags that could not be set are tried again."""
    mount: float = 1.0
    """Between two looks for a mount that is gone."""
    stuck: float = 10.0
    """Readers that have all waited this long for a byte mean that the mount hangs."""
