"""What the application holds, one typed key a line. Only the edge reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp import web

from gateway.audit import AuditLog
from gateway.auth import ApiKeys, Caller, Demand
from gateway.client_address import TrustedProxies
from gateway.database import Database
from gateway.events import Hub
from gateway.idempotency import Idempotency
from gateway.index_state import IndexState
from gateway.job_cache import JobCache
from gateway.job_counts import JobCounts
from gateway.job_files import JobFiles
from gateway.job_news import JobNews
from gateway.job_pages import JobPages
from gateway.job_store import JobStore
from gateway.key_store import KeyStore
from gateway.limits import Limits
from gateway.metrics import Metrics
from gateway.nonce_store import NonceStore
from gateway.openapi.document import ApiDescription
from gateway.outbox import Outboxes
from gateway.path_explainer import PathExplainer
from gateway.paths import Filespaces
from gateway.prometheus import PrometheusMetrics
from gateway.readiness import Readiness
from gateway.seen_nonces import SeenNonces
from gateway.settings import Settings
from gateway.signatures import Signature, Signatures
from gateway.signing_keys import SigningKeys
from gateway.submission import Submission
from gateway.token_bucket import Decision
from gateway.tokens import Tokens
from gateway.web import WebFile

EventTable = Mapping[Callable[..., Any], str]
AccessTable = Mapping[Callable[..., Any], Demand]

REQUEST_ID: Final = web.RequestKey("REQUEST_ID", str)
CLIENT_ADDRESS: Final = web.RequestKey("CLIENT_ADDRESS", str)
CALLER: Final = web.RequestKey("CALLER", Caller)
DECISION: Final = web.RequestKey("DECISION", Decision)
SIGNATURE: Final = web.RequestKey("SIGNATURE", Signature)
BODY: Final = web.RequestKey("BODY", bytes)
NOTES: Final = web.RequestKey("NOTES", dict[str, Any])

SETTINGS: Final = web.AppKey("SETTINGS", Settings)
FILESPACES: Final = web.AppKey("FILESPACES", Filespaces)
DATABASE: Final = web.AppKey("DATABASE", Database)
READINESS: Final = web.AppKey("READINESS", Readiness)
JOB_STORE: Final = web.AppKey("JOB_STORE", JobStore)
JOB_PAGES: Final = web.AppKey("JOB_PAGES", JobPages)
JOB_FILES: Final = web.AppKey("JOB_FILES", JobFiles)
PATH_EXPLAINER: Final = web.AppKey("PATH_EXPLAINER", PathExplainer)
SUBMISSION: Final = web.AppKey("SUBMISSION", Submission)
JOB_CACHE: Final = web.AppKey("JOB_CACHE", JobCache)
WEB_FILES: Final = web.AppKey[Mapping[str, WebFile]]("WEB_FILES", Mapping)
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
TRUSTED_PROXIES: Final = web.AppKey("TRUSTED_PROXIES", TrustedProxies)
API_KEYS: Final = web.AppKey("API_KEYS", ApiKeys)
KEY_STORE: Final = web.AppKey("KEY_STORE", KeyStore)
SIGNING_KEYS: Final = web.AppKey("SIGNING_KEYS", SigningKeys)
TOKENS: Final = web.AppKey("TOKENS", Tokens)
SIGNATURES: Final = web.AppKey("SIGNATURES", Signatures)
SEEN_NONCES: Final = web.AppKey("SEEN_NONCES", SeenNonces)
NONCE_STORE: Final = web.AppKey("NONCE_STORE", NonceStore)
LIMITS: Final = web.AppKey("LIMITS", Limits)
DESCRIPTION: Final = web.AppKey("DESCRIPTION", ApiDescription)
AUDIT_LOG: Final = web.AppKey("AUDIT_LOG", AuditLog)
EVENTS: Final = web.AppKey("EVENTS", EventTable)
ACCESS: Final = web.AppKey("ACCESS", AccessTable)
