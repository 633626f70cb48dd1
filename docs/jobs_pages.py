"""What the explanations show of jobs: their states, and how an example's progress is counted."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from fractions import Fraction

from docs.markdown import fenced, table
from gateway import job
from gateway.formatting import readable_size
from gateway.job import ENDED, TRANSITIONS, JobStatus, Progress

MIB = 1024 * 1024


def states_drawn() -> str:
    """The states and their legal transitions, as Mermaid draws them."""
    lines = ["stateDiagram-v2", f"    [*] --> {JobStatus.PENDING}"]
    for status in JobStatus:
        lines += [f"    {status} --> {it}" for it in JobStatus if it in TRANSITIONS[status]]
    lines += [f"    {status} --> [*]" for status in JobStatus if status in ENDED]
    return fenced("mermaid", "\n".join(lines))


def states_in_text() -> str:
    """The drawing that stands in the code."""
    _sentence, _, drawing = (inspect.getdoc(job) or "").partition("::\n\n")
    return fenced("text", textwrap.dedent(drawing))


def progress_example() -> str:
    """Three files of 10, 30 and 60 MB, from submit to the end."""
    return table(
        ["What has happened", "Files", "Bytes", "Exactly", "Shown"],
        [
            (
                event,
                f"{it.completed_files + it.failed_files} of {it.total_files}",
                f"{readable_size(it.completed_bytes + it.failed_bytes)}"
                f" of {readable_size(it.total_bytes)}",
                f"({_number(_files(it))} + {_number(_bytes(it))}) / 2"
                f" = {_number((_files(it) + _bytes(it)) / 2)}",
                f"{it.percentage} %",
            )
            for event, it in _moments()
        ],
    )


def _moments() -> Iterator[tuple[str, Progress]]:
    total = 100 * MIB
    yield "submitted", Progress(3, 0, 0, total, 0, 0)
    yield "the first file (10 MB) is read", Progress(3, 1, 0, total, 10 * MIB, 0)
    yield "45 MB of the third are read", Progress(3, 1, 0, total, 55 * MIB, 0)
    yield "the second (30 MB) fails", Progress(3, 1, 1, total, 55 * MIB, 30 * MIB)
    yield "the third is read to its last byte", Progress(3, 1, 1, total, 70 * MIB, 30 * MIB)
    yield "and counted", Progress(3, 2, 1, total, 70 * MIB, 30 * MIB)


def _files(it: Progress) -> Fraction:
    return Fraction(100 * (it.completed_files + it.failed_files), it.total_files)


def _bytes(it: Progress) -> Fraction:
    return Fraction(100 * (it.completed_bytes + it.failed_bytes), it.total_bytes)


def _number(value: Fraction) -> str:
    return f"{float(value):.2f}".rstrip("0").rstrip(".")
