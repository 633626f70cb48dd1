"""Removes what programs add to an absolute path: quotes, a file URL, a long-path prefix."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from gateway.paths.refusal import Refused

# Quotes around a relative path stay: they may be part of the name.
QUOTED: Final = re.compile(r"""(["'])((?:[/\\]|[A-Za-z]:[/\\]|file:/).*)\1""", re.IGNORECASE)
LONG_DRIVE: Final = re.compile(r"[\\/]{2}\?[\\/](?=[A-Za-z]:[\\/])")
LONG_SHARE: Final = re.compile(r"[\\/]{2}\?[\\/]UNC[\\/]", re.IGNORECASE)
FILE_URL: Final = re.compile(r"file:(?://(?P<host>[^/]*))?+(?P<path>/.*)", re.IGNORECASE)
DRIVE_IN_URL: Final = re.compile(r"/(?=[A-Za-z]:/)")
NOT_ESCAPED: Final = re.compile(r"%(?![0-9A-Fa-f]{2})|[?#]")
ESCAPED_SLASH: Final = re.compile(r"%2f", re.IGNORECASE)


def remove_quoting(path: str) -> str:
    """Return ``path`` without quotes, a file URL or a long-path prefix; most have none.

    The result has to be validated again: a URL can encode any byte.
    """
    if quoted := QUOTED.fullmatch(path):
        path = quoted[2]
    if url := FILE_URL.fullmatch(path):
        path = _read_url(url["host"] or "", url["path"])
    if long := LONG_SHARE.match(path):
        return "\\\\" + path[long.end() :]
    return _remove_prefix(LONG_DRIVE, path)


def _read_url(host: str, path: str) -> str:
    decoded = _decode(path)
    if host.lower() not in ("", "localhost"):
        return f"//{_decode(host)}{decoded}"
    return _remove_prefix(DRIVE_IN_URL, decoded)


def _decode(escaped: str) -> str:
    if NOT_ESCAPED.search(escaped):
        raise Refused("it is a file URL with a %, ? or # that is not escaped")
    if ESCAPED_SLASH.search(escaped):
        raise Refused("it is a file URL with an escaped slash, which no name can have")
    try:
        return unquote_to_bytes(escaped).decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("it is a file URL that is not UTF-8") from None


def _remove_prefix(prefix: re.Pattern[str], path: str) -> str:
    match = prefix.match(path)
    return path[match.end() :] if match else path
