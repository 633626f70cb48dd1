"""How smoothly the dashboard runs: ``python -m bench.dashboard [SECONDS]``.

A thousand running jobs in its list, fifty changes of jobs a second through the database and the
WebSocket, and Chromium, which tells how long its frames and its longest tasks took.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import statistics
import sys
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2
from playwright.async_api import Page, async_playwright
from psycopg2.extras import execute_values

from bench.free_ports import free_port
from bench.stage import KEY, gateway, scratch_folder, stage
from gateway.database import connection_arguments

JOBS = 1000
CHANGES_A_SECOND = 50
CHANGES_AT_ONCE = 10
SECONDS = 20.0
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu")
NEW_JOBS = """
INSERT INTO cache_jobs (id, status, file_paths, directory_paths, total_files, total_size_bytes,
                        started_at)
VALUES %s
"""
NEW_JOB = "(%s, 'running', '{}', '{}', 100000, 100000000000, now() AT TIME ZONE 'UTC')"
CHANGE = """
UPDATE cache_jobs SET completed_files = completed_files + 3,
                      completed_size_bytes = completed_size_bytes + 3000000
WHERE id = ANY(%s::uuid[])
"""
WATCH = """() => {
  const seen = { frames: [], tasks: [] };
  let last = performance.now();
  const frame = (now) => {
    seen.frames.push(now - last);
    last = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  new PerformanceObserver((list) => seen.tasks.push(...list.getEntries().map((it) => it.duration)))
    .observe({ type: 'longtask' });
  window.seen = seen;
}"""


async def main(seconds: float) -> None:
    """Print what was measured."""
    with scratch_folder() as folder:
        async with stage(folder, Path("/media/bench")) as settings:
            connection = psycopg2.connect(**connection_arguments(settings))
            connection.autocommit = True
            ids = [str(uuid.uuid4()) for _ in range(JOBS)]
            with connection.cursor() as cursor:
                execute_values(cursor, NEW_JOBS, [(it,) for it in ids], template=NEW_JOB)
            port = free_port()
            async with gateway(settings, port), page_at(f"http://127.0.0.1:{port}") as page:
                await measure(page, connection, ids, seconds)
            connection.close()


@asynccontextmanager
async def page_at(url: str) -> AsyncIterator[Page]:
    async with async_playwright() as tools:
        program = os.environ.get("TEST_CHROMIUM") or shutil.which("chromium")
        browser = await tools.chromium.launch(executable_path=program, args=list(FLAGS))
        page = await browser.new_page(viewport={"width": 1440, "height": 900})
        await page.goto(url)
        yield page
        await browser.close()


async def measure(page: Page, connection: Any, ids: Sequence[str], seconds: float) -> None:
    heard: list[int] = []
    await page.evaluate(WATCH)
    begun = asyncio.get_running_loop().time()
    await page.get_by_label("API key").fill(KEY)
    await page.keyboard.press("Enter")
    await page.locator(".row").nth(JOBS - 1).wait_for(state="attached")
    taken = asyncio.get_running_loop().time() - begun
    show(f"the list of {JOBS} jobs, shown after {taken * 1000:.0f} ms", await take(page))
    await page.reload()
    page.on("websocket", lambda socket: socket.on("framereceived", lambda _: heard.append(1)))
    await page.reload()
    await page.locator(".row").nth(JOBS - 1).wait_for(state="attached")
    await page.evaluate(WATCH)
    tools = await page.context.new_cdp_session(page)
    # The processor's time of the page's thread: what else the machine does is not in it.
    await tools.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = await costs(tools)
    heard.clear()
    changing = asyncio.create_task(change(connection, ids))
    await asyncio.sleep(seconds)
    changing.cancel()
    with suppress(asyncio.CancelledError):
        await changing
    spent = {name: (cost - before[name]) / seconds for name, cost in (await costs(tools)).items()}
    show(f"{len(heard) / seconds:.0f} events a second for {seconds:.0f} s", await take(page))
    print("busy: " + ", ".join(f"{name} {share:.1%}" for name, share in spent.items()))


async def costs(tools: Any) -> dict[str, float]:
    """Seconds of the page's thread so far, by what they went into."""
    metrics = (await tools.send("Performance.getMetrics"))["metrics"]
    found = {it["name"].removesuffix("Duration"): it["value"] for it in metrics}
    return {name: found[name] for name in ("Task", "Script", "RecalcStyle", "Layout")}


async def change(connection: Any, ids: Sequence[str]) -> None:
    while True:
        some = random.sample(ids, CHANGES_AT_ONCE)
        with connection.cursor() as cursor:
            await asyncio.to_thread(cursor.execute, CHANGE, (some,))
        await asyncio.sleep(CHANGES_AT_ONCE / CHANGES_A_SECOND)


async def take(page: Page) -> Any:
    return await page.evaluate("window.seen")


def show(what: str, seen: Any) -> None:
    frames = sorted(seen["frames"])
    tasks = seen["tasks"]
    print(
        f"{what}: {len(frames)} frames, median {statistics.median(frames):.1f} ms,"
        f" 99 % within {frames[int(len(frames) * 0.99)]:.1f} ms, longest {frames[-1]:.1f} ms;"
        f" tasks over 50 ms: {len(tasks)}, longest {max(tasks, default=0):.0f} ms"
    )


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS))
