"""Strangers' pages in a browser on this machine: what they can ask, and what they are refused."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.http import app_keys
from gateway.net.addresses import is_loopback_host
from support.database import StartApi

JOBS = "/api/v1/cache/jobs"
OURS = "https://dashboard.example"
THEIRS = "https://evil.example"
REFUSED = {
    "success": False,
    "error": "Pages of this origin may not connect, see CORS_ORIGINS",
}
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


async def status_of_socket(api: Any, **headers: str) -> int:
    """What a handshake is answered with."""
    try:
        async with api.ws_connect("/ws", headers=headers):
            return 101
    except aiohttp.WSServerHandshakeError as error:
        return error.status


@pytest.mark.parametrize(
    "origin", [THEIRS, "null", "http://[", "http://localhost.evil.example", ""]
)
async def test_a_strangers_page_cannot_use_the_demo_key(
    start_shared_api: StartApi, origin: str
) -> None:
    api = await start_shared_api()
    assert await status_of_socket(api, Origin=origin) == 403
    assert (await api.get(JOBS, headers={"Origin": origin})).status == 401


async def test_it_is_told_so_in_json_and_the_audit_log_names_it(
    start_shared_api: StartApi, tmp_path: Path
) -> None:
    path = tmp_path / "audit"
    api = await start_shared_api(audit_log=str(path))
    response = await api.get("/ws", headers=HANDSHAKE | {"Origin": THEIRS})
    assert (response.status, await response.json()) == (403, REFUSED)
    await asyncio.to_thread(api.app[app_keys.AUDIT_LOG].flush)
    line = json.loads(path.read_text())
    assert (line["route"], line["status"], line["error"]) == ("/ws", 403, REFUSED["error"])


async def test_one_that_goes_on_trying_writes_no_log_full(
    start_shared_api: StartApi,
) -> None:
    api = await start_shared_api()
    tried = [await status_of_socket(api, Origin=THEIRS) for _ in range(11)]
    assert tried == [403] * 10 + [429]
    assert await status_of_socket(api, Origin="http://localhost:8000") == 101


@pytest.mark.parametrize("origin", ["http://localhost:8000", "http://127.0.0.1:3", "http://[::1]"])
async def test_pages_of_this_machine_go_on_using_it(
    start_shared_api: StartApi, origin: str
) -> None:
    api = await start_shared_api()
    assert await status_of_socket(api, Origin=origin) == 101
    assert (await api.get(JOBS, headers={"Origin": origin})).status == 200


@pytest.mark.parametrize(
    "changes", [{"allow_demo_key": True}, {"cors_origins": (THEIRS,)}], ids=["all", "named"]
)
async def test_pages_that_were_let_in_use_it(
    start_shared_api: StartApi, changes: dict[str, Any]
) -> None:
    api = await start_shared_api(**changes)
    assert await status_of_socket(api, Origin=THEIRS) == 101
    assert (await api.get(JOBS, headers={"Origin": THEIRS})).status == 200


async def test_with_a_secret_key_any_page_may_connect_unless_origins_are_named(
    start_shared_api: StartApi,
) -> None:
    api = await start_shared_api(api_gateway_key="own")
    assert await status_of_socket(api, Origin=THEIRS) == 101
    api = await start_shared_api(api_gateway_key="own", cors_origins=(OURS,))
    assert await status_of_socket(api, Origin=THEIRS) == 403
    assert await status_of_socket(api, Origin=OURS) == 101
    assert await status_of_socket(api) == 101


@pytest.mark.parametrize(
    ("trusted", "headers", "status"),
    [
        ("", {"Host": "gateway.example:8095"}, 101),
        ("", {"Host": "GATEWAY.example"}, 101),
        ("", {"Host": "gateway.example.evil.example"}, 403),
        ("", {"X-Forwarded-Host": "gateway.example"}, 403),
        ("127.0.0.1", {"X-Forwarded-Host": "evil.example, gateway.example"}, 101),
        ("127.0.0.1", {"X-Forwarded-Host": "gateway.example, other.example"}, 403),
    ],
)
async def test_our_own_pages_may_connect_by_whatever_name_the_caller_or_a_trusted_proxy_knows_us(
    start_shared_api: StartApi, trusted: str, headers: dict[str, str], status: int
) -> None:
    api = await start_shared_api(
        api_gateway_key="own", cors_origins=(OURS,), trusted_proxies=trusted
    )
    origin = "https://gateway.example"
    assert await status_of_socket(api, Origin=origin, **headers) == status


@pytest.mark.parametrize("host", ["evil.example:8095", "localhost.evil.example", "0.0.0.0:8095"])
async def test_a_name_that_is_made_to_mean_this_machine_does_not_open_to_the_demo_key(
    start_shared_api: StartApi, host: str
) -> None:
    api = await start_shared_api()
    page = {"Host": host, "Origin": f"http://{host}"}
    assert (await api.get(JOBS, headers=page)).status == 401
    assert await status_of_socket(api, **page) == 401
    api = await start_shared_api(allow_demo_key=True)
    assert (await api.get(JOBS, headers=page)).status == 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True), ("LOCALHOST:80", True), ("127.0.0.1:8095", True), ("127.9.9.9", True),
        ("[::1]:8095", True), ("[::1]", True), ("localhost.evil.example", False), ("", False),
        ("127.0.0.1.evil.example", False), ("10.0.0.1", False), ("[::2]:80", False), (":80", False),
    ],
)  # fmt: skip
def test_only_a_loopback_host_is_the_machine_itself(host: str, expected: bool) -> None:
    assert is_loopback_host(host) is expected
