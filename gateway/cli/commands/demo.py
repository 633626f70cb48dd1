"""``demo``: a cache job on a sample, from nothing to completed, before one's eyes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from gateway.cli.job_view import displaying
from gateway.cli.sample_media import make_sample_media
from gateway.client import GatewayClient, GatewayClientError, JobView
from gateway.runtime.process import run, stop_on_signals
from gateway.settings import DEMO_KEY
from gateway.standalone.run import default_data_dir

START_SECONDS = 60
POLL_SECONDS = 0.2
DEFAULT_PORT = 8095


class DemoFailed(click.ClickException):
    """The demo could not show what it promises."""


class DemoStopped(click.ClickException):
    """Somebody stopped it: no error, but no job either."""

    def show(self, _file: Any = None) -> None:
        """Say so."""
        click.echo(self.message, err=True)


@click.command()
@click.option("--once", is_flag=True, help="end when the job has")
@click.option("--port", type=click.IntRange(1, 65535), help="port to serve on  [default: 8095]")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="where the sample and the database are kept  [default: demo in your data folder]",
)
def command(*, once: bool, port: int | None, data_dir: Path | None) -> None:
    """Watch a cache job run on a small sample, with nothing installed.

    It makes a few hundred files as a film has them, starts the standalone gateway on them,
    submits a directory through the API, shows the progress, and goes on serving until Ctrl-C
    (--once: ends with the job).
    Everything is kept, also the jobs of earlier runs. Ends with code 0 if the job completed.
    """
    folder = (data_dir or default_data_dir() / "demo").absolute()
    run(_demo(folder, port or _free_port(), keep_serving=not once))


async def _demo(folder: Path, port: int, keep_serving: bool) -> None:
    console = Console()
    stop = stop_on_signals()
    media = folder / "media"
    click.echo(f"Kept in:       {folder} (the jobs of earlier runs too)\nSample files:  {media}")
    await asyncio.to_thread(make_sample_media, media)
    async with _gateway(folder, media, port) as (process, log), _client(port) as client:
        click.echo(f"Log:           {log}")
        work = asyncio.create_task(_watch_job(console, client, process, log, port))
        await _first(work, stop)
        if work.cancelled():
            raise DemoStopped("Stopped before the job was completed")
        work.result()
        if keep_serving:
            # Not wrapped: the lines are to be copied.
            click.echo(_how_to_go_on(port))
            click.echo(f"Dashboard:     http://127.0.0.1:{port}/ (its key is {DEMO_KEY})")
            click.echo("Serving until Ctrl-C.")
            await _serve(process, log, stop)
    click.echo("The gateway has stopped.")


async def _serve(process: asyncio.subprocess.Process, log: Path, stop: asyncio.Event) -> None:
    ended = asyncio.create_task(process.wait())
    await _first(ended, stop)
    if not ended.cancelled():
        raise DemoFailed(f"The gateway has ended by itself: {_last_line(log)}")


async def _watch_job(
    console: Console,
    client: GatewayClient,
    process: asyncio.subprocess.Process,
    log: Path,
    port: int,
) -> None:
    """Submit everything in the sample and show how the job runs. Raises unless it completes."""
    await _wait_until_indexed(client, process, log)
    click.echo(f"Gateway:       http://127.0.0.1:{port}\n")
    # The mount point's own path asks for the whole filespace; here its parts are named.
    job = await client.submit(directories=["00_Media", "01_VFX", "02_Audio & Edit"])
    console.print(f"Job [bold]{job.id}[/]: {job.total_files} files", highlight=False)
    ended = await _show_progress(console, client, job.id)
    if ended.status != "completed" or ended.failed_files:
        raise DemoFailed(f"The job is {ended.status}: {ended.error}")
    console.print(
        f"[green]Completed:[/] {ended.completed_files} of {ended.total_files} files"
        " are in the cache.\n",
        highlight=False,
    )


async def _wait_until_indexed(
    client: GatewayClient, process: asyncio.subprocess.Process, log: Path
) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(START_SECONDS):
            while process.returncode is None:
                with suppress(GatewayClientError):
                    if (await client.health())["index"]["status"] == "ready":
                        return
                await asyncio.sleep(POLL_SECONDS)
    raise DemoFailed(f"The gateway did not start: {_with_advice(_last_line(log))}")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return lines[-1].removeprefix("Error: ") if lines else "no word of why"


def _with_advice(reason: str) -> str:
    if "in use by another gateway" in reason:
        return f"{reason}; stop that one, or choose another folder with --data-dir"
    return reason


async def _show_progress(console: Console, client: GatewayClient, job_id: str) -> JobView:
    with displaying(console) as display:
        job = await client.status(job_id)
        async for change in client.watch(job_id):
            job = change.job
            display.show(change)
    return job


@asynccontextmanager
async def _gateway(
    folder: Path, media: Path, port: int
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Path]]:
    """Run ``standalone`` as a process of its own; gives it, and where it logs to."""
    # Another demo on this folder, on another port, may be writing to a log of its own.
    log = folder / f"gateway-{port}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "standalone"),
            *("--media", media, "--data-dir", folder / "data", "--port", str(port)),
            # A config.toml here may list filespaces of its own, and a certificate.
            *("--filespaces", "[]", "--tls-certificate", "", "--tls-key", ""),
            # Ctrl-C in the terminal is for us: we stop it in order.
            start_new_session=True,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"API_GATEWAY_KEY": DEMO_KEY, "CACHE_PROGRESS_TIME_THRESHOLD": "100"},
        )
    try:
        yield process, log
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


def _client(port: int) -> GatewayClient:
    return GatewayClient(f"http://127.0.0.1:{port}", DEMO_KEY)


async def _first(work: asyncio.Task[None] | asyncio.Task[int], stop: asyncio.Event) -> None:
    """Wait for the work, or for a signal, which cancels it."""
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not work.done():
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work


def _free_port() -> int:
    """The usual port, or any other where somebody listens on it already."""
    for wanted in (DEFAULT_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", wanted))
                port: int = probe.getsockname()[1]
                if port != DEFAULT_PORT:
                    click.echo(f"{DEFAULT_PORT} is in use, so the gateway listens on {port}.")
                return port
    raise DemoFailed("No port is free")


def _how_to_go_on(port: int) -> str:
    url = f"http://127.0.0.1:{port}/api/v1"
    key = f"-H 'X-API-Key: {DEMO_KEY}'"
    return f"""Go on with:

  curl {url}/health
  curl -X POST {url}/cache/jobs {key} \\
       -H 'Content-Type: application/json' \\
       -d '{{"directories": ["01_VFX/SEQ_010"]}}'
  curl {url}/cache/jobs {key}
"""
