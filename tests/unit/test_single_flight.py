"""Readings that are shared: how many there are, and that nobody gets what is older than asked."""

from __future__ import annotations

import asyncio

import pytest

from gateway.runtime.single_flight import SingleFlight


class Source:
    """Counts its readings; each ends when it is told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.at_once = 0
        self.gates: list[asyncio.Future[None]] = []

    async def read(self, key: str) -> str:
        self.begun += 1
        self.at_once += 1
        number, gate = self.begun, asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        try:
            await gate
        finally:
            self.at_once -= 1
        return f"{key} {number}"


async def turn() -> None:
    """Let all that can run, run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_all_who_ask_before_it_begins_share_a_reading() -> None:
    source = Source()
    reads = SingleFlight(source.read)
    asking = [asyncio.create_task(reads.get("a")) for _ in range(100)]
    await turn()
    source.gates[0].set_result(None)
    assert await asyncio.gather(*asking) == ["a 1"] * 100


async def test_who_asks_while_it_runs_gets_the_next_one() -> None:
    source = Source()
    reads = SingleFlight(source.read)
    early = asyncio.create_task(reads.get("a"))
    await turn()
    late = [asyncio.create_task(reads.get("a")) for _ in range(100)]
    await turn()
    assert source.begun == 1
    source.gates[0].set_result(None)
    assert await early == "a 1"
    await turn()
    assert (source.begun, source.at_once) == (2, 1)
    source.gates[1].set_result(None)
    assert await asyncio.gather(*late) == ["a 2"] * 100


async def test_keys_do_not_wait_for_each_other() -> None:
    source = Source()
    reads = SingleFlight(source.read)
    asking = [asyncio.create_task(reads.get(key)) for key in "abc"]
    await turn()
    assert source.at_once == 3
    for gate in source.gates:
        gate.set_result(None)
    assert await asyncio.gather(*asking) == ["a 1", "b 2", "c 3"]


async def test_who_gives_up_leaves_the_reading_to_the_others() -> None:
    source = Source()
    reads = SingleFlight(source.read)
    impatient, patient = (asyncio.create_task(reads.get("a")) for _ in range(2))
    await turn()
    impatient.cancel()
    await turn()
    source.gates[0].set_result(None)
    assert await patient == "a 1"


async def test_a_failure_is_told_to_those_who_share_it_and_to_nobody_later() -> None:
    source = Source()
    reads = SingleFlight(source.read)
    first = [asyncio.create_task(reads.get("a")) for _ in range(2)]
    await turn()
    later = asyncio.create_task(reads.get("a"))
    source.gates[0].set_exception(OSError("away"))
    for asked in first:
        with pytest.raises(OSError, match="away"):
            await asked
    await turn()
    source.gates[1].set_result(None)
    assert await later == "a 2"


async def test_nothing_is_kept_when_all_is_read() -> None:
    source = Source()
    reads = SingleFlight(source.read)
    asking = [asyncio.create_task(reads.get("a")) for _ in range(2)]
    await turn()
    source.gates[0].set_result(None)
    await asyncio.gather(*asking)
    assert (reads._running, reads._waiting) == ({}, {})
