"""Make the pictures of the dashboard anew: ``python -m docs.make_screenshots [MINUTES]``.

A real gateway with an S3 server works on sparse files for some minutes while three browsers look
on; what they show then is kept in images/. Nothing shown is made up but the files' names.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from docs.png import packed
from gateway.client import GatewayClient
from gateway.settings import DEMO_KEY
from support.chromium import launch_chromium
from support.database import make_public_folder
from support.live_gateway import BUCKET, S3_KEYS, LiveS3
from support.standalone_kit import Place, url_of

IMAGES = Path(__file__).parent / "images"
MIB = 1024 * 1024
GIB = 1024 * MIB
MINUTES = 9.0
CUES = ("M01 Ouverture", "M02 Dächer", "M03 東京", "M04 Abspann")
MISSING = "02_Audio/Reel_2/Dialogue"


class Shot(NamedTuple):
    """A picture: its name, the window that it is of, and whether a job is open in it."""

    name: str
    window: ViewportSize
    scheme: str
    has_detail: bool = False
    density: float = 1


SHOTS = (
    Shot("dashboard-wide-light", {"width": 1440, "height": 900}, "light"),
    Shot("dashboard-wide-dark", {"width": 1440, "height": 900}, "dark", has_detail=True),
    Shot("dashboard-360", {"width": 360, "height": 1180}, "light", density=2),
)


def media() -> dict[str, int]:
    """The files by name, with their bytes. They are sparse: they take no room."""
    files = {f"00_Media/Day_{day:02}/A{day:03}_C{clip:03}.mov": 512 * MIB
             for day in (11, 12, 14) for clip in range(1, 19)}  # fmt: skip
    files |= {f"01_VFX/SEQ_010/SH_0040/comp/v003/SH_0040.{frame}.exr": 12 * MIB
              for frame in range(1001, 1241)}  # fmt: skip
    files |= {f"{MISSING}/Scene {scene} – Élodie.wav": 60 * MIB for scene in range(31, 43)}
    files |= {f"02_Audio/Reel_2/Music/{cue}.wav": 90 * MIB for cue in CUES}
    files |= {
        f"03_Grade/Reel_{reel}_graded_P3_4k.mov": (70 + 20 * reel) * GIB for reel in (1, 2, 3)
    }
    files["04_Delivery/DCP_v7/picture.mxf"] = 700 * GIB
    return files


def write_media(root: Path) -> None:
    """Make the sparse files below ``root``."""
    for name, size in media().items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(size)


@asynccontextmanager
async def gateway() -> AsyncIterator[tuple[str, Place]]:
    """A standalone gateway on the media, with a bucket to look at; gives its URL."""
    with make_public_folder() as folder, LiveS3(folder / "s3").running() as s3:
        place = Place(folder)
        write_media(place.media)
        settings = {
            "S3_ENDPOINT": s3.url,
            "S3_HEALTH_BUCKET": BUCKET,
            "WORKER_CONCURRENCY": "3",
            "WORKER_CHUNK_SIZE": "4096",
            **S3_KEYS,
        }
        async with place.running(**settings) as command:
            url = await url_of(command)
            await command.says(" files, ")
            yield url, place


async def work(client: GatewayClient, place: Place, minutes: float) -> str:
    """Jobs of every kind, spread over the minutes; gives the one that is worth a look."""
    step = minutes * 60 / 8
    shutil.rmtree(place.media / MISSING)
    await client.submit(directories=[MISSING])
    await client.submit(directories=["00_Media/Day_11"])
    await asyncio.sleep(step)
    delivery = await client.submit(directories=["04_Delivery"])
    await asyncio.sleep(step)
    await client.cancel(delivery.id)
    await client.submit(directories=["02_Audio"])
    await asyncio.sleep(step)
    await client.submit(directories=["01_VFX"])
    await client.submit(directories=["00_Media/Day_12"])
    await asyncio.sleep(step)
    watched = await client.submit(
        files=["03_Grade/Reel_1_graded_P3_4k.mov"], directories=["02_Audio", "00_Media/Day_14"]
    )
    await asyncio.sleep(3 * step)
    for reel in (2, 3):
        await client.submit(files=[f"03_Grade/Reel_{reel}_graded_P3_4k.mov"])
    await asyncio.sleep(step)
    return watched.id


async def look(browser: Browser, url: str, shot: Shot) -> Page:
    """A page that shows the dashboard, with the key."""
    scheme: Any = shot.scheme
    page = await browser.new_page(
        viewport=shot.window, color_scheme=scheme, device_scale_factor=shot.density
    )
    await page.goto(url)
    await page.get_by_label("API key").fill(DEMO_KEY)
    await page.keyboard.press("Enter")
    return page


async def take(page: Page, shot: Shot, job_id: str) -> None:
    """Keep what the page shows."""
    await page.bring_to_front()
    if shot.has_detail:
        await page.get_by_role("button", name=f"Job {job_id[:8]}, details").click()
        await page.get_by_role("region", name="Files being read").get_by_role("listitem").wait_for()
        await page.wait_for_timeout(2500)
    (IMAGES / f"{shot.name}.png").write_bytes(packed(await page.screenshot()))


async def main(minutes: float) -> None:
    """Make every picture."""
    IMAGES.mkdir(exist_ok=True)
    async with AsyncExitStack() as stack:
        url, place = await stack.enter_async_context(gateway())
        client = await stack.enter_async_context(GatewayClient(url, DEMO_KEY))
        tools = await stack.enter_async_context(async_playwright())
        browser = await launch_chromium(tools)
        pages = [await look(browser, url, shot) for shot in SHOTS]
        job_id = await work(client, place, minutes)
        # It waits for a moment only, since no reader is free.
        await client.submit(directories=["00_Media"])
        await pages[0].get_by_text("0 of 54").wait_for()
        for page, shot in zip(pages, SHOTS, strict=True):
            await take(page, shot, job_id)
        await browser.close()


def minutes_of(arguments: Sequence[str]) -> float:
    """How long the charts are to be filled."""
    return float(arguments[0]) if arguments else MINUTES


if __name__ == "__main__":
    asyncio.run(main(minutes_of(sys.argv[1:])))
