"""Keeps the public keys of the tokens' issuer: from where it says, a URL, or a file."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from pathlib import Path
from typing import Final

import aiohttp

from gateway.auth.jwks import REST_SECONDS, InvalidKeySet, JWKSet
from gateway.auth.oidc_discovery import InvalidMetadata, key_set_url, metadata_url
from gateway.errors import Unavailable
from gateway.monitors.loop import Monitor
from gateway.net.urls import is_safe_url
from gateway.runtime.small_file import read_small_file

log = logging.getLogger(__name__)

FETCH_SECONDS: Final = 10.0
MAX_SET_BYTES: Final = 512 * 1024
URL_SECONDS: Final = 300.0
FILE_SECONDS: Final = 2.0


class SigningKeysMonitor(Monitor):
    """Takes over the keys while they can be read and used; else the last good ones stay."""

    name = "signing-keys"

    def __init__(self, keys: JWKSet, place: str) -> None:
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
        text = await asyncio.to_thread(read_small_file, Path(self._place), MAX_SET_BYTES)
        if not text:
            raise Unavailable(f"The keys for tokens cannot be read from {self._place}")
        return text


class KeySetUrlMonitor(SigningKeysMonitor):
    """Asks the issuer: every five minutes, and every ten seconds while it does not answer."""

    interval = REST_SECONDS

    def __init__(self, keys: JWKSet, url: str) -> None:
        super().__init__(keys, url)
        if not is_safe_url(url):
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
        async with aiohttp.ClientSession(timeout=timeout) as session:
            return await self._ask(session)

    async def _ask(self, session: aiohttp.ClientSession) -> bytes:
        return await _get(session, self._place)


class DiscoveredKeySetMonitor(KeySetUrlMonitor):
    """Asks the issuer where its keys are, and then for them: each time anew, for it may move them.

    ``issuer``: a URL of the web, as tokens name it.
    """

    def __init__(self, keys: JWKSet, issuer: str) -> None:
        super().__init__(keys, metadata_url(issuer))
        self._issuer = issuer

    async def _ask(self, session: aiohttp.ClientSession) -> bytes:
        text = await _get(session, self._place)
        try:
            url = key_set_url(text, self._issuer)
        except InvalidMetadata as error:
            raise InvalidMetadata(f"{self._place}: {error.message}") from None
        return await _get(session, url)


async def _get(session: aiohttp.ClientSession, url: str) -> bytes:
    """What stands there, up to a length. Raises `Unavailable`."""
    try:
        async with session.get(url, allow_redirects=False) as response:
            return await _read(response, url)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # A timeout says nothing of itself.
        reason = str(error)[:200] or "no answer in time"
        raise Unavailable(f"{url} cannot be asked for keys: {reason}") from None


async def _read(response: aiohttp.ClientResponse, url: str) -> bytes:
    if response.status != 200:
        raise Unavailable(f"{url} answers {response.status} instead of keys")
    text = bytearray()
    async for chunk in response.content.iter_any():
        text += chunk
        if len(text) > MAX_SET_BYTES:
            raise Unavailable(f"{url} answers more than {MAX_SET_BYTES} bytes")
    return bytes(text)


def signing_keys_monitor(keys: JWKSet, issuer: str, url: str, file: str) -> SigningKeysMonitor:
    """What keeps the keys: from the URL, or the file, or else from where the issuer says."""
    if url:
        return KeySetUrlMonitor(keys, url)
    return KeySetFileMonitor(keys, file) if file else DiscoveredKeySetMonitor(keys, issuer)
