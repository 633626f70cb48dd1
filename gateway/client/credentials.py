"""What proves to the gateway who asks: an API key, a token or a signature, on every request.

A proof is a middleware of aiohttp's client: a signature needs the request that it is for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import aiohttp

from gateway.client.errors import GatewayClientError
from gateway.client.signing import RequestSigner, SigningKey

FreshToken: TypeAlias = Callable[[], Awaitable[str]]
"""Gives a token that still holds; it is asked before each request, so it should keep one."""
Token: TypeAlias = str | FreshToken
Credentials: TypeAlias = aiohttp.ClientMiddlewareType


def credentials_for(
    api_key: str | None = None,
    token: Token | None = None,
    signing_key: SigningKey | None = None,
) -> Credentials:
    """The one that was given. Raises `GatewayClientError` if none was, or several."""
    if sum(given is not None for given in (api_key, token, signing_key)) != 1:
        raise GatewayClientError(
            "One of an API key, a token and a signing key is needed, and no more"
        )
    if token is not None:
        return TokenCredentials(token)
    if signing_key is not None:
        return RequestSigner(signing_key)
    return KeyCredentials(api_key or "")


class KeyCredentials:
    """Shows an API key."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Show it."""
        request.headers["X-API-Key"] = self._api_key
        return await handler(request)


class TokenCredentials:
    """Shows a bearer token; a fresh one each time, if it was given a way to have it."""

    def __init__(self, token: Token) -> None:
        self._token = token

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Show it. Raises `GatewayClientError` for what is no token."""
        request.headers["Authorization"] = f"Bearer {await self._fresh()}"
        return await handler(request)

    async def _fresh(self) -> str:
        try:
            token = self._token if isinstance(self._token, str) else await self._token()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # It is not the gateway that did not answer.
            raise GatewayClientError(f"There is no fresh token: {error}") from error
        if not isinstance(token, str) or not is_token(token):
            raise GatewayClientError("The token holds characters that no token can have, or none")
        return token


def is_token(text: str) -> bool:
    """Whether a header could hold it as a token."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text
