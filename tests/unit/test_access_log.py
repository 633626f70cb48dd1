"""The access log: lines are complete, in order, and written at a normal exit."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from gateway.http.app_keys import REQUEST_ID
from gateway.logs.logging import JsonFormatter, LineHandler, TextFormatter
from gateway.server.access_log import AccessLogger

LOGGER = logging.getLogger("aiohttp.access")
LINES = 500
# It exits with pending lines; Python has to write them.
ENDING_PROCESS = f"""
import asyncio, logging
from gateway.logs.logging import configure_logging
from gateway.settings import Settings

configure_logging(Settings())
handler = logging.getLogger().handlers[0]

async def work():
    for number in range({LINES}):
        handler.write_deferred("access", f"line {{number}}", {{}})

asyncio.run(work())
"""


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, restored afterwards."""
    logger = logging.getLogger()
    before = logger.level, list(logger.handlers)
    logger.setLevel(logging.INFO)
    yield logger
    logger.setLevel(before[0])
    logger.handlers[:] = before[1]


def write_to(root: logging.Logger, formatter: TextFormatter | JsonFormatter) -> io.StringIO:
    stream = io.StringIO()
    root.handlers[:] = [LineHandler(stream, formatter)]
    return stream


def answer(access: AccessLogger, path: str, request_id: str = "an-id") -> None:
    request = make_mocked_request("GET", path)
    request[REQUEST_ID] = request_id
    access.log(request, web.Response(status=200), 0.00234)


async def test_a_deferred_line_equals_a_record(root: logging.Logger) -> None:
    formatter = TextFormatter()
    stream = write_to(root, formatter)
    answer(AccessLogger(LOGGER, ""), "/livez?key=secret")
    root.handlers[0].flush()
    line = stream.getvalue()
    message = "None GET /livez 200 2.3 ms an-id"
    record = logging.LogRecord("aiohttp.access", logging.INFO, "", 1, message, (), None)
    assert line[len("2026-01-01 00:00:00,000") :] == formatter.format(record)[23:] + "\n"


async def test_a_json_line_has_the_requests_fields(root: logging.Logger) -> None:
    stream = write_to(root, JsonFormatter())
    answer(AccessLogger(LOGGER, ""), "/livez?key=secret")
    root.handlers[0].flush()
    entry: dict[str, Any] = json.loads(stream.getvalue())
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "level": "info",
        "logger": "aiohttp.access",
        "message": "None GET /livez 200 2.3 ms an-id",
        "remote": None,
        "method": "GET",
        "path": "/livez",
        "status": 200,
        "milliseconds": 2.3,
        "requestId": "an-id",
    }


async def test_lines_and_records_keep_their_order(root: logging.Logger) -> None:
    stream = write_to(root, TextFormatter())
    access, log = AccessLogger(LOGGER, ""), logging.getLogger("gateway")
    for number in range(0, LINES, 2):
        answer(access, f"/line-{number}")
        if number % 10 == 0:
            log.info("GET /line-%d 200", number + 1)
        else:
            answer(access, f"/line-{number + 1}")
    await asyncio.sleep(0)
    paths = [line.partition(" GET ")[2].split()[0] for line in stream.getvalue().splitlines()]
    assert paths == [f"/line-{number}" for number in range(LINES)]


async def test_lines_are_written_by_the_end_of_the_loops_turn(root: logging.Logger) -> None:
    stream = write_to(root, TextFormatter())
    access = AccessLogger(LOGGER, "")
    answer(access, "/first")
    answer(access, "/second")
    assert not stream.getvalue()
    await asyncio.sleep(0)
    assert len(stream.getvalue().splitlines()) == 2


async def test_concurrent_threads_lose_no_lines(root: logging.Logger) -> None:
    stream = write_to(root, TextFormatter())
    access, log = AccessLogger(LOGGER, ""), logging.getLogger("gateway")

    def work() -> None:
        for number in range(LINES):
            log.info("GET /thread-%d", number)

    working = asyncio.create_task(asyncio.to_thread(work))
    for number in range(LINES):
        answer(access, f"/line-{number}")
        await asyncio.sleep(0)
    await working
    root.handlers[0].flush()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2 * LINES
    assert len({line.partition(" GET ")[2].split()[0] for line in lines}) == 2 * LINES


def test_pending_lines_are_written_at_exit() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ENDING_PROCESS], capture_output=True, text=True, check=True
    )
    lines = ended.stderr.splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == [f"line {n}" for n in range(LINES)]


async def test_a_closed_stream_does_not_fail_requests(root: logging.Logger) -> None:
    stream = write_to(root, TextFormatter())
    stream.close()
    answer(AccessLogger(LOGGER, ""), "/livez")
    root.handlers[0]._write_waiting()


async def test_other_handlers_get_records(
    root: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "aiohttp.access"):
        answer(AccessLogger(LOGGER, ""), "/livez")
    assert [r.getMessage() for r in caplog.records] == ["None GET /livez 200 2.3 ms an-id"]
