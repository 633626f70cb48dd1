"""The process's log with untrusted input and odd file names."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
from collections.abc import Iterator

import pytest

from gateway.app import create_app
from gateway.logs.logging import JsonFormatter, TextFormatter, configure_logging
from gateway.server.listener import serve
from gateway.settings import Settings

RUBBISH = (
    b"GET /livez HTTP/1.1\r\nbad header\r\n\r\n",
    b"\x16\x03\x01 no HTTP at all\r\n\r\n",
    b"POST /api/v1/cache/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: nonsense\r\n\r\n",
)


@pytest.fixture
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]


def record(message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("gateway", logging.INFO, __file__, 1, message, arguments, None)


@pytest.mark.parametrize("text", ["plain", "two\nlines", "\udcff is not UTF-8", "\x00"])
def test_a_json_line_holds_any_text(text: str) -> None:
    line = JsonFormatter().format(record("data in %s", text))
    assert "\n" not in line
    assert json.loads(line)["message"] == f"data in {text}"


FORGED = "a\n2026-11-24 10:00:00,000 INFO    gateway: forged\r2026-11-24 10:00:00,000 forged"
BEGINNING = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ", re.MULTILINE)


def test_further_lines_of_a_text_event_are_indented() -> None:
    text = TextFormatter()
    for event in (text.format(record("no file %s", FORGED)), text.info("gateway", FORGED, {})):
        assert len(BEGINNING.findall(event)) == 1
        assert len(event.splitlines()) == 2


def fail() -> None:
    raise RuntimeError(FORGED)


def test_a_traceback_stays_readable_and_belongs_to_its_event() -> None:
    failed = record("failed")
    try:
        fail()
    except RuntimeError:
        failed.exc_info = sys.exc_info()
    first, *others = TextFormatter().format(failed).splitlines()
    assert BEGINNING.match(first)
    assert others[0] == "    Traceback (most recent call last):"
    assert others[1].startswith("      File ")
    assert all(line.startswith("    ") for line in others)


@pytest.mark.usefixtures("_logging_as_before")
async def test_malformed_requests_log_no_traceback(
    capfd: pytest.CaptureFixture[str],
) -> None:
    settings = Settings(db_host="/nowhere", api_gateway_port=0)
    configure_logging(settings)
    stop, listening = asyncio.Event(), asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(create_app(settings), settings, stop, listening.set_result))
    port = int((await listening).rpartition(":")[2])
    for rubbish in RUBBISH:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(rubbish)
        assert b" 400 " in await reader.readline()
        writer.close()
    stop.set()
    await serving
    assert "Traceback" not in capfd.readouterr().err
