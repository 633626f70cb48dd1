"""Typed keys of the application and of requests, for handlers, middleware and monitors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp import web

from gateway.auth.api_keys import ApiKeys
from gateway.auth.callers import Caller
from gateway.auth.jwks import JWKSet
from gateway.auth.key_store import KeyStore
from gateway.auth.nonce_cache import NonceCache
from gateway.auth.nonce_store import NonceStore
from gateway.auth.rate_limits import Limits
from gateway.auth.signatures import Signature, Signatures
from gateway.auth.token_bucket import Decision
from gateway.auth.tokens import Tokens
from gateway.database import Database
from gateway.database.readiness import Readiness
from gateway.errors import GatewayError
from gateway.events.hub import Hub
from gateway.events.job_publisher import JobEventPublisher
from gateway.events.send_buffer import SendBuffers
from gateway.index.path_resolver import PathResolver
from gateway.index.state import IndexState
from gateway.jobs.cache import JobCache
from gateway.jobs.files import JobFiles
from gateway.jobs.pages import JobPages
from gateway.jobs.store import JobStore
from gateway.jobs.submission import Submission
from gateway.logs.audit import AuditLog
from gateway.metrics.latest import Metrics
from gateway.metrics.prometheus import PrometheusMetrics
from gateway.net.addresses import TrustedProxies
from gateway.openapi.document import ApiDescription
from gateway.openapi.route import Route
from gateway.paths import Filespaces
from gateway.settings import Settings
from gateway.web import WebFile

RouteTable = Mapping[Callable[..., Any], Route]

REQUEST_ID: Final = web.RequestKey("REQUEST_ID", str)
CLIENT_ADDRESS: Final = web.RequestKey("CLIENT_ADDRESS", str)
CALLER: Final = web.RequestKey("CALLER", Caller)
DECISION: Final = web.RequestKey("DECISION", Decision)
SIGNATURE: Final = web.RequestKey("SIGNATURE", Signature)
BODY: Final = web.RequestKey("BODY", bytes)
NOTES: Final = web.RequestKey("NOTES", dict[str, Any])
REFUSAL: Final = web.RequestKey("REFUSAL", GatewayError)

SETTINGS: Final = web.AppKey("SETTINGS", Settings)
FILESPACES: Final = web.AppKey("FILESPACES", Filespaces)
DATABASE: Final = web.AppKey("DATABASE", Database)
READINESS: Final = web.AppKey("READINESS", Readiness)
JOB_STORE: Final = web.AppKey("JOB_STORE", JobStore)
JOB_PAGES: Final = web.AppKey("JOB_PAGES", JobPages)
JOB_FILES: Final = web.AppKey("JOB_FILES", JobFiles)
PATH_RESOLVER: Final = web.AppKey("PATH_RESOLVER", PathResolver)
SUBMISSION: Final = web.AppKey("SUBMISSION", Submission)
JOB_CACHE: Final = web.AppKey("JOB_CACHE", JobCache)
WEB_FILES: Final = web.AppKey[Mapping[str, WebFile]]("WEB_FILES", Mapping)
JOB_CANCELLED: Final = web.AppKey("JOB_CANCELLED", asyncio.Event)
INDEX_STATE: Final = web.AppKey("INDEX_STATE", IndexState)
METRICS: Final = web.AppKey("METRICS", Metrics)
HUB: Final = web.AppKey("HUB", Hub)
JOB_EVENTS: Final = web.AppKey("JOB_EVENTS", JobEventPublisher)
SEND_BUFFERS: Final = web.AppKey("SEND_BUFFERS", SendBuffers)
SOCKETS: Final = web.AppKey("SOCKETS", set[web.WebSocketResponse])
PROMETHEUS: Final = web.AppKey("PROMETHEUS", PrometheusMetrics)
TRUSTED_PROXIES: Final = web.AppKey("TRUSTED_PROXIES", TrustedProxies)
API_KEYS: Final = web.AppKey("API_KEYS", ApiKeys)
KEY_STORE: Final = web.AppKey("KEY_STORE", KeyStore)
JWKS: Final = web.AppKey("JWKS", JWKSet)
TOKENS: Final = web.AppKey("TOKENS", Tokens)
SIGNATURES: Final = web.AppKey("SIGNATURES", Signatures)
NONCE_CACHE: Final = web.AppKey("NONCE_CACHE", NonceCache)
NONCE_STORE: Final = web.AppKey("NONCE_STORE", NonceStore)
LIMITS: Final = web.AppKey("LIMITS", Limits)
DESCRIPTION: Final = web.AppKey("DESCRIPTION", ApiDescription)
AUDIT_LOG: Final = web.AppKey("AUDIT_LOG", AuditLog)
ROUTES: Final = web.AppKey("ROUTES", RouteTable)
