"""A gateway in a process of its own that publishes what it is told to, to look at its memory.

Run with settings as JSON and ``uvloop`` or ``asyncio``. It prints its port, and answers each line
on its standard input (how many events to publish) by a line when they are published.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys

import uvloop
from aiohttp import web

from gateway.app import create_app
from gateway.events import send_buffer
from gateway.events.hub import Event, Hub
from gateway.http import app_keys
from gateway.settings import Settings

JOBS = 200
TEXT = "x" * 900


async def publish(hub: Hub, count: int) -> None:
    for number in range(count):
        job = str(number % JOBS)
        kept = number % 10 == 0
        kind = "job-completed" if kept else "job-progress"
        message = {"type": kind, "jobId": job, "number": number, "text": TEXT}
        hub.publish(Event(message, job_id=job, must_deliver=kept))
        if number % 20 == 0:
            await asyncio.sleep(0)


async def main(settings: Settings) -> None:
    # However slow this machine is: what the deaf cost while they are there is the question.
    send_buffer.STALLED_SECONDS = 3600.0  # type: ignore[misc]
    app = create_app(settings)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await app[app_keys.JOB_EVENTS].has_begun.wait()
    print(runner.addresses[0][1], flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        gc.collect()
        await publish(app[app_keys.HUB], int(line))
        print(app[app_keys.SEND_BUFFERS].count, app[app_keys.SEND_BUFFERS].dropped, flush=True)
    await runner.cleanup()


if __name__ == "__main__":
    factory = uvloop.new_event_loop if sys.argv[2] == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as run:
        run.run(main(Settings(**json.loads(sys.argv[1]))))
