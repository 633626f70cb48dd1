"""Builds the application: its collaborators, routes and monitors."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

from aiohttp import web

from gateway.auth.access import Access
from gateway.auth.api_keys import ApiKeys
from gateway.auth.callers import Scope
from gateway.auth.jwks import JWKSet
from gateway.auth.key_store import KeyStore
from gateway.auth.nonce_cache import NonceCache
from gateway.auth.nonce_store import NonceStore
from gateway.auth.rate_limits import Limits
from gateway.auth.signatures import Signatures
from gateway.auth.tokens import TokenRules, Tokens
from gateway.database import Database
from gateway.database.readiness import Readiness
from gateway.database.sql import load_queries
from gateway.events.hub import Hub
from gateway.events.job_publisher import JobEventPublisher
from gateway.events.send_buffer import SendBuffers
from gateway.handlers import api_docs, dashboard, health, job_files, jobs, metrics, paths, websocket
from gateway.http import app_keys
from gateway.http.cors import open_to_origins
from gateway.http.idempotency_key import IDEMPOTENCY_KEY
from gateway.http.middleware import main_middleware
from gateway.http.request_body import expect
from gateway.index.path_lookup import PathLookup
from gateway.index.path_resolver import PathResolver
from gateway.index.state import IndexState
from gateway.jobs.cache import JobCache
from gateway.jobs.files import JobFiles
from gateway.jobs.idempotency import Idempotency
from gateway.jobs.pages import JobPages
from gateway.jobs.store import JobStore
from gateway.jobs.submission import Submission
from gateway.logs.audit import AuditLog
from gateway.metrics.latest import Metrics
from gateway.metrics.prometheus import TEXT_FORMATS, PrometheusMetrics
from gateway.monitors.allowed_paths import AllowedPathsMonitor
from gateway.monitors.api_key_file import ApiKeyFileMonitor
from gateway.monitors.api_keys import ApiKeysMonitor
from gateway.monitors.backend import BackendMonitor
from gateway.monitors.cancelled_items import CancelItemsMonitor
from gateway.monitors.job_events import JobEventsMonitor
from gateway.monitors.jwks import signing_keys_monitor
from gateway.monitors.loop import Monitor, running
from gateway.monitors.purge import PurgeMonitor
from gateway.monitors.s3 import S3Monitor
from gateway.monitors.schema import SchemaMonitor
from gateway.monitors.send_buffers import SendBuffersMonitor
from gateway.monitors.worker_limit import WorkerLimitMonitor
from gateway.mount.mount import Mount
from gateway.net.addresses import TrustedProxies
from gateway.openapi.document import ApiDescription
from gateway.openapi.headers import TAGGED
from gateway.openapi.parameters import IF_NONE_MATCH
from gateway.openapi.route import Answer, Route
from gateway.schemas.messages import FROM_CLIENT, FROM_GATEWAY
from gateway.schemas.responses import (
    Alive,
    Health,
    JobCancelled,
    JobCreated,
    JobFilesListed,
    JobFound,
    JobsListed,
    MetricsReport,
    PathsResolved,
    S3Report,
    UnhealthyResponse,
)
from gateway.settings import Settings
from gateway.settings.filespaces import make_filespaces
from gateway.settings.sources import guessed_key_name
from gateway.web import load_web_files
from gateway.worker.throttle_store import ThrottleStore

log = logging.getLogger(__name__)


# Any text is accepted as an id, and validated later: aiohttp's default pattern excludes braces.
JOB = "/api/v1/cache/jobs/{job_id:[^/]+}"

# A line serves and describes a route, see `Route`: in addition to its answers and its own errors
# (`refusals`) it names the `scope` that a key must have, and what the handler reads: `query` and
# `headers` (declared in its module, which reads by the same declaration), and `body`. Summary and
# text are the handler's docstring, written for callers. A page for browsers or its file says
# is_page=True, and no more.
ROUTES = (
    Route("GET", "/livez", health.livez, Access.PUBLIC, (Answer(Alive),)),
    Route("GET", "/api/v1/health", health.health, Access.PUBLIC,
          (Answer(Health), Answer(UnhealthyResponse, 503))),
    Route("POST", "/api/v1/cache/jobs", jobs.create, Access.REQUEST,
          (Answer(JobCreated, 201, headers=("Location", "Idempotency-Replayed")),),
          refusals=(409, 422), scope=Scope.JOBS_WRITE, event="job.create",
          headers=(IDEMPOTENCY_KEY,), body=jobs.NewJob),
    Route("GET", "/api/v1/cache/jobs", jobs.list_, Access.REQUEST,
          (Answer(JobsListed),), scope=Scope.JOBS_READ, query=jobs.LIST_QUERY),
    Route("GET", JOB, jobs.get, Access.POLL,
          (Answer(JobFound, headers=TAGGED), Answer(status=304, headers=TAGGED)),
          refusals=(400, 404), scope=Scope.JOBS_READ, headers=(IF_NONE_MATCH,), name="job"),
    Route("DELETE", JOB, jobs.cancel, Access.REQUEST,
          (Answer(JobCancelled),), refusals=(400, 404, 409), scope=Scope.JOBS_WRITE,
          event="job.cancel", name="job"),
    Route("GET", f"{JOB}/files", job_files.list_, Access.POLL,
          (Answer(JobFilesListed),), refusals=(400, 404), scope=Scope.JOBS_READ,
          query=job_files.LIST_QUERY),
    Route("POST", "/api/v1/paths/resolve", paths.resolve, Access.POLL,
          (Answer(PathsResolved),), scope=Scope.JOBS_READ, body=paths.PathList),
    Route("GET", "/api/v1/metrics", metrics.metrics, Access.METRICS,
          (Answer(MetricsReport, media=("application/json", *TEXT_FORMATS), headers=("Vary",)),),
          scope=Scope.METRICS_READ),
    Route("GET", "/ws", websocket.stream, Access.PUBLIC,
          (Answer(status=101),), refusals=(400, 401, 403, 426, 429),
          from_client=FROM_CLIENT, from_gateway=FROM_GATEWAY),
    Route("GET", "/api/v1/metrics/s3", metrics.s3_metrics, Access.METRICS, (Answer(S3Report),),
          scope=Scope.METRICS_READ),
    Route("GET", "/api/v1/openapi.json", api_docs.openapi, Access.PUBLIC,
          (Answer(dict[str, Any], headers=TAGGED, description="An OpenAPI 3.1 document."),
           Answer(status=304, headers=TAGGED)), headers=(IF_NONE_MATCH,)),
    Route("GET", "/docs", api_docs.page, Access.PUBLIC, is_page=True),
    Route("GET", "/docs/{file}", api_docs.page_file, Access.PUBLIC, is_page=True),
    Route("GET", "/", dashboard.page, Access.PUBLIC, is_page=True),
    Route("GET", "/dashboard/{file}", dashboard.file, Access.PUBLIC, is_page=True),
    # The prefix of a mount, without a slash.
    Route("GET", "", dashboard.add_slash, Access.PUBLIC, is_page=True),
)  # fmt: skip


def create_app(
    settings: Settings | None = None, *, index: IndexState | None = None
) -> web.Application:
    """The gateway as an aiohttp application: run it, or mount it with ``add_subapp``.

    Without ``settings`` they are loaded from config.toml and the environment. ``index`` is the
    state of the process's own index, if it has one: health reports it. The application
    opens its connections when it starts up and closes them when it cleans up. Raises
    `SettingsError`.
    """
    settings = settings or Settings.load()
    app = web.Application(middlewares=[main_middleware])
    add_collaborators(app, settings)
    if index is not None:
        app[app_keys.INDEX_STATE] = index
    add_routes(app, settings)
    app.cleanup_ctx.append(contexts)
    app.on_shutdown.append(websocket.close_all)
    return app


def add_collaborators(app: web.Application, settings: Settings) -> None:
    """Make what handlers and monitors use. Nothing is opened yet."""
    database = Database(settings)
    filespaces = make_filespaces(settings)
    mount = Mount(settings.mount_points, filespaces.allowed_prefixes)
    job_store = JobStore(database, settings.db_submit_timeout, filespaces)
    lookup = PathLookup(database, mount, filespaces)

    app[app_keys.SETTINGS] = settings
    app[app_keys.FILESPACES] = filespaces
    app[app_keys.DATABASE] = database
    app[app_keys.READINESS] = Readiness()
    app[app_keys.JOB_STORE] = job_store
    app[app_keys.JOB_PAGES] = JobPages(job_store)
    app[app_keys.JOB_FILES] = JobFiles(database)
    app[app_keys.PATH_RESOLVER] = PathResolver(lookup, mount, filespaces)
    app[app_keys.SUBMISSION] = Submission(
        job_store, Idempotency(database), lookup, mount, filespaces
    )
    app[app_keys.JOB_CACHE] = JobCache(job_store.get)
    app[app_keys.JOB_CANCELLED] = asyncio.Event()
    app[app_keys.METRICS] = Metrics(settings.s3_region)
    app[app_keys.HUB] = Hub()
    app[app_keys.JOB_EVENTS] = JobEventPublisher(app[app_keys.HUB], app[app_keys.METRICS])
    app[app_keys.SEND_BUFFERS] = SendBuffers()
    app[app_keys.SOCKETS] = set()
    app[app_keys.PROMETHEUS] = PrometheusMetrics(
        database, app[app_keys.METRICS], app[app_keys.SEND_BUFFERS]
    )
    app[app_keys.TRUSTED_PROXIES] = TrustedProxies.parse(settings.trusted_proxies)
    app[app_keys.API_KEYS] = ApiKeys(
        settings.api_gateway_key.get_secret_value(), settings.allow_demo_key
    )
    app[app_keys.KEY_STORE] = KeyStore(database)
    app[app_keys.SIGNATURES] = Signatures(app[app_keys.API_KEYS], settings.signature_window)
    app[app_keys.NONCE_CACHE] = NonceCache()
    app[app_keys.NONCE_STORE] = NonceStore(database)
    if settings.jwt_issuer:
        app[app_keys.JWKS] = JWKSet(settings.jwt_algorithms)
        app[app_keys.TOKENS] = Tokens(token_rules(settings), app[app_keys.JWKS])
    app[app_keys.LIMITS] = Limits(settings)
    app[app_keys.WEB_FILES] = load_web_files()
    app[app_keys.DESCRIPTION] = ApiDescription(ROUTES)
    app[app_keys.AUDIT_LOG] = AuditLog(settings.audit_log)
    app[app_keys.ROUTES] = {
        route.handler: route.resolve(settings.public_metrics) for route in ROUTES
    }


def token_rules(settings: Settings) -> TokenRules:
    """The rules for tokens by the settings."""
    return TokenRules(
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        algorithms=settings.jwt_algorithms,
        leeway=settings.jwt_leeway,
        scope_claim=settings.jwt_scope_claim,
        scope_prefix=settings.jwt_scope_prefix,
        name_claim=settings.jwt_name_claim,
    )


async def contexts(app: web.Application) -> AsyncIterator[None]:
    """What runs as long as the application: entered in order, exited in reverse."""
    # One stack, so that a failed start closes what it opened.
    async with AsyncExitStack() as stack:
        warn_of_demo_key(app[app_keys.SETTINGS])
        # In a thread: it waits for a slow disk.
        stack.push_async_callback(asyncio.to_thread, app[app_keys.AUDIT_LOG].close)
        database = app[app_keys.DATABASE]
        await stack.enter_async_context(database)
        for monitor in make_monitors(app):
            await stack.enter_async_context(running(monitor, app[app_keys.PROMETHEUS].heartbeats))
        yield


def make_monitors(app: web.Application) -> Sequence[Monitor]:
    """The monitors that the settings need."""
    settings, metrics, hub = app[app_keys.SETTINGS], app[app_keys.METRICS], app[app_keys.HUB]
    filespaces, readiness = app[app_keys.FILESPACES], app[app_keys.READINESS]
    database, job_store = app[app_keys.DATABASE], app[app_keys.JOB_STORE]
    publisher, cache = app[app_keys.JOB_EVENTS], app[app_keys.JOB_CACHE]
    purges = load_queries("purge")
    monitors: list[Monitor] = [
        SchemaMonitor(settings, readiness),
        CancelItemsMonitor(job_store, readiness, app[app_keys.JOB_CANCELLED]),
        PurgeMonitor("idempotency-keys", database, purges["idempotency_keys"], readiness),
        PurgeMonitor("signature-nonces", database, purges["signature_nonces"], readiness),
        JobEventsMonitor(database, job_store, publisher, cache, hub, filespaces, readiness),
        ApiKeysMonitor(
            database, app[app_keys.KEY_STORE], app[app_keys.API_KEYS], filespaces, readiness
        ),
        SendBuffersMonitor(app[app_keys.SEND_BUFFERS]),
        WorkerLimitMonitor(
            ThrottleStore(database), settings.worker_max_bytes_per_second, metrics, readiness
        ),
    ]
    if settings.allowed_paths:
        monitors.append(AllowedPathsMonitor(filespaces))
    if settings.api_key_file:
        monitors.append(ApiKeyFileMonitor(settings.api_key_file, app[app_keys.API_KEYS]))
    if settings.jwt_issuer:
        issuer, url, file = settings.jwt_issuer, settings.jwt_jwks_url, settings.jwt_jwks_file
        monitors.append(signing_keys_monitor(app[app_keys.JWKS], issuer, url, file))
    if settings.backend_ws_url:
        monitors.append(BackendMonitor(settings.backend_ws_url, metrics, hub, filespaces))
    if settings.s3_health_bucket:
        monitors.append(S3Monitor(settings, metrics, hub))
    return monitors


def add_routes(app: web.Application, settings: Settings) -> None:
    """Add the routes of the table, open to the configured origins."""
    cors = open_to_origins(app, settings.cors_origins)
    for route in ROUTES:
        resource = app.router.add_resource(route.path, name=route.name)
        for method in route.methods:
            cors.add(resource.add_route(method, route.handler, expect_handler=expect))


def warn_of_demo_key(settings: Settings) -> None:
    """Log a warning if the public demo key is in use."""
    if not settings.uses_demo_key:
        return
    reach = "from any machine" if settings.allow_demo_key else "from this machine only"
    log.warning(
        "THE DEMO API KEY IS IN USE: everybody knows it. It is accepted %s."
        " Set API_GATEWAY_KEY to a secret of your own.",
        reach,
    )
    if guessed := guessed_key_name(os.environ):
        log.warning("%s is no setting of ours; the API key is API_GATEWAY_KEY.", guessed)
