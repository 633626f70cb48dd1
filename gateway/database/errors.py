"""Driver errors become ours here, and only here."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg2
import psycopg2.extensions

from gateway.errors import DatabaseUnavailable, LockTimeout, PermissionDenied, StatementFailed
from gateway.settings import Settings

log = logging.getLogger(__name__)

# The driver begins with where it tried to connect, which is told already.
PREAMBLE: Final = re.compile(r"connection to server [^,]*?(, port \d+)? failed: |FATAL: +|ERROR: +")


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn what the driver raises into our errors; a real cancellation passes through."""
    try:
        yield
    except asyncio.CancelledError as error:
        # aiopg hides a statement timeout and a cancelled backend behind CancelledError.
        if isinstance(error.__context__, psycopg2.extensions.QueryCanceledError):
            raise DatabaseUnavailable("The database took too long to answer") from error
        raise
    except psycopg2.errors.InsufficientPrivilege as error:
        raise PermissionDenied from error
    except psycopg2.errors.LockNotAvailable as error:
        raise LockTimeout from error
    except (psycopg2.OperationalError, psycopg2.InterfaceError, OSError, TimeoutError) as error:
        log.debug("database unavailable", exc_info=error)
        raise DatabaseUnavailable from error
    except psycopg2.Error as error:
        raise StatementFailed from error


def is_disk_full(error: DatabaseUnavailable) -> bool:
    """Whether PostgreSQL could not write because its disk is full."""
    return isinstance(error.__cause__, psycopg2.errors.DiskFull)


def describe_outage(settings: Settings, error: DatabaseUnavailable) -> str:
    """Why PostgreSQL cannot be used, in one line, for those who run the gateway.

    It names where we tried to connect, as whom, and the driver's reason; no password.
    """
    host = settings.db_host
    place = f"in {host}" if host.startswith("/") else f"at {host}:{settings.db_port}"
    return f"Cannot reach PostgreSQL {place} as {settings.db_user}: {_reason(settings, error)}"


def first_line(error: StatementFailed) -> str:
    """What PostgreSQL says of a statement that it refused, in one line."""
    return (str(error.__cause__ or "").strip() or error.message).splitlines()[0]


def _reason(settings: Settings, error: DatabaseUnavailable) -> str:
    cause = error.__cause__
    if isinstance(cause, TimeoutError) and not str(cause):
        return f"no answer within {settings.db_connect_timeout:g} s"
    if not isinstance(cause, Exception) or not str(cause).strip():
        return error.message
    return PREAMBLE.sub("", " ".join(str(cause).split()))
