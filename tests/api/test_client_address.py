"""Whose X-Forwarded-For counts, and what it may and may not do."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from gateway.app import create_app
from gateway.auth.rate_limits import Limits
from gateway.errors import SettingsError
from gateway.net.addresses import (
    TrustedProxies,
    is_loopback_chain,
    rate_limit_network,
    read_address,
)
from gateway.settings import DEMO_KEY, Settings
from support.certificates import serving
from support.database import UNLIMITED, StartApi, change, wait_until_ready

JOBS = "/api/v1/cache/jobs"
KEY = {"X-API-Key": DEMO_KEY}
PROXIES = TrustedProxies.parse(["10.0.0.0/8", "2001:db8::/32", "127.0.0.1"])
STRANGER = "192.0.2.7"


@pytest.mark.parametrize(
    ("peer", "lines", "client"),
    [
        (STRANGER, ["198.51.100.1"], STRANGER),
        (STRANGER, ["127.0.0.1", "10.0.0.1"], STRANGER),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [STRANGER], STRANGER),
        ("10.0.0.1", [f"127.0.0.1, {STRANGER}"], STRANGER),
        ("10.0.0.1", ["198.51.100.1", f"{STRANGER},10.9.9.9"], STRANGER),
        ("10.0.0.1", [f"198.51.100.1, {STRANGER}", " 10.2.2.2 ", "2001:db8::1"], STRANGER),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("::ffff:10.0.0.1", [f"::ffff:{STRANGER}"], STRANGER),
        ("2001:db8::5", ["2001:DB9:0:0::1"], "2001:db9::1"),
        ("10.0.0.1", [f"{STRANGER}:5123"], STRANGER),
        ("10.0.0.1", ["[2001:db9::1]:5123"], "2001:db9::1"),
        ("10.0.0.1", ["[2001:db9::1]"], "2001:db9::1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", [f"{STRANGER},"], "10.0.0.1"),
        ("10.0.0.1", [f"{STRANGER}, <script>, 10.0.0.2"], "10.0.0.1"),
        ("10.0.0.1", [f"garbage, {STRANGER}"], STRANGER),
        ("10.0.0.1", ["127.0.0.1.evil.example"], "10.0.0.1"),
        ("10.0.0.1", ["0x7f.1"], "10.0.0.1"),
        ("10.0.0.1", ["127.1"], "10.0.0.1"),
        ("unknown", [STRANGER], "unknown"),
        ("", [STRANGER], ""),
    ],
)
def test_the_client_is_the_last_one_who_is_no_trusted_proxy(
    peer: str, lines: Sequence[str], client: str
) -> None:
    assert PROXIES.client_of(peer, lines) == client


def test_nobody_is_trusted_unless_told() -> None:
    nobody = TrustedProxies.parse([])
    assert nobody.client_of("127.0.0.1", [STRANGER]) == "127.0.0.1"
    assert not nobody.trusts("127.0.0.1")


@given(st.lists(st.text(max_size=60), max_size=5))
def test_whatever_a_stranger_writes_he_stays_who_he_is(lines: list[str]) -> None:
    assert PROXIES.client_of(STRANGER, lines) == STRANGER
    assert PROXIES.client_of("10.0.0.1", [*lines, STRANGER]) == STRANGER


@given(st.lists(st.text(max_size=60), max_size=5))
def test_whatever_stands_there_an_address_comes_out(lines: list[str]) -> None:
    assert read_address(PROXIES.client_of("10.0.0.1", lines)) is not None


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], True),
        (["127.0.0.1"], True),
        (["::1, 127.0.0.2", "::ffff:127.0.0.1"], True),
        ([STRANGER], False),
        ([f"{STRANGER}, 127.0.0.1"], False),
        ([f"127.0.0.1, {STRANGER}"], False),
        (["unknown"], False),
        ([""], False),
    ],
)
def test_only_loopback_all_the_way_is_local(lines: Sequence[str], expected: bool) -> None:
    assert is_loopback_chain(lines) is expected


@pytest.mark.parametrize(
    "text", ["0.0.0.0/0", "::/0", "10.0.0.1/8", "proxy.example", "10.0.0.0/33", "10.0.0.1-5", "*"]
)
def test_what_is_no_network_stops_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match="TRUSTED_PROXIES"):
        Settings.load(environ={"TRUSTED_PROXIES": f"127.0.0.1, {text}"})


async def statuses(api: Any, times: int, headers: Sequence[dict[str, str]]) -> list[int]:
    return [
        (await api.get(JOBS, headers={"X-API-Key": "own"} | headers[number % len(headers)])).status
        for number in range(times)
    ]


FIRST, SECOND = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}


@pytest.mark.usefixtures("still_clock")
async def test_behind_a_trusted_proxy_each_client_has_its_own_limit(start_api: StartApi) -> None:
    api = await start_api(
        api_gateway_key="own", rate_limit_per_minute=2, trusted_proxies="127.0.0.1"
    )
    assert await statuses(api, 4, [FIRST, SECOND]) == [200] * 4
    assert await statuses(api, 2, [FIRST, SECOND]) == [429] * 2


@pytest.mark.usefixtures("still_clock")
async def test_a_stranger_does_not_get_more_by_inventing_addresses(start_api: StartApi) -> None:
    api = await start_api(
        api_gateway_key="own", rate_limit_per_minute=2, trusted_proxies="10.0.0.0/8"
    )
    invented = [{"X-Forwarded-For": f"192.0.2.{number}"} for number in range(4)]
    assert await statuses(api, 4, invented) == [200, 200, 429, 429]


@pytest.mark.usefixtures("still_clock")
async def test_wrong_keys_are_counted_per_client_behind_a_trusted_proxy(
    start_api: StartApi,
) -> None:
    api = await start_api(trusted_proxies="127.0.0.1")
    wrong = {"X-API-Key": "wrong"}
    tried = [(await api.get(JOBS, headers=wrong | FIRST)).status for _ in range(11)]
    assert tried == [401] * 10 + [429]
    assert (await api.get(JOBS, headers=wrong | SECOND)).status == 401


@pytest.mark.parametrize("trusted", ["", "127.0.0.1"], ids=["untrusted", "trusted"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"X-Forwarded-For": "127.0.0.1"}, 200),
        ({"X-Forwarded-For": STRANGER}, 401),
        ({"X-Forwarded-For": f"127.0.0.1, {STRANGER}"}, 401),
        ({"X-Forwarded-For": f"{STRANGER}, 127.0.0.1"}, 401),
        ({"X-Forwarded-For": "unknown"}, 401),
        ({"X-Real-IP": STRANGER}, 401),
        ({"Forwarded": f"for={STRANGER}"}, 401),
    ],
)
async def test_through_a_proxy_on_this_machine_the_demo_key_does_not_open_to_strangers(
    start_shared_api: StartApi, trusted: str, headers: dict[str, str], status: int
) -> None:
    api = await start_shared_api(trusted_proxies=trusted)
    assert (await api.get(JOBS, headers=headers)).status == status
    if status == 200:
        async with api.ws_connect("/ws", headers=KEY | headers):
            return
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await api.ws_connect("/ws", headers=KEY | headers)
    assert refused.value.status == 401


async def test_the_access_log_names_the_client(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aiohttp.access")
    settings = Settings(db_host="/nowhere", api_gateway_port=0, trusted_proxies=("127.0.0.1",))
    async with (
        serving(settings) as (url, _),
        aiohttp.ClientSession() as session,
        session.get(f"{url}/livez", headers=FIRST) as response,
    ):
        assert response.status == 200
    [line] = [one.getMessage() for one in caplog.records if one.name == "aiohttp.access"]
    assert line.startswith("192.0.2.1 GET /livez 200")


@web.middleware
async def told_by_a_host(request: web.Request, handler: Any) -> web.StreamResponse:
    response: web.StreamResponse = await handler(
        request.clone(remote=request.headers["X-Host-Says"])
    )
    return response


@pytest.mark.parametrize("trusted", [(), ("10.0.0.0/8",)])
@pytest.mark.usefixtures("still_clock")
async def test_whom_a_host_has_found_out_is_the_client(
    aiohttp_client: Any, database_settings: Settings, trusted: tuple[str, ...]
) -> None:
    changes = UNLIMITED | {"api_gateway_key": "own", "rate_limit_per_minute": 1}
    app = create_app(change(database_settings, changes | {"trusted_proxies": trusted}))
    host = web.Application(middlewares=[told_by_a_host])
    host.add_subapp("/cache", app)
    client = await aiohttp_client(host, headers={"X-API-Key": "own", "X-Host-Says": "192.0.2.1"})
    await wait_until_ready(client, "/cache/api/v1/health")
    spoofed = {"X-Forwarded-For": "192.0.2.99"}
    assert (await client.get(f"/cache{JOBS}")).status == 200
    assert (await client.get(f"/cache{JOBS}", headers=spoofed)).status == 429
    other = {"X-Host-Says": "192.0.2.2"}
    assert (await client.get(f"/cache{JOBS}", headers=other)).status == 200


@pytest.mark.parametrize(
    ("trusted", "proto", "expected"),
    [
        (("127.0.0.1",), "https", True),
        (("127.0.0.1",), "http, HTTPS", True),
        (("127.0.0.1",), "https, http", False),
        (("127.0.0.1",), "http", False),
        (("127.0.0.1",), None, False),
        (("10.0.0.1",), "https", False),
        ((), "https", False),
    ],
)
async def test_a_trusted_proxy_says_that_the_client_came_by_https(
    trusted: tuple[str, ...], proto: str | None, expected: bool
) -> None:
    settings = Settings(db_host="/nowhere", api_gateway_port=0, trusted_proxies=trusted)
    headers = {"X-Forwarded-Proto": proto} if proto else {}
    async with (
        serving(settings) as (url, _),
        aiohttp.ClientSession() as session,
        session.get(f"{url}/livez", headers=headers) as response,
    ):
        assert ("Strict-Transport-Security" in response.headers) is expected


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("", ""),
        ("no address", "no address"),
    ],
)
def test_a_network_of_64_bits_counts_as_one_machine(address: str, counted: str) -> None:
    assert rate_limit_network(address) == counted


def test_wrong_keys_from_one_network_draw_from_one_bucket() -> None:
    limits = Limits(Settings(), lambda: 0.0)
    draws = [limits.draw_for_bad_key(f"2001:db8::{number:x}") for number in range(11)]
    assert [draw is not None and draw.allowed for draw in draws] == [True] * 10 + [False]
