"""What the application holds, one typed key a line. Only the edge reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp import web

from gateway.auth import Access, ApiKeys
from gateway.database import Database
from gateway.index_state import IndexState
from gateway.job_store import JobStore
from gateway.limits import Limits
from gateway.paths import Filespace
from gateway.readiness import Readiness
from gateway.settings import Settings
from gateway.submission import Submission

AccessTable = Mapping[Callable[..., Any], Access]

SETTINGS: Final = web.AppKey("SETTINGS", Settings)
FILESPACE: Final = web.AppKey("FILESPACE", Filespace)
DATABASE: Final = web.AppKey("DATABASE", Database)
READINESS: Final = web.AppKey("READINESS", Readiness)
JOB_STORE: Final = web.AppKey("JOB_STORE", JobStore)
SUBMISSION: Final = web.AppKey("SUBMISSION", Submission)
JOB_CANCELLED: Final = web.AppKey("JOB_CANCELLED", asyncio.Event)
INDEX_STATE: Final = web.AppKey("INDEX_STATE", IndexState)
API_KEYS: Final = web.AppKey("API_KEYS", ApiKeys)
LIMITS: Final = web.AppKey("LIMITS", Limits)
ACCESS: Final = web.AppKey("ACCESS", AccessTable)
