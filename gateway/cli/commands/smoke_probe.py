"""Plain HTTP and WebSocket, as a user's own script would speak it, for ``smoke``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any, Final, Self

import aiohttp
from multidict import CIMultiDictProxy

REQUEST_SECONDS: Final = 15.0


class NotWorking(Exception):
    """What was looked at does not do what it should; the message says what it did."""


class NotOffered(Exception):
    """This gateway has no such thing, as older ones have not."""


class NothingToLookAt(Exception):
    """It could not be tried: the message says for want of what."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``text`` is the body, cut to what is worth looking at."""

    status: int
    headers: CIMultiDictProxy[str]
    text: str

    def json(self) -> Any:
        """The body's JSON. Raises `NotWorking`."""
        try:
            return json.loads(self.text)
        except ValueError:
            raise NotWorking(f"{self.status}, but what is answered is not JSON") from None


class Probe:
    """Asks a gateway at ``url``, without showing a key unless a request does.

    With ``signer`` each request is signed.
    """

    def __init__(
        self,
        url: str,
        trusted: SSLContext | None = None,
        signer: aiohttp.ClientMiddlewareType | None = None,
    ) -> None:
        self._session = aiohttp.ClientSession(
            base_url=f"{url.rstrip('/')}/",
            connector=aiohttp.TCPConnector(ssl=True if trusted is None else trusted),
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS),
            middlewares=(signer,) if signer else (),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        await self._session.close()

    async def ask(
        self,
        path: str,
        headers: Mapping[str, str] | None = None,
        expect: tuple[int, ...] = (200,),
    ) -> Answer:
        """GET ``path``. Raises `NotWorking` for another status than is expected."""
        try:
            async with self._session.get(path, headers=headers) as response:
                text = await response.text(errors="replace")
                answer = Answer(response.status, response.headers, text)
        except TimeoutError:
            raise NotWorking(f"no answer within {REQUEST_SECONDS:.0f} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NotWorking(str(error)[:200]) from None
        if answer.status not in expect:
            raise NotWorking(f"{answer.status}: {_said(answer)}")
        return answer

    async def ask_for_extra(self, path: str) -> Answer:
        """The same for what not every gateway has. Raises `NotOffered` too."""
        answer = await self.ask(path, expect=(200, 404))
        if answer.status == 404:
            raise NotOffered
        return answer

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[Stream]:
        """The gateway's WebSocket. Raises `NotWorking`."""
        try:
            async with self._session.ws_connect("ws", max_msg_size=0) as socket:
                yield Stream(socket)
        except (aiohttp.ClientError, OSError) as error:
            raise NotWorking(str(error)[:200]) from None


class Stream:
    """A WebSocket, of whose messages one kind is waited for at a time."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def send(self, **message: Any) -> None:
        """Send a message."""
        await self._socket.send_json(message)

    async def wait_for(self, kind: str) -> Any:
        """The next message of a type; others are passed over. Raises `NotWorking`."""
        while True:
            try:
                message = await self._socket.receive_json(timeout=REQUEST_SECONDS)
            except TimeoutError:
                raise NotWorking(f"no {kind} within {REQUEST_SECONDS:.0f} s") from None
            except (TypeError, ValueError):
                raise NotWorking("the connection was closed, or what came is not JSON") from None
            told = message.get("type") if isinstance(message, dict) else None
            if told == "error":
                raise NotWorking(str(message.get("error")))
            if told == kind:
                return message


def _said(answer: Answer) -> str:
    try:
        body = json.loads(answer.text)
    except ValueError:
        return "what is answered is not JSON"
    return (
        str(body.get("error", "no reason given")) if isinstance(body, dict) else "no reason given"
    )
