"""Keeps the public keys of the tokens' issuer: from its URL, or from a file."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from gateway.client_address import is_loopback
from gateway.errors import Unavailable
from gateway.monitors.loop import Monitor
from gateway.signing_keys import REST_SECONDS, InvalidKeySet, SigningKeys
from gateway.small_file import read_small_file

log = logging.getLogger(__name__)

FETCH_SECONDS: Final = 10.0
LONGEST_SET: Final = 512 * 1024
URL_SECONDS: Final = 300.0
FILE_SECONDS: Final = 2.0


class SigningKeysMonitor(Monitor):
    """Takes over the keys while they can be read and used; else the last good ones stay."""

    name = "signing-keys"

    def __init__(self, keys: SigningKeys, place: str) -> None:
        super().__init__(wanted=keys.wanted)
        self._keys = keys
        self._place = place
        self._seen: bytes | None = None

    @abstractmethod
    async def fetch(self) -> bytes:
        """The text of the key set. Raises `Unavailable`."""

    async def check_once(self) -> bool:
        """Fetch the keys. Raises `Unavailable` or `InvalidKeySet` if they are not to be had."""
        try:
            text = await self.fetch()
            if text != self._seen:
                self._take(text)
        finally:
            self._keys.note_try()
        return False

    def _take(self, text: bytes) -> None:
        try:
            usable = self._keys.load(text)
        except InvalidKeySet as error:
            kept = (
                "the last ones stay in use" if self._keys.are_known else "no token can be checked"
            )
            raise InvalidKeySet(f"{self._place}: {error.message}; {kept}") from None
        self._seen = text
        log.info("%d keys for tokens were taken from %s", usable, self._place)


class KeySetFileMonitor(SigningKeysMonitor):
    """Looks at a file."""

    interval = FILE_SECONDS

    async def fetch(self) -> bytes:
        """What the file holds."""
        text = await asyncio.to_thread(read_small_file, Path(self._place), LONGEST_SET)
        if not text:
            raise Unavailable(f"The keys for tokens cannot be read from {self._place}")
        return text


class KeySetUrlMonitor(SigningKeysMonitor):
    """Asks the issuer: every five minutes, and every ten seconds while it does not answer."""

    interval = REST_SECONDS

    def __init__(self, keys: SigningKeys, url: str) -> None:
        super().__init__(keys, url)
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme == "http" and host != "localhost" and not is_loopback(host):
            log.warning("%s is no https: whoever is on the way there can forge tokens", url)

    async def check_once(self) -> bool:
        """Fetch the keys, and see when to do so again."""
        self.interval = REST_SECONDS
        is_last = await super().check_once()
        self.interval = URL_SECONDS
        return is_last

    async def fetch(self) -> bytes:
        """What the issuer answers."""
        timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(self._place, allow_redirects=False) as response,
            ):
                return await self._read(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # A timeout says nothing of itself.
            reason = str(error)[:200] or "no answer in time"
            raise Unavailable(f"{self._place} cannot be asked for keys: {reason}") from None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        if response.status != 200:
            raise Unavailable(f"{self._place} answers {response.status} instead of keys")
        text = bytearray()
        async for chunk in response.content.iter_any():
            text += chunk
            if len(text) > LONGEST_SET:
                raise Unavailable(f"{self._place} answers more than {LONGEST_SET} bytes")
        return bytes(text)


def signing_keys_monitor(keys: SigningKeys, url: str, file: str) -> SigningKeysMonitor:
    """What keeps the keys: from the URL, or else from the file."""
    return KeySetUrlMonitor(keys, url) if url else KeySetFileMonitor(keys, file)
