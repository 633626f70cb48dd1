"""Have what a Nuke script reads cached before it is rendered.

Usage: python render_prejob.py SCRIPT.nk [MINUTES]

Give it to the farm as a task that the render depends on. It waits for the cache for so many
minutes (10 by default), and then lets the render start anyway: without the cache it is slow, but
it is right. It always ends with code 0, unless it was called wrongly.

A farm may run the task again. The job that an earlier run submitted is noted beside the script, as
SCRIPT.nk.cachejob, and followed instead of submitting another one.
"""

import asyncio
import hashlib
import json
import os
import re
import sys
from pathlib import Path

from gateway.client import GatewayClient, GatewayClientError

URL = os.environ.get("TEAMCACHE_URL", "http://localhost:8095")
KEY = os.environ.get("TEAMCACHE_API_KEY", "demo-api-key-2024")
READ = re.compile(r"^(\s*)(?:Deep)?Read \{\n(.*?)^\1\}", re.MULTILINE | re.DOTALL)
KNOB = re.compile(r'^\s*(file|first|last) (?:"([^"]*)"|(\S+))$', re.MULTILINE)
FRAME = re.compile(r"%0?(\d*)d|(#+)")


def main(script, minutes="10"):
    try:
        asyncio.run(prepare(Path(script), float(minutes)))
    except TimeoutError:
        say(f"Not ready after {minutes} minutes: rendering all the same")
    except GatewayClientError as error:
        say(f"No cache for this render: {error}")


async def prepare(script, minutes):
    files = inputs_of(script.read_text(encoding="utf-8"))
    if not files:
        say(f"{script.name} reads nothing")
        return
    async with asyncio.timeout(minutes * 60), GatewayClient(URL, KEY) as client:
        job_id = await find_or_submit(client, files, script.with_name(f"{script.name}.cachejob"))
        async for change in client.watch(job_id):
            job = change.job
    say(f"{job.status}: {job.completed_files} of {job.total_files} files are in the cache")


async def find_or_submit(client, files, note):
    """The id of the job for these files, an earlier run's if it has not come to nothing."""
    digest = hashlib.sha256("\n".join(files).encode()).hexdigest()
    known = json.loads(note.read_text()) if note.exists() else {}
    if known.get("files") == digest and await is_of_use(client, known["job"]):
        say(f"Job {known['job']} was submitted before")
        return known["job"]
    submitted = await client.submit(files=files)
    note.write_text(json.dumps({"files": digest, "job": submitted.id}))
    say(f"Job {submitted.id}: {submitted.total_files} files")
    return submitted.id


async def is_of_use(client, job_id):
    try:
        return (await client.status(job_id)).status not in ("failed", "cancelled")
    except GatewayClientError as error:
        if error.status == 404:
            return False
        raise


def inputs_of(text):
    """Every file that the Read nodes of a Nuke script name, frame by frame, once each."""
    files = {}
    for _, body in READ.findall(text):
        knobs = {name: quoted or bare for name, quoted, bare in KNOB.findall(body)}
        if "file" in knobs:
            first = int(knobs.get("first", 1))
            last = int(knobs.get("last", first))
            files |= dict.fromkeys(frames_of(knobs["file"], first, last))
    return list(files)


def frames_of(pattern, first, last):
    if not FRAME.search(pattern):
        return [pattern]
    return [at_frame(pattern, frame) for frame in range(first, last + 1)]


def at_frame(pattern, frame):
    """The file of a frame: ``####`` and ``%04d`` stand for its number with leading zeros."""
    return FRAME.sub(lambda it: str(frame).zfill(len(it[2] or "") or int(it[1] or 0)), pattern)


def say(line):
    print(line, flush=True)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__.strip())
    main(*sys.argv[1:])
