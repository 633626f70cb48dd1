"""A job's progress while it runs: a bar on a terminal, else a line for what changed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID
from rich.table import Column
from rich.text import Text

from gateway.cli.formatting import counted, print_json, printable, say, span
from gateway.client import JobChange, JobView
from gateway.formatting import readable_size
from gateway.job import MAX_SECONDS_LEFT

RATE_SECONDS: Final = 10.0
LINE_SECONDS: Final = 1.0
MIN_BAR_WIDTH: Final = 8
MIN_PATH_WIDTH: Final = ("speed", "size", "left", "files")
STYLES: Final = {
    "pending": "yellow",
    "paused": "yellow",
    "running": "cyan",
    "completed": "green",
    "failed": "red",
    "cancelled": "magenta",
}

Clock = Callable[[], float]


class JobDisplay(Protocol):
    """Shows a job as it changes."""

    def show(self, change: JobChange) -> None:
        """The job is like this now."""

    def tell(self, text: str) -> None:
        """Say something beside it."""


class Rate:
    """Bytes in a second over the last ten seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, size: int) -> None:
        """So many bytes are read by now."""
        now = self._clock()
        self._seen.append((now, size))
        while len(self._seen) > 2 and now - self._seen[1][0] >= RATE_SECONDS:
            self._seen.popleft()

    @property
    def per_second(self) -> float | None:
        """None before there are two moments to compare, and while nothing moves."""
        if len(self._seen) < 2:
            return None
        (since, before), (until, size) = self._seen[0], self._seen[-1]
        return (size - before) / (until - since) if until > since and size > before else None


def files_of(job: JobView, between: str = "/") -> str:
    """``120/258 files``: those that were read, of all; and how many failed."""
    read = f"{job.completed_files:,}{between}{counted(job.total_files, 'file')}"
    return f"{read}, {job.failed_files:,} failed" if job.failed_files else read


def size_of(job: JobView, between: str = "/") -> str:
    """``2.7 GB/6.1 GB``; empty if nobody knows the sizes."""
    if not job.total_bytes:
        return ""
    return f"{readable_size(job.completed_bytes)}{between}{readable_size(job.total_bytes)}"


def pace(job: JobView, rate: float | None) -> tuple[str, str]:
    """The speed and the time left, empty where they are not known, or more than a year."""
    if rate is None or job.has_ended:
        return "", ""
    left = max(0, job.total_bytes - job.completed_bytes) / rate
    told = f"{span(left)} left" if left <= MAX_SECONDS_LEFT else ""
    return f"{readable_size(round(rate))}/s", told


def why(job: JobView) -> str:
    """What there is to say of a job that did not end well; else empty."""
    if job.status == "cancelled":
        return f"The job was cancelled after {files_of(job, ' of ')}."
    if not (job.failed_files or job.status == "failed"):
        return ""
    if job.error:
        return printable(job.error)
    return f"{job.failed_files:,} of {counted(job.total_files, 'file')} failed."


class Lines:
    """Plain lines for people and logs, about one a second at most; each end is told."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._rate = Rate(clock)
        self._status = ""
        self._next = 0.0

    def show(self, change: JobChange) -> None:
        """Print the job unless it was printed just now."""
        job = change.job
        self._rate.add(job.completed_bytes)
        if change.file is not None:
            click.echo(ended_file(change))
        elif job.status != self._status or job.has_ended or self._clock() >= self._next:
            self._status, self._next = job.status, self._clock() + LINE_SECONDS
            figures = (files_of(job, " of "), size_of(job, " of "))
            shown = (_state(job), *figures, *pace(job, self._rate.per_second))
            click.echo(printable(", ".join(filter(None, shown))))

    def tell(self, text: str) -> None:
        """Say it where no program reads."""
        say(text)


def _state(job: JobView) -> str:
    return f"{job.status} {job.percentage} %"


class JsonLines:
    """Every change as one JSON document on a line."""

    def show(self, change: JobChange) -> None:
        """Print the change."""
        print_json(change)

    def tell(self, text: str) -> None:
        """Say it where no program reads."""
        say(text)


class Bar:
    """A progress bar on a terminal."""

    def __init__(self, progress: Progress, clock: Clock = time.monotonic) -> None:
        self._progress = progress
        self._rate = Rate(clock)
        self._task: TaskID = progress.add_task("", total=None, status="", figures="")

    def show(self, change: JobChange) -> None:
        """Redraw."""
        job = change.job
        self._rate.add(job.completed_bytes)
        if change.file is not None:
            self.tell(ended_file(change))
        speed, left = pace(job, self._rate.per_second)
        figures = {
            "percent": f"{job.percentage:>3} %",
            "files": files_of(job),
            "size": size_of(job),
            "speed": speed,
            "left": left,
        }
        room = self._progress.console.width - len(job.status) - len("  ") - MIN_BAR_WIDTH
        self._progress.update(
            self._task,
            # Without an end the bar moves to and fro.
            total=None if job.status == "pending" else 100,
            completed=job.percentage,
            status=Text(printable(job.status), STYLES.get(job.status, "")),
            figures=Text(fitting(figures, room)),
        )

    def tell(self, text: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(Text(text))


def ended_file(change: JobChange) -> str:
    """How a file of the job ended."""
    file = change.file
    if file is None:
        return ""
    if file.error is not None:
        return f"failed  {printable(file.path)}: {printable(file.error)}"
    size = "" if file.size is None else f" ({readable_size(file.size)})"
    return f"read    {printable(file.path)}{size}"


@contextmanager
def displaying(console: Console) -> Iterator[JobDisplay]:
    """Show a job as suits where standard output leads."""
    if not console.is_terminal:
        yield Lines()
        return
    with Progress(*_columns(), console=console, expand=True) as progress:
        yield Bar(progress)


def fitting(figures: Mapping[str, str], room: int) -> str:
    """The figures in one line of at most ``room``, without the least wanted if it is narrow."""
    shown = {name: text for name, text in figures.items() if text}
    for name in MIN_PATH_WIDTH:
        if len(" ".join(shown.values())) > room:
            shown.pop(name, None)
    return " ".join(shown.values())


class _Field(ProgressColumn):
    """Shows a field of the task as it is."""

    def __init__(self, name: str) -> None:
        super().__init__(Column(no_wrap=True))
        self._name = name

    def render(self, task: Task) -> Text:
        """Return the field."""
        text: Text | str = task.fields[self._name]
        return Text(text) if isinstance(text, str) else text


def _columns() -> Iterator[ProgressColumn]:
    yield _Field("status")
    yield BarColumn(None, table_column=Column(ratio=1, min_width=MIN_BAR_WIDTH))
    yield _Field("figures")
