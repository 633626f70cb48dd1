"""The TLS certificate and context of the gateway's listener."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

from cryptography import x509

from gateway.errors import GatewayError
from gateway.runtime.small_file import read_small_file

Files = tuple[bytes, bytes]

MINIMUM_TLS_VERSION: Final = ssl.TLSVersion.TLSv1_2


class CertificateRefused(GatewayError):
    """The certificate and the key cannot be used. The message says why."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A loaded certificate: ``files`` are the contents that ``context`` was made from."""

    files: Files
    context: ssl.SSLContext
    expires: datetime


class ServerCertificate:
    """A certificate chain and its key, two PEM files that may be replaced at any time.

    ``context`` is for a listener: each new handshake uses the certificate loaded last, and open
    connections are unaffected. Raises `CertificateRefused`.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self.certificate = certificate
        self._key = key
        self._current = self._load(self._read())
        self.context = _make_context(certificate, key)
        # Called in each handshake, with or without a server name.
        self.context.sni_callback = self._choose

    @property
    def expires(self) -> datetime:
        """When the certificate in use expires or has expired."""
        return self._current.expires

    def reload_if_changed(self) -> bool:
        """Load the files if they have changed; True if they had. Blocking.

        Raises `CertificateRefused` if they are invalid, or have expired while the certificate in
        use has not; that one stays in use.
        """
        files = self._read()
        if files == self._current.files:
            return False
        loaded, now = self._load(files), datetime.now(UTC)
        if loaded.expires <= now < self._current.expires:
            when = loaded.expires.strftime("%Y-%m-%d")
            raise CertificateRefused(f"The certificate in {self.certificate} expired on {when}")
        self._current = loaded
        return True

    def _choose(self, connection: ssl.SSLObject, *_: Any) -> None:
        # A new context, not a new certificate in this one: a mismatched pair would leave it without
        # any, and two files cannot be replaced atomically.
        connection.context = self._current.context

    def _read(self) -> Files:
        return _read(self.certificate, "certificate"), _read(self._key, "key")

    def _load(self, files: Files) -> _Loaded:
        try:
            leaf = x509.load_pem_x509_certificates(files[0])[0]
        except ValueError:
            raise CertificateRefused(f"{self.certificate} holds no certificate in PEM") from None
        return _Loaded(files, _make_context(self.certificate, self._key), leaf.not_valid_after_utc)


def _read(path: Path, what: str) -> bytes:
    if text := read_small_file(path):
        return text
    raise CertificateRefused(f"The TLS {what} cannot be read from {path}")


def _make_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = MINIMUM_TLS_VERSION
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])

    def refuse_to_ask() -> NoReturn:
        # Otherwise OpenSSL asks on the terminal.
        raise CertificateRefused(f"The key in {key} has a passphrase, which nobody can enter here")

    try:
        context.load_cert_chain(certificate, key, refuse_to_ask)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            reason = f"The key in {key} is not that of the certificate in {certificate}"
            raise CertificateRefused(reason) from None
        reason = f"{certificate} and {key} cannot be used together for TLS"
        raise CertificateRefused(f"{reason} ({error.reason or 'unknown reason'})") from None
    except OSError as error:
        raise CertificateRefused(f"The TLS files cannot be read: {error.strerror}") from None
    return context
