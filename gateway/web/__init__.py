"""The dashboard's page: static files, and what is read of them at the start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from importlib.resources import files
from types import MappingProxyType
from typing import Final

CONTENT_TYPES: Final = MappingProxyType(
    {
        "html": "text/html",
        "css": "text/css",
        "js": "text/javascript",
        "svg": "image/svg+xml",
    }
)


@dataclass(frozen=True, slots=True)
class WebFile:
    """A file as it is served: UTF-8 bytes, their content type, and a tag of them."""

    body: bytes
    content_type: str
    tag: str


def load_web_files() -> Mapping[str, WebFile]:
    """Every file of the page by its name, as the package brings it."""
    return {
        entry.name: _make(entry.read_bytes(), CONTENT_TYPES[kind])
        for entry in files(__name__).iterdir()
        if (kind := entry.name.rpartition(".")[2]) in CONTENT_TYPES
    }


def _make(body: bytes, content_type: str) -> WebFile:
    return WebFile(body, content_type, blake2b(body, digest_size=12).hexdigest())
