"""Keep a MAM's assets in step with the cache.

The MAM's webhook asks for an asset to be cached, with its files and folders:

    POST /assets/A-1042   {"files": [], "directories": ["01_VFX/SEQ_010"]}

and is told of each change (`PATCH` to MAM_URL/assets/A-1042), or asks itself:

    GET /assets/A-1042    {"asset": "A-1042", "state": "running", "percentage": 40}

What is known is kept in BRIDGE_FILE, so that a restart loses nothing. One WebSocket tells of all
jobs; each connection begins with a snapshot, which makes up for what was missed.
"""

import asyncio
import contextlib
import os
import sqlite3

import aiohttp
from aiohttp import web

from gateway.client import GatewayClient, GatewayClientError

URL = os.environ.get("TEAMCACHE_URL", "http://localhost:8095")
KEY = os.environ.get("TEAMCACHE_API_KEY", "demo-api-key-2024")
MAM_URL = os.environ.get("MAM_URL", "")
BRIDGE_FILE = os.environ.get("BRIDGE_FILE", "bridge.sqlite")
RECONNECT_SECONDS = 2
TABLE = """
CREATE TABLE IF NOT EXISTS assets (asset TEXT PRIMARY KEY, job TEXT, state TEXT, percentage INT)
"""


class Assets:
    """What is known of each asset: its newest job, with that job's state."""

    def __init__(self, file):
        self._file = sqlite3.connect(file, isolation_level=None)
        self._file.row_factory = sqlite3.Row
        self._file.execute(TABLE)

    def begin(self, asset, job):
        self._file.execute("REPLACE INTO assets VALUES (?, ?, 'pending', 0)", (asset, job))

    def take(self, job, state, percentage):
        """The assets that changed."""
        changed = self._file.execute(
            "UPDATE assets SET state = ?, percentage = ?"
            " WHERE job = ? AND (state, percentage) <> (?, ?) RETURNING asset, state, percentage",
            (state, percentage, job, state, percentage),
        )
        return [dict(row) for row in changed]

    def get(self, asset):
        query = "SELECT asset, state, percentage FROM assets WHERE asset = ?"
        row = self._file.execute(query, (asset,)).fetchone()
        return dict(row) if row else None

    def unfinished(self):
        query = "SELECT job FROM assets WHERE state IN ('pending', 'running', 'paused')"
        return [row["job"] for row in self._file.execute(query)]


ASSETS = web.AppKey("ASSETS", Assets)
CLIENT = web.AppKey("CLIENT", GatewayClient)


async def submit(request):
    """The MAM's webhook."""
    asset = request.match_info["asset"]
    try:
        wanted = await request.json()
        job = await request.app[CLIENT].submit(
            files=wanted.get("files", []), directories=wanted.get("directories", [])
        )
    except ValueError:
        return web.json_response({"error": "The body is no JSON"}, status=400)
    except GatewayClientError as error:
        # Without a status the gateway is away: the MAM should try again.
        return web.json_response({"error": str(error)}, status=error.status or 503)
    request.app[ASSETS].begin(asset, job.id)
    # What happened to the job before it was noted is asked for: nobody tells it again.
    with contextlib.suppress(GatewayClientError):
        await catch_up(request.app, [job.id])
    return web.json_response(request.app[ASSETS].get(asset), status=202)


async def show(request):
    found = request.app[ASSETS].get(request.match_info["asset"])
    return web.json_response(found or {"error": "Unknown asset"}, status=200 if found else 404)


async def listen(app):
    """Follow all jobs for as long as the service runs."""
    async with aiohttp.ClientSession(headers={"X-API-Key": KEY}) as session:
        while True:
            try:
                async with session.ws_connect(f"{URL}/ws", heartbeat=20) as socket:
                    await socket.send_json({"type": "subscribe", "channel": "jobs"})
                    async for message in socket:
                        if message.type is aiohttp.WSMsgType.TEXT:
                            await take(app, message.json())
            except (aiohttp.ClientError, OSError, GatewayClientError) as error:
                print(f"Not connected: {error}", flush=True)
            await asyncio.sleep(RECONNECT_SECONDS)


async def take(app, message):
    kind = message["type"]
    if kind == "snapshot":
        # It shows the newest jobs; ours may be older.
        await catch_up(app, app[ASSETS].unfinished())
    elif kind.startswith("job-"):
        await update(app, message["jobId"], message["status"], message["progress"]["percentage"])


async def catch_up(app, job_ids):
    for job_id in job_ids:
        try:
            job = await app[CLIENT].status(job_id)
        except GatewayClientError as error:
            if error.status != 404:
                raise
            await update(app, job_id, "deleted", 0)
        else:
            await update(app, job_id, job.status, job.percentage)


async def update(app, job_id, state, percentage):
    for asset in app[ASSETS].take(job_id, state, percentage):
        if MAM_URL:
            await tell(asset)


async def tell(asset):
    """Call the MAM. One that is away asks for itself when it is back."""
    with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.request(
            "PATCH", f"{MAM_URL}/assets/{asset['asset']}", json=asset, timeout=timeout
        ):
            pass


async def connections(app):
    async with GatewayClient(URL, KEY) as client:
        app[CLIENT] = client
        listening = asyncio.create_task(listen(app))
        yield
        listening.cancel()


def make_app():
    app = web.Application()
    app[ASSETS] = Assets(BRIDGE_FILE)
    app.router.add_post("/assets/{asset}", submit)
    app.router.add_get("/assets/{asset}", show)
    app.cleanup_ctx.append(connections)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=int(os.environ.get("PORT", "8099")))
