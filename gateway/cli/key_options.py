"""What the options of a new key may say: when it ends, and what it is for."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import click

from gateway.auth.callers import Scope

UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
SPAN: Final = re.compile(r"([1-9][0-9]{0,6})([mhdw])")
MAX_EXPIRY: Final = timedelta(days=365 * 100)
SCOPES: Final = [str(scope) for scope in Scope]
USUAL_SCOPES: Final = (str(Scope.JOBS_READ), str(Scope.JOBS_WRITE))
MAX_PER_MINUTE: Final = 1_000_000


class ExpiryTime(click.ParamType[datetime]):
    """``90d``, ``12h``, or a moment in ISO 8601: as a datetime in UTC."""

    name = "end"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read it; fails for what is no time, or lies behind us."""
        text, now = str(value), datetime.now(UTC)
        try:
            moment = now + _span(text) if SPAN.fullmatch(text) else _moment(text)
        except (ValueError, OverflowError):
            self.fail(f"{text!r} is neither like 90d, 12h or 30m, nor a date like 2027-01-31")
        if not now < moment <= now + MAX_EXPIRY:
            self.fail(f"{text} must lie ahead, and within a hundred years")
        return moment


def _span(text: str) -> timedelta:
    return timedelta(**{UNITS[text[-1]]: int(text[:-1])})


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    # Without a zone it is what the clock on this machine's wall says.
    return moment.astimezone(UTC)
