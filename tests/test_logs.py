"""What the process writes to its log, whatever strangers and file systems feed it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator

import pytest

from gateway.app import create_app
from gateway.logs import JsonFormatter, configure_logging
from gateway.server import serve
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


@pytest.mark.usefixtures("_logging_as_before")
async def test_rubbish_from_strangers_writes_no_traceback(
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
