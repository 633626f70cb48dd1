"""Watches the JSON file in which an admin page may keep the API key."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ValidationError

from gateway.auth.api_keys import ApiKeys
from gateway.monitors.loop import Monitor
from gateway.runtime.small_file import read_small_file
from gateway.settings import DEMO_KEY

log = logging.getLogger(__name__)

DEMO_WARNING: Final = (
    "%s HOLDS THE DEMO API KEY: everybody knows it. Unless ALLOW_DEMO_KEY is set it is accepted"
    " from this machine only."
)


class KeyFile(BaseModel):
    """``{"apiKey": "…", "updatedAt": "…"}``."""

    apiKey: str  # noqa: N815 - as in the file


class ApiKeyFileMonitor(Monitor):
    """Uses the file's key while it is valid; with a malformed file the last good key stays.

    Without the file the key of the settings is used.
    """

    name = "api-key-file"
    interval = 2.0

    def __init__(self, path: str, keys: ApiKeys) -> None:
        super().__init__()
        self._path = Path(path)
        self._keys = keys
        self._last_text: bytes | None = None

    async def check_once(self) -> bool:
        """Read the file, and use its key if the text has changed."""
        # Comparing times and size would miss a write within their resolution, or a change of mode.
        text = await asyncio.to_thread(read_small_file, self._path)
        if text != self._last_text:
            self._last_text = text
            self._take(text)
        return False

    def _take(self, text: bytes | None) -> None:
        if text is None:
            self._keys.restore()
            log.warning("%s is gone, the key of the settings holds again", self._path)
        elif key := _find_key(text):
            self._keys.replace(key)
            log.info("the API key was taken from %s", self._path)
            if key == DEMO_KEY:
                log.warning(DEMO_WARNING, self._path)
        else:
            log.warning("%s holds no valid key, the last good one stays", self._path)


def _find_key(text: bytes) -> str | None:
    """The key in the file's text; None if there is no valid one."""
    try:
        return KeyFile.model_validate_json(text).apiKey.strip() or None
    except ValidationError:
        return None
