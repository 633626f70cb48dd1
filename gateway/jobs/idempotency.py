"""Submits that may be sent again: a key that was answered gets the first answer, and no new job.

The HTTP field is that of the IETF draft "The Idempotency-Key HTTP Header Field". The answer is kept
in the transaction that creates the job, so a crash leaves both or neither.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.database import Database, Session
from gateway.database.sql import load_queries
from gateway.errors import KeyInUse, KeyReused
from gateway.jobs.store import Beside, CreatedJob


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A request that its caller may repeat: the same key says that it is the same request.

    ``caller`` is the name of the API key, ``fingerprint`` a digest of what was asked for.
    """

    caller: str
    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """How a key was answered: the id of the job that was created, and the body, byte for byte."""

    job_id: str
    body: bytes


class Idempotency:
    """The keys that were answered within 24 hours, in the database, and those being answered.

    Of several requests with one key at once, one goes on: within this process the first one,
    among several gateways the one that gets the database's lock.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = load_queries("idempotency")
        self._running: set[tuple[str, str]] = set()

    @asynccontextmanager
    async def begin(self, attempt: IdempotentRequest) -> AsyncIterator[StoredResponse | None]:
        """Keep others with the same key out, and give the first answer if there was one.

        Raises `KeyInUse` while another request with the key is being answered, `KeyReused` if
        it was sent with another body before, `DatabaseUnavailable`.
        """
        name = (attempt.caller, attempt.key)
        if name in self._running:
            raise KeyInUse
        self._running.add(name)
        try:
            yield await self._find(attempt)
        finally:
            self._running.discard(name)

    def beside(self, attempt: IdempotentRequest, describe: Callable[[CreatedJob], bytes]) -> Beside:
        """What the transaction that creates the job has to do, for its answer to be kept.

        ``describe`` gives the answer's body. `KeyInUse` is raised in it if another gateway is
        at work on the key, or was.
        """

        async def lock(session: Session) -> None:
            row = await session.fetch_one(self._queries["try_lock"], _name(attempt))
            if not row.locked:
                raise KeyInUse

        async def keep(session: Session, job: CreatedJob) -> None:
            answer = {"job": job.id, "answer": describe(job).decode()}
            parameters = _name(attempt) | answer | {"fingerprint": attempt.fingerprint}
            if await session.fetch_one(self._queries["keep"], parameters) is None:
                raise KeyInUse

        return Beside(lock, keep)

    async def _find(self, attempt: IdempotentRequest) -> StoredResponse | None:
        row = await self._database.fetch_one(self._queries["find"], _name(attempt))
        if row is None:
            return None
        if row.fingerprint != attempt.fingerprint:
            raise KeyReused
        return StoredResponse(row.job_id, row.answer.encode())


def _name(attempt: IdempotentRequest) -> dict[str, str]:
    return {"caller": attempt.caller, "key": attempt.key}
