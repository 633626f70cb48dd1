"""How keys are shown; never anything of their secrets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from gateway.auth.key_store import KeyRecord, NewKey
from gateway.auth.public_keys import fingerprint
from gateway.cli.formatting import printable
from gateway.cli.tables import print_table

STYLES = {"valid": "green", "expired": "yellow", "disabled": "yellow", "revoked": "red"}


def describe(key: NewKey, state: str | None = None) -> dict[str, Any]:
    """A key for programs."""
    shown: dict[str, Any] = {
        "name": key.name,
        "scopes": list(key.scopes),
        "paths": list(key.path_prefixes),
        "ratePerMinute": key.rate_limit_per_minute,
        "pollsPerMinute": key.poll_limit_per_minute,
        "expiresAt": key.expires_at,
        "fingerprint": fingerprint(key.public_key) if key.public_key else None,
    }
    if isinstance(key, KeyRecord):
        shown |= {
            "state": state,
            "createdAt": key.created_at,
            "disabledAt": key.disabled_at,
            "revokedAt": key.revoked_at,
        }
    return shown


def print_keys(records: Sequence[KeyRecord], now: datetime) -> None:
    """The keys as a table, the oldest first."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    columns = ["NAME", "STATE", "SCOPES", "PATHS", "A MINUTE", "CREATED", "EXPIRES"]
    if any(record.public_key for record in records):
        columns.append("SIGNS AS")
    for name in columns:
        table.add_column(name, no_wrap=True)
    for record in records:
        state = record.state(now)
        table.add_row(
            Text(printable(record.name)),
            Text(state, STYLES[state]),
            Text(" ".join(record.scopes)),
            Text(printable(", ".join(record.path_prefixes)) or "all"),
            Text(_limits(record)),
            Text(_day(record.created_at)),
            Text(_day(record.expires_at) or "never"),
            *([Text(fingerprint(record.public_key))] if record.public_key else []),
        )
    print_table(table)


def _limits(record: KeyRecord) -> str:
    """Its own limits of requests and polls; a dash for what the settings say."""
    limits = (record.rate_limit_per_minute, record.poll_limit_per_minute)
    return " / ".join("-" if it is None else str(it) for it in limits)


def _day(moment: datetime | None) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}" if moment else ""
