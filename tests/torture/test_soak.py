"""A minute of mixed load leaves the processes as they are; `make soak` does half an hour of it."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from support import ROOT

SECONDS = 60


@pytest.mark.timeout(SECONDS + 180)
async def test_a_minute_of_everything_leaves_memory_descriptors_and_tasks_flat() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.soak", "--minutes", str(SECONDS / 60)),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = map(bytes.decode, await process.communicate())
    print(out)
    assert process.returncode == 0, out + err
    assert "Traceback" not in err, err
    assert out.count(": flat") == 5
    for kind in ("poll", "submit", "cancel", "listen", "read_slowly", "hang_up"):
        assert f"{kind} " in out
