"""A stranger's text on one line: what cannot be shown could forge a log or command a terminal."""

from __future__ import annotations

from datetime import UTC, datetime


def escaped(text: str) -> str:
    """``text`` with escapes for what cannot be shown, as Python writes them."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


SIZE_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


def iso_time(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC with milliseconds and Z. A naive ``moment`` is in UTC already."""
    if moment is None:
        return None
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds") + "Z"


def utc_now() -> datetime:
    """The current time, naive and in UTC, as the database keeps times."""
    return datetime.now(UTC).replace(tzinfo=None)


def iso_now() -> str:
    """The current time as `iso_time` writes it."""
    return utc_now().isoformat(timespec="milliseconds") + "Z"


def readable_size(size: int) -> str:
    """A size in bytes for people, by powers of 1024: ``512 B``, ``60.0 GB``, ``966.69 MB``."""
    value, exponent = float(size), 0
    # What rounds to 1024.0 is 1.0 of the next unit.
    while round(value, 2) >= 1024 and exponent < len(SIZE_UNITS) - 1:
        value, exponent = value / 1024, exponent + 1
    unit = SIZE_UNITS[exponent]
    if not exponent:
        return f"{size} {unit}"
    text = f"{value:.2f}"
    return f"{text[:-1] if text.endswith('0') else text} {unit}"


def readable_rate(mbps: float) -> str:
    """A rate in MiB/s for people: ``25.5 MB/s``, ``9.24 GB/s``."""
    return f"{readable_size(round(mbps * 1024 * 1024))}/s"
