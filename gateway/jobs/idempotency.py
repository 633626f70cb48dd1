"""Submits that may be repeated: the same key gets the same response, and no second job.

The HTTP field is that of the IETF draft "The Idempotency-Key HTTP Header Field". The response is
stored in the transaction that creates the job, so a crash leaves both or neither.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.database import Database, Session
from gateway.database.sql import load_queries
from gateway.errors import KeyInUse, KeyReused
from gateway.job import CreatedJob


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A submit that its caller may repeat with the same ``key``.

    ``caller`` is the name of the API key, ``fingerprint`` a digest of the body.
    """

    caller: str
    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """The response to a submit: the id of the job that was created, and the body in JSON.

    ``is_replay``: an earlier submit with the same key got it, byte for byte.
    """

    job_id: str
    body: bytes
    is_replay: bool = False


class Idempotency:
    """The idempotency keys of the last 24 hours, in the database, and those being answered.

    Of concurrent requests with one key, one goes on: within this process the first one, among
    several gateways the one that gets the database's lock.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = load_queries("idempotency")
        self._running: set[tuple[str, str]] = set()

    @asynccontextmanager
    async def begin(self, request: IdempotentRequest) -> AsyncIterator[StoredResponse | None]:
        """Keep out others with the same key; gives the stored response, if there is one.

        Raises `KeyInUse` while another request with the key is being answered, `KeyReused` if
        the key was sent with another body before, `DatabaseUnavailable`.
        """
        name = (request.caller, request.key)
        if name in self._running:
            raise KeyInUse
        self._running.add(name)
        try:
            yield await self._find(request)
        finally:
            self._running.discard(name)

    def claim(
        self, request: IdempotentRequest, respond: Callable[[CreatedJob], StoredResponse]
    ) -> KeyClaim:
        """The claim on a key, for the transaction that creates the job; `begin` comes first."""
        return KeyClaim(self._queries, request, respond)

    async def _find(self, request: IdempotentRequest) -> StoredResponse | None:
        row = await self._database.fetch_one(self._queries["find"], _name(request))
        if row is None:
            return None
        if row.fingerprint != request.fingerprint:
            raise KeyReused
        return StoredResponse(row.job_id, row.answer.encode(), is_replay=True)


class KeyClaim:
    """A `Claim` on an idempotency key. ``response`` is there once the job is created.

    Its methods raise `KeyInUse` if another gateway answers the key, or has answered it.
    """

    def __init__(
        self,
        queries: Mapping[str, str],
        request: IdempotentRequest,
        respond: Callable[[CreatedJob], StoredResponse],
    ) -> None:
        self.response: StoredResponse
        self._queries = queries
        self._request = request
        self._respond = respond

    async def lock(self, session: Session) -> None:
        """Lock the key until the transaction ends."""
        row = await session.fetch_one(self._queries["try_lock"], _name(self._request))
        if not row.locked:
            raise KeyInUse

    async def keep(self, session: Session, job: CreatedJob) -> None:
        """Store the response in the transaction that creates the job: both last, or neither."""
        self.response = self._respond(job)
        answer = {"job": job.id, "answer": self.response.body.decode()}
        parameters = _name(self._request) | answer | {"fingerprint": self._request.fingerprint}
        if await session.fetch_one(self._queries["keep"], parameters) is None:
            raise KeyInUse


def _name(request: IdempotentRequest) -> dict[str, str]:
    return {"caller": request.caller, "key": request.key}
