"""Watches the files of the TLS certificate, which other programs renew."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.monitors.loop import Monitor
from gateway.net.certificate import CertificateRefused, ServerCertificate

log = logging.getLogger(__name__)

# Automatic renewal happens earlier.
WARN_BEFORE: Final = timedelta(days=14)
WARN_EVERY: Final = timedelta(days=1)


def _now() -> datetime:
    return datetime.now(UTC)


class CertificateMonitor(Monitor):
    """Loads new files if they are valid; otherwise the last good certificate stays."""

    name = "certificate"
    interval = 2.0

    def __init__(self, certificate: ServerCertificate, now: Callable[[], datetime] = _now) -> None:
        super().__init__()
        self._certificate = certificate
        self._now = now
        self._warned_at: datetime | None = None

    async def check_once(self) -> bool:
        """Check the files. Raises `CertificateRefused` while they cannot be used."""
        self._warn_of_expiry()
        try:
            is_new = await asyncio.to_thread(self._certificate.reload_if_changed)
        except CertificateRefused as error:
            raise CertificateRefused(f"{error.message}; the last good one stays in use") from None
        if is_new:
            log.info(
                "the TLS certificate was taken from %s, it holds until %s",
                *(self._certificate.certificate, self._certificate.expires.date()),
            )
            self._warned_at = None
        return False

    def _warn_of_expiry(self) -> None:
        expires, now = self._certificate.expires, self._now()
        if expires - now > WARN_BEFORE:
            return
        if self._warned_at is None or now - self._warned_at >= WARN_EVERY:
            self._warned_at = now
            verb = "expires" if expires > now else "EXPIRED"
            log.warning("the TLS certificate in use %s on %s", verb, expires.date())
