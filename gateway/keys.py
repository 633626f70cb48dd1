"""What the application holds, one typed key a line. Only the edge reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp import web

from gateway.auth import Access, ApiKeys, Caller
from gateway.database import Database
from gateway.events import Hub
from gateway.idempotency import Idempotency
from gateway.index_state import IndexState
from gateway.job_cache import JobCache
from gateway.job_counts import JobCounts
from gateway.job_files import JobFiles
from gateway.job_news import JobNews
from gateway.job_store import JobStore
from gateway.limits import Limits
from gateway.metrics import Metrics
from gateway.openapi.document import ApiDescription
from gateway.outbox import Outboxes
from gateway.paths import Filespaces
from gateway.prometheus import PrometheusMetrics
from gateway.readiness import Readiness
from gateway.settings import Settings
from gateway.submission import Submission
from gateway.token_bucket import Decision

AccessTable = Mapping[Callable[..., Any], Access]

REQUEST_ID: Final = web.RequestKey("REQUEST_ID", str)
CALLER: Final = web.RequestKey("CALLER", Caller)
DECISION: Final = web.RequestKey("DECISION", Decision)

SETTINGS: Final = web.AppKey("SETTINGS", Settings)
FILESPACES: Final = web.AppKey("FILESPACES", Filespaces)
DATABASE: Final = web.AppKey("DATABASE", Database)
READINESS: Final = web.AppKey("READINESS", Readiness)
JOB_STORE: Final = web.AppKey("JOB_STORE", JobStore)
JOB_FILES: Final = web.AppKey("JOB_FILES", JobFiles)
SUBMISSION: Final = web.AppKey("SUBMISSION", Submission)
JOB_CACHE: Final = web.AppKey("JOB_CACHE", JobCache)
JOB_CANCELLED: Final = web.AppKey("JOB_CANCELLED", asyncio.Event)
IDEMPOTENCY: Final = web.AppKey("IDEMPOTENCY", Idempotency)
INDEX_STATE: Final = web.AppKey("INDEX_STATE", IndexState)
METRICS: Final = web.AppKey("METRICS", Metrics)
HUB: Final = web.AppKey("HUB", Hub)
JOB_NEWS: Final = web.AppKey("JOB_NEWS", JobNews)
OUTBOXES: Final = web.AppKey("OUTBOXES", Outboxes)
SOCKETS: Final = web.AppKey("SOCKETS", set[web.WebSocketResponse])
PROMETHEUS: Final = web.AppKey("PROMETHEUS", PrometheusMetrics)
JOB_COUNTS: Final = web.AppKey("JOB_COUNTS", JobCounts)
API_KEYS: Final = web.AppKey("API_KEYS", ApiKeys)
LIMITS: Final = web.AppKey("LIMITS", Limits)
DESCRIPTION: Final = web.AppKey("DESCRIPTION", ApiDescription)
ACCESS: Final = web.AppKey("ACCESS", AccessTable)
