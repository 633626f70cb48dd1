"""TeamCache gateway: cache jobs over REST, with progress in files and bytes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.app import create_app
    from gateway.client import (
        GatewayClient,
        GatewayClientError,
        GatewayUnreachable,
        SigningKey,
    )
    from gateway.settings import Settings

__all__ = [
    "GatewayClient",
    "GatewayClientError",
    "GatewayUnreachable",
    "Settings",
    "SigningKey",
    "create_app",
]


def __getattr__(name: str) -> Any:
    # Imported when it is used: the client needs nothing of the server.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room = {"Settings": "settings", "create_app": "app"}.get(name, "client")
    return getattr(importlib.import_module(f"{__name__}.{room}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
