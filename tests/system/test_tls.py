"""HTTPS by our own listener: real certificates, real handshakes, and files that are renewed."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop
from cryptography import x509

from gateway.errors import SettingsError
from gateway.monitors.certificate import CertificateMonitor
from gateway.monitors.loop import running
from gateway.net.certificate import CertificateRefused, ServerCertificate
from gateway.settings import Settings
from support.certificates import Pair, make_pair, serving, tls_settings
from support.processes import environment, run_command

PATIENCE = 30.0
KEY = {"X-API-Key": "demo-api-key-2024"}


LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on each loop that a gateway runs on: either has a TLS of its own."""

    def run_test(loop: str, **arguments: Any) -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(test(**arguments))

    signature = inspect.signature(test)
    loop = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    run_test.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), loop], return_annotation=None
    )
    run_test.__name__ = test.__name__
    run_test.pytestmark = getattr(test, "pytestmark", [])  # type: ignore[attr-defined]
    return pytest.mark.parametrize("loop", LOOPS)(run_test)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    made = make_pair("first")
    made.write(tmp_path)
    return made


@pytest.fixture
def certificate(pair: Pair, tmp_path: Path) -> ServerCertificate:
    return ServerCertificate(tmp_path / "tls.crt", tmp_path / "tls.key")


async def shown_at(url: str, name: str | None = "localhost") -> str:
    """Shake hands anew; gives the common name of the certificate that is shown."""
    host, _, port = url.removeprefix("https://").rpartition(":")
    blind = ssl.create_default_context()
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    async with asyncio.timeout(PATIENCE):
        _, writer = await asyncio.open_connection(host, int(port), ssl=blind, server_hostname=name)
    try:
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.transport.abort()
    parsed = x509.load_der_x509_certificate(der)
    return str(parsed.subject.rdns[0].rfc4514_string().removeprefix("CN="))


@on_both_loops
async def test_the_gateway_is_reached_at_the_https_url_that_it_tells(
    pair: Pair, tmp_path: Path
) -> None:
    async with serving(tls_settings(tmp_path)) as (url, _), aiohttp.ClientSession() as session:
        assert url.startswith("https://127.0.0.1:")
        async with session.get(f"{url}/livez", ssl=pair.trust) as response:
            assert response.status == 200
            assert response.headers["Strict-Transport-Security"] == "max-age=31536000"
            assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_errors_keep_browsers_to_https_too_and_zero_does_not(
    pair: Pair, tmp_path: Path
) -> None:
    for seconds, expected in ((60, "max-age=60"), (0, None)):
        settings = tls_settings(tmp_path, hsts_max_age=seconds)
        async with serving(settings) as (url, _), aiohttp.ClientSession() as session:
            for path in ("/nothing", "/api/v1/cache/jobs", "/docs"):
                async with session.get(f"{url}{path}", ssl=pair.trust) as response:
                    assert response.headers.get("Strict-Transport-Security") == expected, path


async def test_plain_http_does_not_speak_of_https() -> None:
    settings = Settings(db_host="/nowhere", api_gateway_port=0)
    async with (
        serving(settings) as (url, _),
        aiohttp.ClientSession() as session,
        session.get(f"{url}/livez") as response,
    ):
        assert "Strict-Transport-Security" not in response.headers


@on_both_loops
async def test_a_websocket_goes_along_tls_and_the_demo_key_counts_as_local(
    pair: Pair, tmp_path: Path
) -> None:
    async with (
        serving(tls_settings(tmp_path)) as (url, _),
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}/ws", ssl=pair.trust, headers=KEY) as socket,
    ):
        assert (await socket.receive_json(timeout=PATIENCE))["type"] == "metrics"
        await socket.send_json({"type": "ping"})
        assert (await socket.receive_json(timeout=PATIENCE))["type"] == "pong"


