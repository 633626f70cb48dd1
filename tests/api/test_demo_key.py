"""The key that everybody knows opens to this machine alone, wherever the server listens."""

from __future__ import annotations

import json
import logging
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDict

from gateway.app import create_app
from gateway.auth.api_keys import ApiKeys
from gateway.errors import Unauthorized
from gateway.http.forwarded import is_local
from gateway.monitors.api_key_file import ApiKeyFileMonitor
from gateway.settings import DEMO_KEY, Settings
from support.database import UNLIMITED, StartApi, change, wait_until_ready

JOBS = "/api/v1/cache/jobs"
# An address for documentation: it stands in headers, nothing is ever sent there.
ELSEWHERE = "192.0.2.7"
KEY = {"X-API-Key": DEMO_KEY}
REFUSED = {"success": False, "error": "The demo API key is accepted from this machine only"}


@web.middleware
async def behind_a_proxy(request: web.Request, handler: Any) -> web.StreamResponse:
    """What a host does that finds out who stands behind its proxy."""
    sent = request.headers.get("X-Forwarded-For")
    response: web.StreamResponse = await handler(request.clone(remote=sent) if sent else request)
    return response


async def start_host(aiohttp_client: Any, settings: Settings, **changes: Any) -> Any:
    host = web.Application(middlewares=[behind_a_proxy])
    host.add_subapp("/cache", create_app(change(settings, UNLIMITED | changes)))
    client = await aiohttp_client(host)
    await wait_until_ready(client, "/cache/api/v1/health")
    return client


async def test_inside_a_host_it_is_refused_to_other_machines(
    aiohttp_client: Any, database_settings: Settings
) -> None:
    client = await start_host(aiohttp_client, database_settings)
    assert (await client.get(f"/cache{JOBS}", headers=KEY)).status == 200
    response = await client.get(f"/cache{JOBS}", headers=KEY | {"X-Forwarded-For": ELSEWHERE})
    assert (response.status, await response.json()) == (401, REFUSED)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await client.ws_connect("/cache/ws", headers=KEY | {"X-Forwarded-For": ELSEWHERE})
    assert refused.value.status == 401


async def test_inside_a_host_it_opens_to_all_where_that_was_allowed(
    aiohttp_client: Any, database_settings: Settings
) -> None:
    client = await start_host(aiohttp_client, database_settings, allow_demo_key=True)
    response = await client.get(f"/cache{JOBS}", headers=KEY | {"X-Forwarded-For": ELSEWHERE})
    assert response.status == 200


async def test_a_key_of_our_own_opens_to_other_machines(
    aiohttp_client: Any, database_settings: Settings
) -> None:
    client = await start_host(aiohttp_client, database_settings, api_gateway_key="own")
    headers = {"X-API-Key": "own", "X-Forwarded-For": ELSEWHERE}
    assert (await client.get(f"/cache{JOBS}", headers=headers)).status == 200


async def test_a_key_file_that_holds_it_opens_to_this_machine_alone_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "api-gateway.json"
    path.write_text(json.dumps({"apiKey": DEMO_KEY}))
    api_keys = ApiKeys("own")
    await ApiKeyFileMonitor(str(path), api_keys).check_once()
    assert api_keys.authenticate(DEMO_KEY, "127.0.0.1", is_local=True)
    with pytest.raises(Unauthorized, match="this machine only"):
        api_keys.authenticate(DEMO_KEY, ELSEWHERE)
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "DEMO API KEY" in warning
    assert str(path) in warning


async def test_over_a_unix_socket_it_is_accepted(
    database_settings: Settings, public_folder: Path
) -> None:
    path = str(public_folder / "gateway.sock")
    runner = web.AppRunner(create_app(change(database_settings, UNLIMITED)))
    await runner.setup()
    await web.UnixSite(runner, path).start()
    connector = aiohttp.UnixConnector(path)
    async with aiohttp.ClientSession("http://gateway", connector=connector) as session:
        await wait_until_ready(session)  # type: ignore[arg-type]
        async with session.get(JOBS, headers=KEY) as response:
            assert response.status == 200
    await runner.cleanup()


@pytest.mark.parametrize(
    ("family", "peer", "remote", "expected"),
    [
        (socket.AF_INET, ("127.0.0.1", 5), "127.0.0.1", True),
        (socket.AF_INET, ("127.8.9.1", 5), "127.8.9.1", True),
        (socket.AF_INET6, ("::1", 5, 0, 0), "::1", True),
        (socket.AF_INET6, ("::ffff:127.0.0.1", 5, 0, 0), "::ffff:127.0.0.1", True),
        (socket.AF_INET6, ("::ffff:192.0.2.7", 5, 0, 0), "::ffff:192.0.2.7", False),
        (socket.AF_INET6, ("fe80::1%eth0", 5, 0, 2), "fe80::1%eth0", False),
        (socket.AF_INET, ("192.0.2.7", 5), "192.0.2.7", False),
        (socket.AF_INET, ("192.0.2.7", 5), "127.0.0.1", False),  # a forged header
        (socket.AF_INET, ("127.0.0.1", 5), "unknown", False),
        (socket.AF_INET, None, None, False),  # reset by now
        (socket.AF_UNIX, "", "", True),
        (socket.AF_UNIX, "", None, True),
        (socket.AF_UNIX, "", "192.0.2.7", False),
    ],
)
def test_local_is_who_comes_over_loopback(
    family: int, peer: Any, remote: str | None, expected: bool
) -> None:
    told = {"socket": SimpleNamespace(family=family), "peername": peer}
    request: Any = SimpleNamespace(
        transport=SimpleNamespace(get_extra_info=told.get),
        remote=remote,
        headers=CIMultiDict(Host="localhost:8095"),
    )
    assert is_local(request) is expected


def test_who_has_hung_up_is_nobody() -> None:
    request: Any = SimpleNamespace(transport=None, remote="127.0.0.1", headers=CIMultiDict())
    assert is_local(request) is False


@pytest.mark.parametrize("name", ["API_KEY", "GATEWAY_KEY", "GATEWAY_API_KEY"])
async def test_a_guessed_name_of_the_key_is_told_at_the_start(
    start_api: StartApi,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    monkeypatch.setenv(name, "a-secret")
    await start_api(api_gateway_key="own")
    assert name not in caplog.text
    await start_api()
    assert f"{name} is no setting of ours; the API key is API_GATEWAY_KEY" in caplog.text
    assert "a-secret" not in caplog.text
