"""What every page for browsers says beside its content."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import hdrs


def page_headers(content_security_policy: str) -> Mapping[str, str]:
    """The headers of a page that nobody may frame, and that tells nobody where it was read."""
    return {
        hdrs.CACHE_CONTROL: "no-cache",
        "Content-Security-Policy": content_security_policy,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