@on_both_loops
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_current_versions_are_spoken(
    pair: Pair, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    trust = pair.trust
    trust.minimum_version = trust.maximum_version = version
    async with (
        serving(tls_settings(tmp_path)) as (url, _),
        aiohttp.ClientSession() as session,
        session.get(f"{url}/livez", ssl=trust) as response,
    ):
        assert response.status == 200


@on_both_loops
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
async def test_an_old_version_is_refused(pair: Pair, tmp_path: Path) -> None:
    old = pair.trust
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serving(tls_settings(tmp_path)) as (url, _), aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"{url}/livez", ssl=old)


@on_both_loops
@pytest.mark.parametrize("name", ["localhost", ""], ids=["a name", "no name"])
async def test_a_new_pair_is_shown_without_a_restart_and_open_connections_stay(
    pair: Pair, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CertificateMonitor, "interval", 0.01)
    async with (
        serving(tls_settings(tmp_path)) as (url, _),
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}/ws", ssl=pair.trust) as socket,
    ):
        assert await shown_at(url, name) == "first"
        make_pair("second").write(tmp_path)
        async with asyncio.timeout(PATIENCE):
            while await shown_at(url, name) != "second":
                pass
        assert (await socket.receive_json(timeout=PATIENCE))["type"] == "metrics"
        await socket.send_json({"type": "ping"})
        assert (await socket.receive_json(timeout=PATIENCE))["type"] == "pong"


def mismatched(folder: Path) -> None:
    (folder / "tls.key").write_bytes(make_pair().key)


def garbage(folder: Path) -> None:
    (folder / "tls.crt").write_bytes(b"\x00not a certificate\n" * 50)


def garbled_key(folder: Path) -> None:
    lines = make_pair().key.splitlines(keepends=True)
    (folder / "tls.key").write_bytes(b"".join([lines[0], b"AAAA\n", lines[-1]]))


def swapped(folder: Path) -> None:
    certificate, key = folder / "tls.crt", folder / "tls.key"
    first, second = certificate.read_bytes(), key.read_bytes()
    certificate.write_bytes(second)
    key.write_bytes(first)


def empty(folder: Path) -> None:
    (folder / "tls.crt").write_bytes(b"")


def huge(folder: Path) -> None:
    (folder / "tls.crt").write_bytes(b"x" * 1_000_000)


def gone(folder: Path) -> None:
    (folder / "tls.key").unlink()


def a_pipe(folder: Path) -> None:
    gone(folder)
    os.mkfifo(folder / "tls.key")


def with_a_passphrase(folder: Path) -> None:
    make_pair(passphrase=b"secret").write(folder)


DEFECTS = {
    mismatched: "is not that of the certificate in",
    garbage: "holds no certificate in PEM",
    garbled_key: "cannot be used together for TLS",
    swapped: "holds no certificate in PEM",
    empty: "The TLS certificate cannot be read from",
    huge: "The TLS certificate cannot be read from",
    gone: "The TLS key cannot be read from",
    a_pipe: "The TLS key cannot be read from",
    with_a_passphrase: "has a passphrase",
}
each_defect = pytest.mark.parametrize(
    ("spoil", "says"), DEFECTS.items(), ids=[spoil.__name__ for spoil in DEFECTS]
)


@each_defect
def test_a_pair_that_cannot_be_used_stops_the_start_with_one_line(
    pair: Pair, tmp_path: Path, spoil: Any, says: str
) -> None:
    spoil(tmp_path)
    with pytest.raises(CertificateRefused, match=says) as caught:
        ServerCertificate(tmp_path / "tls.crt", tmp_path / "tls.key")
    assert "\n" not in caught.value.message


@each_defect
async def test_a_new_pair_that_cannot_be_used_leaves_the_last_good_one(
    pair: Pair, certificate: ServerCertificate, tmp_path: Path, spoil: Any, says: str
) -> None:
    spoil(tmp_path)
    monitor = CertificateMonitor(certificate)
    for _ in range(2):  # for as long as it cannot be used
        with pytest.raises(CertificateRefused, match=f"{says}.*the last good one stays in use"):
            await monitor.check_once()
    assert handshake(certificate, pair.trust)
    good = make_pair("good")
    (tmp_path / "tls.key").unlink(missing_ok=True)
    good.write(tmp_path)
    await monitor.check_once()
    assert handshake(certificate, good.trust)


