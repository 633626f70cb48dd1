"""Where the server listens, and what it says of it."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys

import pytest
from aiohttp import web
from yarl import URL

from gateway.server.listener import CannotListen, serve
from gateway.settings import Settings


def settings_of(host: str) -> Settings:
    return Settings(api_gateway_host=host, api_gateway_port=0, api_gateway_key="own")


@pytest.mark.parametrize(
    ("host", "reached_at"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "::1"), ("::", "::1")],
)
async def test_the_url_that_is_told_can_be_used(host: str, reached_at: str) -> None:
    if ":" in host:
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("no IPv6 here")
    told: list[str] = []
    stop = asyncio.Event()
    stop.set()
    await serve(web.Application(), settings_of(host), stop, told.append)
    url = URL(told[0])
    assert (url.scheme, url.host) == ("http", reached_at)
    assert url.port
    assert f"[{reached_at}]:" in told[0] or ":" not in reached_at


@pytest.mark.parametrize(
    "host", ["nosuch.invalid", "192.0.2.7", "2001:db8::7", "a..b", "x" * 70, "no such name"]
)
async def test_an_address_that_is_not_ours_is_refused_with_a_reason(host: str) -> None:
    with pytest.raises(CannotListen) as refused:
        await serve(web.Application(), settings_of(host), asyncio.Event())
    message = refused.value.message
    shown = f"[{host}]" if ":" in host else host
    assert message.startswith(f"Cannot listen on {shown}:0: ")
    assert "Unknown error" not in message
    assert message.partition(":0: ")[2]


STUCK = """
import asyncio, os, signal, threading
from gateway.runtime import process as server

async def work():
    stop = server.stop_on_signals(0.1)
    os.kill(os.getpid(), signal.SIGTERM)
    await stop.wait()
    threading.Event().wait()

server.GRACE_SECONDS = 0.1
server.run(work())
"""


def test_a_process_whose_loop_is_stuck_ends_after_a_signal() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "not stopped after 0.2 seconds: ending at once" in ended.stderr
