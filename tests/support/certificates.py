"""Certificates made for a test, and gateways that show them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from gateway.app import create_app
from gateway.http import app_keys
from gateway.server.listener import serve
from gateway.settings import Settings


@dataclass(frozen=True)
class Pair:
    """A certificate that signs itself, and its key, as PEM."""

    certificate: bytes
    key: bytes

    @property
    def trust(self) -> ssl.SSLContext:
        """Believes this certificate, and no other."""
        return ssl.create_default_context(cadata=self.certificate.decode())

    def write(self, folder: Path) -> None:
        (folder / "tls.crt").write_bytes(self.certificate)
        (folder / "tls.key").write_bytes(self.key)


def make_pair(name: str = "gateway", days: float = 90, passphrase: bytes | None = None) -> Pair:
    """A pair for localhost that expires in ``days``, or has expired if that is negative."""
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    places = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder(named, named, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=365))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(places), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    protection = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return Pair(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection),
    )


def tls_settings(folder: Path, **changes: Any) -> Settings:
    """Settings for the pair in ``folder``, on any port, with a database that is away."""
    files = {"tls_certificate": str(folder / "tls.crt"), "tls_key": str(folder / "tls.key")}
    return Settings(**({"db_host": "/nowhere", "api_gateway_port": 0} | files | changes))


@asynccontextmanager
async def serving(settings: Settings, is_ready: bool = True) -> AsyncIterator[tuple[str, Any]]:
    """A gateway that is served as in production; gives its URL and the application."""
    app = create_app(settings)
    if is_ready:
        app[app_keys.READINESS].check = lambda: None  # type: ignore[method-assign]
    stop, listening = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(app, settings, stop, listening.set_result))
    await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    yield listening.result(), app
    stop.set()
    await task
