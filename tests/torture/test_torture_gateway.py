"""kill -9 of gateways at random moments: what was answered 201 is one whole job, and nothing else.

Two gateways share the database, and are killed and started again under twenty clients, which ask
either of them again with the key of their order.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.client import GatewayClient
from gateway.settings import DEMO_KEY, Settings
from support.index_rows import add_files
from support.processes import environment
from support.torture_kit import (
    Orders,
    Slot,
    assert_jobs_are_whole,
    draw_moments,
    drawn,
    index_of_orders,
    torture,
)

pytestmark = [pytest.mark.torture, torture()]
CLIENTS = 20


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
