"""SIGTERM of gateways at random moments: what is in flight ends well, and nothing new is begun."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from gateway.client import GatewayClient, GatewayClientError
from gateway.settings import DEMO_KEY, Settings
from support.index_rows import add_files
from support.processes import PATIENCE, environment
from support.torture_kit import (
    MOMENTS,
    Moment,
    Order,
    Orders,
    Slot,
    assert_jobs_are_whole,
    draw_moments,
    drawn,
    index_of_orders,
    send,
    torture,
)

pytestmark = [pytest.mark.torture, torture()]
CLIENTS = 8
HELD = 3
SOCKETS = 2


class HeldSubmit:
    """A submit whose body is under way: the gateway has begun with it, as its 100 says."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self._body = json.dumps(
            {"files": list(order.files), "directories": list(order.directories)}
        ).encode()
        self._sent = 0
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def begin(self, port: int, sent: float) -> None:
        """Send the head, and as large a part of the body."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        head = (
            "POST /api/v1/cache/jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"X-API-Key: {DEMO_KEY}\r\nContent-Type: application/json\r\n"
            f'Content-Length: {len(self._body)}\r\nIdempotency-Key: "{self.order.key}"\r\n'
            "Expect: 100-continue\r\n\r\n"
        )
        self._writer.write(head.encode())
        async with asyncio.timeout(PATIENCE):
            assert b" 100 " in await self._reader.readuntil(b"\r\n\r\n")
        self._sent = int(sent * len(self._body))
        self._writer.write(self._body[: self._sent])
        await self._writer.drain()

    async def end(self) -> str:
        """Send what is left, and give the id of the job that was created."""
        self._writer.write(self._body[self._sent :])
        async with asyncio.timeout(PATIENCE):
            answer = await self._reader.read()
        self._writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 201 "), answer
        created = json.loads(body)
        assert created["totalFiles"] == self.order.total
        return str(created["jobId"])


async def close_code_of(socket: ClientWebSocketResponse) -> int | None:
    """How a socket ends that only listens."""
    async with asyncio.timeout(3 * PATIENCE):
        while (await socket.receive()).type is WSMsgType.TEXT:
            pass
    return socket.close_code


async def stop_at(slot: Slot, moments: Iterator[Moment], orders: Orders) -> None:
    for moment in moments:
        async with slot.gateway() as gateway, AsyncExitStack() as stack:
            await gateway.says("ready")
            session = await stack.enter_async_context(ClientSession(slot.url))
            sockets = [
                await stack.enter_async_context(session.ws_connect("/ws")) for _ in range(SOCKETS)
            ]
            closing = [asyncio.create_task(close_code_of(socket)) for socket in sockets]
            held = [HeldSubmit(orders.make()) for _ in range(HELD)]
            for submit in held:
                await submit.begin(slot.port, orders.rng.random())
            await slot.sent.reaches(moment)
            gateway.send(signal.SIGTERM)
            await gateway.says("stopping")
            await assert_refused(slot, orders)
            for submit in held:
                orders.answered[submit.order.number] = await submit.end()
            assert await asyncio.gather(*closing) == [1001] * SOCKETS
            assert await gateway.end(2 * PATIENCE) == 0
            # It would say so had it not ended by itself within the time that it has.
            assert not [line for line in gateway.lines if "ending at once" in line]


async def assert_refused(slot: Slot, orders: Orders) -> None:
    """A stopping gateway begins nothing new."""
    order = orders.make()
    orders.given_up.add(order.number)
    async with GatewayClient(slot.url, DEMO_KEY) as client:
        with pytest.raises(GatewayClientError) as refused:
            await send(client, order, 0.0)
    assert refused.value.status in (None, 503)


async def test_gateways_that_are_stopped_answer_what_they_have_begun(
    database_settings: Settings, tmp_path: Path
) -> None:
    rng = drawn("stops")
    add_files(database_settings, index_of_orders())
    env = environment(database_settings, RATE_LIMIT_PER_MINUTE="0", SHUTDOWN_TIMEOUT="60")
    slots = [Slot(tmp_path, env) for _ in range(2)]
    moments = draw_moments(rng, events=10, seconds=0.05)
    orders = Orders(rng)
    async with AsyncExitStack() as stack:
        gateways = [
            await stack.enter_async_context(GatewayClient(slot.url, DEMO_KEY)) for slot in slots
        ]
        async with asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                counters = [slot.sent for slot in slots]
                clients.create_task(orders.keep_submitting(gateways, counters))
            await asyncio.gather(*(stop_at(slot, moments, orders) for slot in slots))
            orders.stopping.set()
            last = await stack.enter_async_context(slots[0].gateway())
            await last.says("ready")
    assert_jobs_are_whole(database_settings, orders)
    print(f"{MOMENTS} gateways stopped")
