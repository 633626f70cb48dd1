"""kill -9 of gateways at random moments: what was answered 201 is one whole job, and nothing else.

Two gateways share the database, and are killed and started again under twenty clients, which ask
either of them again with the key of their order.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from index_rows import add_files
from processes import Command, environment, running_command
from test_client import quiet_port
from torture_kit import (
    Counter,
    Moment,
    Orders,
    assert_jobs_are_whole,
    draw_moments,
    drawn,
    index_of_orders,
    torture,
)

from gateway.client import GatewayClient
from gateway.settings import DEMO_KEY, Settings

pytestmark = [pytest.mark.torture, torture()]
CLIENTS = 20


@dataclass
class Slot:
    """A place for one gateway after another, and how many submits were sent to it."""

    folder: Path
    env: dict[str, str]
    port: int = field(default_factory=quiet_port)
    sent: Counter = field(default_factory=Counter)
    killed: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def gateway(self) -> AbstractAsyncContextManager[Command]:
        env = self.env | {"API_GATEWAY_PORT": str(self.port)}
        return running_command("serve", env=env, cwd=self.folder)

    async def kill_at(self, moments: Iterator[Moment]) -> None:
        for moment in moments:
            async with self.gateway() as gateway:
                await gateway.says("ready")
                await self.sent.reaches(moment)
                gateway.send(signal.SIGKILL)
                assert await gateway.end() == -signal.SIGKILL
            self.killed += 1


async def test_gateways_that_are_killed_leave_whole_jobs_and_no_second_ones(
    database_settings: Settings, tmp_path: Path
) -> None:
    rng = drawn("gateways")
    add_files(database_settings, index_of_orders())
    env = environment(database_settings, RATE_LIMIT_PER_MINUTE="0")
    slots = [Slot(tmp_path, env) for _ in range(2)]
    moments = draw_moments(rng, events=40, seconds=0.03)
    orders = Orders(rng)
    async with AsyncExitStack() as stack:
        gateways = [
            await stack.enter_async_context(GatewayClient(slot.url, DEMO_KEY)) for slot in slots
        ]
        async with asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                counters = [slot.sent for slot in slots]
                clients.create_task(orders.keep_submitting(gateways, counters))
            await asyncio.gather(*(slot.kill_at(moments) for slot in slots))
            orders.stopping.set()
            last = await stack.enter_async_context(slots[0].gateway())
            await last.says("ready")
    assert_jobs_are_whole(database_settings, orders)
    assert len(orders.answered) > CLIENTS
    print(f"killed {sum(slot.killed for slot in slots)} gateways")
