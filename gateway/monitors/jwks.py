"""Keeps the token issuer's public keys: from OpenID discovery, a URL, or a file."""

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
    """Loads the keys if they are valid; otherwise the last good ones stay."""

    name = "signing-keys"

    def __init__(self, keys: JWKSet, source: str) -> None:
        super().__init__(check_requested=keys.wanted)
        self._keys = keys
        self._source = source
        self._last_text: bytes | None = None

    @abstractmethod
    async def fetch(self) -> bytes:
        """The text of the key set. Raises `Unavailable`."""

    async def check_once(self) -> bool:
        """Fetch the keys. Raises `Unavailable` or `InvalidKeySet`."""
        try:
            text = await self.fetch()
            if text != self._last_text:
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
            raise InvalidKeySet(f"{self._source}: {error.message}; {kept}") from None
        self._last_text = text
        log.info("%d keys for tokens were taken from %s", usable, self._source)


class KeySetFileMonitor(SigningKeysMonitor):
    """Reads the keys from a file."""

    interval = FILE_SECONDS

    async def fetch(self) -> bytes:
        """Read the file."""
        text = await asyncio.to_thread(read_small_file, Path(self._source), MAX_SET_BYTES)
        if not text:
            raise Unavailable(f"The keys for tokens cannot be read from {self._source}")
        return text


class KeySetUrlMonitor(SigningKeysMonitor):
    """Fetches the keys every five minutes, and every ten seconds while that fails."""

    interval = REST_SECONDS

    def __init__(self, keys: JWKSet, url: str) -> None:
        super().__init__(keys, url)
        if not is_safe_url(url):
            log.warning("%s is not https: anyone on the network path can forge tokens", url)

    async def check_once(self) -> bool:
        """Fetch the keys, and set the interval."""
        self.interval = REST_SECONDS
        is_last = await super().check_once()
        self.interval = URL_SECONDS
        return is_last

    async def fetch(self) -> bytes:
        """Request the keys from the issuer."""
        timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            return await self._fetch_keys(session)

    async def _fetch_keys(self, session: aiohttp.ClientSession) -> bytes:
        return await _get(session, self._source)


class DiscoveredKeySetMonitor(KeySetUrlMonitor):
    """Fetches the keys from the URL in the issuer's metadata, which is read each time.

    ``issuer`` is an HTTP(S) URL, as in the tokens' ``iss``.
    """

    def __init__(self, keys: JWKSet, issuer: str) -> None:
        super().__init__(keys, metadata_url(issuer))
        self._issuer = issuer

    async def _fetch_keys(self, session: aiohttp.ClientSession) -> bytes:
        text = await _get(session, self._source)
        try:
            url = key_set_url(text, self._issuer)
        except InvalidMetadata as error:
            raise InvalidMetadata(f"{self._source}: {error.message}") from None
        return await _get(session, url)


async def _get(session: aiohttp.ClientSession, url: str) -> bytes:
    """Fetch the body, up to `MAX_SET_BYTES`. Raises `Unavailable`."""
    try:
        async with session.get(url, allow_redirects=False) as response:
            return await _read(response, url)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # A timeout has no message.
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
    """The monitor for a JWKS URL or file, or else for the issuer's metadata."""
    if url:
        return KeySetUrlMonitor(keys, url)
    return KeySetFileMonitor(keys, file) if file else DiscoveredKeySetMonitor(keys, issuer)
