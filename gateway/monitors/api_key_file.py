"""Watches the JSON file in which an admin page may keep the API key."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ValidationError

from gateway.auth import ApiKeys
from gateway.monitors.loop import Monitor

log = logging.getLogger(__name__)

LONGEST_FILE: Final = 64 * 1024


class KeyFile(BaseModel):
    """``{"apiKey": "…", "updatedAt": "…"}``."""

    apiKey: str  # noqa: N815 - as it stands in the file


class ApiKeyFileMonitor(Monitor):
    """Takes over the file's key while it is valid; a malformed file keeps the last good key.

    Without the file the key of the settings holds.
    """

    name = "api-key-file"
    interval = 2.0

    def __init__(self, path: str, keys: ApiKeys) -> None:
        super().__init__()
        self._path = Path(path)
        self._keys = keys
        self._seen: tuple[int, int, int] | None = None

    async def check_once(self) -> bool:
        """Look whether the file has changed, and read it if so."""
        await asyncio.to_thread(self._look)
        return False

    def _look(self) -> None:
        try:
            status = self._path.stat()
        except OSError:
            if self._seen is not None:
                log.warning("%s is gone, the key of the settings holds again", self._path)
                self._keys.restore()
            self._seen = None
            return
        seen = (status.st_mtime_ns, status.st_size, status.st_ino)
        if seen != self._seen:
            self._seen = seen
            self._read()

    def _read(self) -> None:
        try:
            with self._path.open("rb") as file:
                text = file.read(LONGEST_FILE)
            key = KeyFile.model_validate_json(text).apiKey.strip()
        except (OSError, ValidationError):
            key = ""
        if key:
            self._keys.replace(key)
            log.info("the API key was taken from %s", self._path)
        else:
            log.warning("%s holds no valid key, the last good one stays", self._path)
