"""The system's table of contents: what it is made of, what it serves, what runs beside it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

from aiohttp import web

from gateway import keys
from gateway.auth import Access, ApiKeys
from gateway.cors import open_to_origins
from gateway.database import Database
from gateway.handlers import health, jobs, metrics
from gateway.index_state import IndexState
from gateway.job_store import JobStore
from gateway.limits import Limits
from gateway.middlewares import gate
from gateway.monitors.cancelled_items import CancelledItemsMonitor
from gateway.monitors.loop import running
from gateway.monitors.schema import SchemaMonitor
from gateway.mount import Mount
from gateway.paths import Filespace
from gateway.readiness import Readiness
from gateway.settings import Settings
from gateway.submission import Submission

log = logging.getLogger(__name__)


class Route(NamedTuple):
    """One line of the table below."""

    method: str
    path: str
    handler: Callable[..., Any]
    access: Access
    name: str | None = None


# Whatever stands there is a job's id, be it a wrong one: aiohttp's own pattern leaves out braces.
JOB = "/api/v1/cache/jobs/{job_id:[^/]+}"

ROUTES = (
    Route("GET", "/livez", health.livez, Access.PUBLIC),
    Route("GET", "/api/v1/health", health.health, Access.PUBLIC),
    Route("POST", "/api/v1/cache/jobs", jobs.create, Access.REQUEST),
    Route("GET", "/api/v1/cache/jobs", jobs.list_, Access.REQUEST),
    Route("GET", JOB, jobs.get, Access.POLL, "job"),
    Route("DELETE", JOB, jobs.cancel, Access.REQUEST, "job"),
    Route("GET", "/api/v1/metrics", metrics.metrics, Access.PUBLIC),
    Route("GET", "/api/v1/metrics/s3", metrics.s3_metrics, Access.PUBLIC),
)


def create_app(
    settings: Settings | None = None, *, index: IndexState | None = None
) -> web.Application:
    """The gateway as an aiohttp application: run it, or mount it with ``add_subapp``.

    Without ``settings`` they are loaded from config.toml and the environment. ``index`` is the
    state of an index of our own, if the process keeps one: health reports it. The application
    opens its connections when it starts up and closes them when it cleans up. Raises
    `SettingsError`.
    """
    settings = settings or Settings.load()
    app = web.Application(middlewares=[gate])

    database = Database(settings)
    readiness = Readiness()
    job_store = JobStore(database, settings.db_submit_timeout)
    mount = Mount(settings.container_mount_point)
    cancelled_items = CancelledItemsMonitor(job_store, readiness)

    app[keys.SETTINGS] = settings
    app[keys.FILESPACE] = Filespace.create(settings.container_mount_point, settings.allowed_paths)
    app[keys.DATABASE] = database
    app[keys.READINESS] = readiness
    app[keys.JOB_STORE] = job_store
    app[keys.SUBMISSION] = Submission(database, job_store, mount)
    app[keys.JOB_CANCELLED] = cancelled_items.wanted
    app[keys.API_KEYS] = ApiKeys(settings.api_gateway_key.get_secret_value())
    app[keys.LIMITS] = Limits(settings)
    if index is not None:
        app[keys.INDEX_STATE] = index
    app[keys.ACCESS] = {route.handler: route.access for route in ROUTES}

    async def contexts(_app: web.Application) -> AsyncIterator[None]:
        # One stack: a start-up that fails half-way still closes what it opened.
        async with AsyncExitStack() as stack:
            warn_of_demo_key(settings)
            await stack.enter_async_context(database)
            await stack.enter_async_context(running(SchemaMonitor(settings, readiness)))
            await stack.enter_async_context(running(cancelled_items))
            yield

    app.cleanup_ctx.append(contexts)
    add_routes(app, settings)
    return app


def add_routes(app: web.Application, settings: Settings) -> None:
    """Every route of the table, open to pages of the configured origins."""
    cors = open_to_origins(app, settings.cors_origins)
    for route in ROUTES:
        resource = app.router.add_resource(route.path, name=route.name)
        cors.add(resource.add_route(route.method, route.handler))


def warn_of_demo_key(settings: Settings) -> None:
    """Say loudly that anybody may know the key."""
    if not settings.uses_demo_key:
        return
    reach = "from any machine" if settings.allow_demo_key else "from this machine only"
    log.warning(
        "THE DEMO API KEY IS IN USE: everybody knows it. Requests are taken %s."
        " Set API_GATEWAY_KEY to a secret of your own.",
        reach,
    )