def handshake(certificate: ServerCertificate, trust: ssl.SSLContext) -> bool:
    """Shake hands in memory; raises if the client does not believe."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = certificate.context.wrap_bio(there, back, server_side=True)
    client = trust.wrap_bio(back, there, server_hostname="localhost")
    waiting = [client, server]
    while waiting:
        side = waiting.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(side)
    return True


def test_an_expired_pair_does_not_take_the_place_of_one_that_holds(
    pair: Pair, certificate: ServerCertificate, tmp_path: Path
) -> None:
    make_pair("expired", days=-1).write(tmp_path)
    with pytest.raises(CertificateRefused, match="expired on"):
        certificate.reload_if_changed()
    assert handshake(certificate, pair.trust)


async def test_an_expired_certificate_serves_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_pair(days=-1).write(tmp_path)
    monitor = CertificateMonitor(ServerCertificate(tmp_path / "tls.crt", tmp_path / "tls.key"))
    await monitor.check_once()
    assert "the TLS certificate in use EXPIRED on" in caplog.text


async def test_a_certificate_that_is_not_renewed_is_warned_of_once_a_day(
    certificate: ServerCertificate, caplog: pytest.LogCaptureFixture
) -> None:
    now = [datetime.now(UTC)]
    monitor = CertificateMonitor(certificate, lambda: now[0])
    warnings = []
    for days in (0, 80, 80.5, 81.2):
        now[0] = certificate.expires - timedelta(days=90 - days)
        await monitor.check_once()
        warnings.append(caplog.text.count("expires on"))
    assert warnings == [0, 1, 1, 2]


class Counting(CertificateMonitor):
    """Looks all the time, and counts."""

    interval = 0.001
    checks = 0

    async def check_once(self) -> bool:
        self.checks += 1
        return await super().check_once()


async def test_what_is_wrong_with_a_new_pair_is_logged_once(
    pair: Pair,
    certificate: ServerCertificate,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    monitor = Counting(certificate)
    garbage(tmp_path)
    async with asyncio.timeout(PATIENCE), running(monitor):
        while monitor.checks < 3:
            await asyncio.sleep(0.001)
        make_pair("renewed").write(tmp_path)
        while "certificate was taken" not in caplog.text:
            await asyncio.sleep(0.001)
    assert caplog.text.count("the last good one stays in use") == 1
    assert "Traceback" not in caplog.text


@on_both_loops
@pytest.mark.parametrize(
    "sent",
    [b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", b"", b"\x16\x03\x01\x00\x05hello", b"\x00" * 5000],
    ids=["HTTP", "nothing", "half a hello", "zeros"],
)
async def test_what_is_no_tls_is_hung_up_on_without_a_traceback(
    pair: Pair, tmp_path: Path, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tls_settings(tmp_path)) as (url, _), aiohttp.ClientSession() as session:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(sent)
        writer.write_eof()
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionError):
                await reader.read()
        writer.close()
        async with session.get(f"{url}/livez", ssl=pair.trust) as response:
            assert response.status == 200
    said = [one for one in caplog.records if one.exc_info or one.levelno >= logging.ERROR]
    assert said == []


@pytest.mark.parametrize("half", ["TLS_CERTIFICATE", "TLS_KEY"])
def test_half_a_pair_is_no_setting(half: str) -> None:
    with pytest.raises(SettingsError, match="tls_certificate and tls_key must be given together"):
        Settings.load(environ={half: "/some/file.pem"})


async def test_serve_ends_with_one_line_if_the_pair_does_not_fit(tmp_path: Path) -> None:
    make_pair().write(tmp_path)
    mismatched(tmp_path)
    env = environment(
        TLS_CERTIFICATE=str(tmp_path / "tls.crt"), TLS_KEY=str(tmp_path / "tls.key"),
        API_GATEWAY_KEY="a-key-of-our-own", API_GATEWAY_PORT="0", DB_HOST="/nowhere",
    )  # fmt: skip
    code, output, errors = await run_command("serve", env=env, cwd=tmp_path)
    assert (code, output) == (1, "")
    [line] = errors
    assert line.startswith("Error: The key in ")
