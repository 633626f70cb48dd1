"""Security headers of HTML pages."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import hdrs


def page_headers(content_security_policy: str) -> Mapping[str, str]:
    """The headers of a page: no framing, no referrer, no stale copy."""
    return {
        hdrs.CACHE_CONTROL: "no-cache",
        "Content-Security-Policy": content_security_policy,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
