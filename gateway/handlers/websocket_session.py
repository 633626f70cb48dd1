"""A client of ``/ws``: its authentication, its subscriptions and its messages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from gateway.auth.access import Access
from gateway.auth.callers import Caller, Scope
from gateway.errors import (
    Forbidden,
    GatewayError,
    InvalidRequest,
    RateLimited,
    Starting,
    StatementFailed,
    Unauthorized,
    Unavailable,
)
from gateway.events.hub import METRICS as METRICS_TOPIC
from gateway.events.hub import Event
from gateway.events.send_buffer import SendBuffer
from gateway.formatting import utc_now
from gateway.handlers.websocket_channels import Channel, Message, read_channel, read_message
from gateway.http.app_keys import (
    API_KEYS,
    AUDIT_LOG,
    CLIENT_ADDRESS,
    HUB,
    JOB_EVENTS,
    JOB_STORE,
    METRICS,
    REQUEST_ID,
    SEND_BUFFERS,
    SETTINGS,
    SOCKETS,
    TOKENS,
)
from gateway.http.authentication import (
    admit,
    authenticate,
    authenticate_token,
    require_visible,
    visible_owner,
)
from gateway.job import Job
from gateway.schemas.messages import (
    Authenticated,
    ErrorMessage,
    JobSnapshot,
    JobsSnapshot,
    Pong,
    Unsubscribed,
)
from gateway.schemas.serializers import metrics_message, serialize_job, serialize_job_summary

SNAPSHOT_JOBS: Final = 1000
SUBSCRIPTIONS_LIMIT: Final = 1000
EVENT_SECONDS: Final = 5.0
KEY_REVOKED: Final = b"API key is no longer valid"
TOKEN_EXPIRED: Final = b"Token has expired"
# A check exactly at the end of a key might be early by the resolution of the clock.
EXPIRY_GRAIN: Final = 0.01
EXPIRY_CHECK_SECONDS: Final = 600.0


class Connection:
    """One client, its caller and its subscriptions."""

    def __init__(
        self,
        request: web.Request,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        caller: Caller | None,
    ) -> None:
        self._request = request
        self._app = request.app
        self._socket = socket
        self._caller = caller
        self._send_buffer: SendBuffer = self._app[SEND_BUFFERS].open(transport)
        self._topics: set[str] = set()
        self._closing: asyncio.Task[bool] | None = None
        self._expiry_timer: asyncio.TimerHandle | None = None
        self._answers: Mapping[str, Callable[[Message], Awaitable[None]]] = {
            "auth": self._authenticate,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "ping": self._ping,
        }

    async def serve(self) -> None:
        """Answer messages until the connection ends."""
        self._app[SOCKETS].add(self._socket)
        self._app[API_KEYS].subscribe(self.check_key)
        try:
            # The key may have been revoked during the handshake.
            self.check_key()
            self._subscribe_to_metrics()
            async for message in self._socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    await self._answer(message.data)
        finally:
            self._app[API_KEYS].unsubscribe(self.check_key)
            self._schedule_expiry(None)
            self._app[SOCKETS].discard(self._socket)
            for topic in tuple(self._topics):
                self._leave(topic)
            if self._closing is not None:
                await asyncio.wait({self._closing})
            self._app[SEND_BUFFERS].close(self._send_buffer)

    def check_key(self) -> None:
        """Close the connection if the client's key or token is no longer valid."""
        caller = self._caller
        if caller is None or self._closing is not None:
            return
        if self._app[API_KEYS].is_valid(caller):
            self._schedule_expiry(caller.expires_at)
            return
        self._caller = None
        reason = KEY_REVOKED if caller.credential_digest else TOKEN_EXPIRED
        # Nothing may follow the closing frame.
        self._send_buffer.stop()
        self._closing = asyncio.create_task(
            self._socket.close(code=WSCloseCode.POLICY_VIOLATION, message=reason)
        )

    def _schedule_expiry(self, expires_at: float | None) -> None:
        """Check the key when it expires, and at intervals, as the clock may be set."""
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
            self._expiry_timer = None
        if expires_at is not None:
            wait = min(max(expires_at - time.time(), 0.0) + EXPIRY_GRAIN, EXPIRY_CHECK_SECONDS)
            loop = asyncio.get_running_loop()
            self._expiry_timer = loop.call_later(wait, self.check_key)

    def _subscribe_to_metrics(self) -> None:
        """Send metrics from now on, if they are public or the caller has the scope."""
        is_public = self._app[SETTINGS].public_metrics
        may = is_public or (self._caller is not None and self._caller.may(Scope.METRICS_READ))
        if may and METRICS_TOPIC not in self._topics:
            self._send_buffer.send(metrics_message(self._app[METRICS]))
            self._join(METRICS_TOPIC)

    async def _answer(self, data: str | bytes) -> None:
        """Handle a message. Errors of the client are sent to it, and the connection stays open."""
        try:
            message = read_message(data)
            await self._answers[message["type"]](message)
        except StatementFailed:
            # A fault of the gateway: it is logged and ends the connection.
            raise
        except GatewayError as error:
            answer: ErrorMessage = {"type": "error", "error": error.message}
            if isinstance(error, RateLimited | Unavailable):
                answer["retryAfter"] = error.retry_after
            self._send_buffer.send(answer)

    async def _ping(self, _message: Message) -> None:
        pong: Pong = {"type": "pong"}
        self._send_buffer.send(pong)

    async def _authenticate(self, message: Message) -> None:
        if len({"apiKey", "token"} & message.keys()) != 1:
            other = ", or token" if TOKENS in self._app else ""
            raise InvalidRequest(f"auth needs the field apiKey{other}")
        # A failed attempt ends the previous authentication too.
        before, self._caller = self._caller, None
        try:
            self._caller = await self._identify(message)
        except GatewayError as error:
            self._leave_all()
            if isinstance(error, Unauthorized):
                self._audit("stream.auth", error)
            raise
        if before is not None and before.identity != self._caller.identity:
            self._leave_all()
        self._schedule_expiry(self._caller.expires_at)
        authenticated: Authenticated = {"type": "authenticated"}
        self._send_buffer.send(authenticated)
        self._subscribe_to_metrics()

    async def _identify(self, message: Message) -> Caller:
        field = message.get("token", message.get("apiKey"))
        credential = field if isinstance(field, str) else None
        if "token" not in message:
            return authenticate(self._request, credential)
        tokens = self._app.get(TOKENS)
        if tokens is None:
            raise InvalidRequest("This gateway takes no tokens")
        return await authenticate_token(self._request, tokens, credential or "")

    async def _subscribe(self, message: Message) -> None:
        caller = self._caller
        if caller is None:
            raise Unauthorized
        if self._send_buffer.is_full:
            raise InvalidRequest("The connection does not keep up with what it gets")
        owner = visible_owner(self._app, caller)
        channel = read_channel(message).for_owner(owner)
        if len((self._topics | channel.topics) - {METRICS_TOPIC}) > SUBSCRIPTIONS_LIMIT:
            raise InvalidRequest(f"At most {SUBSCRIPTIONS_LIMIT} subscriptions a connection")
        await self._wait_for_event()
        try:
            admit(self._request, self._app, caller, Access.POLL, Scope.JOBS_READ)
        except Forbidden as error:
            self._audit("stream.subscribe", error)
            raise
        if owner is not None and channel.job_id is not None:
            # Before any event of the job is sent.
            require_visible(await self._app[JOB_STORE].get(channel.job_id), owner)
        await self._follow(channel, owner)

    async def _follow(self, channel: Channel, owner: str | None) -> None:
        """Join the topics, and send a snapshot of the jobs before their events."""
        before = frozenset(self._topics)
        # Subscribe, then read: events in between are held back until the snapshot is sent.
        self._send_buffer.pause()
        snapshot: Event | None = None
        jobs: Sequence[Job] = ()
        try:
            for topic in channel.topics:
                self._join(topic)
            jobs, snapshot = await self._snapshot(channel, owner)
        finally:
            if snapshot is None:
                for topic in channel.topics - before:
                    self._leave(topic)
            for job in jobs:
                self._app[JOB_EVENTS].note_snapshot(job)
            self._send_buffer.release(snapshot, {job.id: job.version for job in jobs})

    def _audit(self, event: str, error: GatewayError) -> None:
        """Log a refusal. Each costs the client a token, so they are few."""
        self._app[AUDIT_LOG].write(
            event,
            "refused",
            self._caller.key_name if self._caller else None,
            self._request[CLIENT_ADDRESS],
            requestId=self._request[REQUEST_ID],
            error=error.message,
        )

    async def _wait_for_event(self) -> None:
        """Wait, right after a start, until events of all later changes are sent."""
        try:
            async with asyncio.timeout(EVENT_SECONDS):
                await self._app[JOB_EVENTS].has_begun.wait()
        except TimeoutError:
            raise Starting from None

    async def _unsubscribe(self, message: Message) -> None:
        owner = None if self._caller is None else visible_owner(self._app, self._caller)
        channel = read_channel(message).for_owner(owner)
        for topic in channel.topics | channel.subtopics:
            self._leave(topic)
        answer: Unsubscribed = {"type": "unsubscribed", **channel.fields}
        self._send_buffer.send(answer)

    async def _snapshot(self, channel: Channel, owner: str | None) -> tuple[Sequence[Job], Event]:
        """The jobs that a subscription starts with, and their message."""
        store = self._app[JOB_STORE]
        if channel.job_id is None:
            jobs = await store.newest(SNAPSHOT_JOBS, owner)
            summaries = [serialize_job_summary(job) for job in jobs]
            many: JobsSnapshot = {"type": "snapshot", **channel.fields, "jobs": summaries}
            return jobs, Event(many)
        job = await store.get(channel.job_id)
        in_full = serialize_job(job, self._app[METRICS].fresh_throughput, utc_now())
        one: JobSnapshot = {"type": "snapshot", **channel.fields, "job": in_full}
        return (job,), Event(one)

    def _join(self, topic: str) -> None:
        self._topics.add(topic)
        self._app[HUB].subscribe(self._send_buffer, topic)

    def _leave_all(self) -> None:
        """End the subscriptions of the previous caller."""
        kept = {METRICS_TOPIC} if self._app[SETTINGS].public_metrics else set()
        for topic in self._topics - kept:
            self._leave(topic)

    def _leave(self, topic: str) -> None:
        self._topics.discard(topic)
        self._app[HUB].unsubscribe(self._send_buffer, topic)
