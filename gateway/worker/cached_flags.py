"""Sets the cached flags in the index after the reports, since rows there may be locked."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence

from gateway.errors import GatewayError
from gateway.worker.item_store import ItemStore
from gateway.worker.timers import Timers

log = logging.getLogger(__name__)

# Files flagged by one statement.
BATCH = 1000
# More waiting files than these are not kept: they are found at their job's end.
MAX_WAITING = 100_000
LOOK_SECONDS = 0.05
FINISH_ATTEMPTS = 30


class CachedFlagWriter:
    """Flags files after they are reported, and directories when their job has ended.

    A worker that is killed between a report and its flags leaves flags unset. They are set when
    the job ends, by the worker that ends it. If that worker is killed too, any worker finds the
    job a minute later. ``is_busy`` says whether there are files to read.
    """

    def __init__(
        self, items: ItemStore, timers: Timers, is_busy: Callable[[], bool] = lambda: False
    ) -> None:
        self._items = items
        self._timers = timers
        self._is_busy = is_busy
        self._waiting: dict[str, dict[int, None]] = {}  # items by job, in their order
        self._ended: dict[str, int] = {}  # attempts that are left, by job
        self._has_work = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._is_logged = False
        self._is_hurried = False

    @property
    def owed(self) -> int:
        """Files known to wait for their flag."""
        return sum(map(len, self._waiting.values()))

    def add(self, job_id: str, items: Sequence[int]) -> None:
        """Flag the files of these items soon. They must be reported as completed."""
        if items and self.owed < MAX_WAITING:
            self._note(job_id, items)

    def end(self, job_id: str) -> None:
        """The job has ended: set the flags that are left, then those of whole directories."""
        self._ended.setdefault(job_id, FINISH_ATTEMPTS)
        self._start()

    def flush_now(self) -> None:
        """From now on set flags at once, even while files are read."""
        self._is_hurried = True

    async def run(self) -> None:
        """Set flags for ever."""
        while True:
            await self._has_work.wait()
            await self._hold()
            await self._try_or_rest()

    async def drain(self) -> None:
        """Set flags until none is left to set."""
        while self._waiting or self._ended:
            await self._try_or_rest()

    async def _hold(self) -> None:
        """Wait while files are read, but not for long, and not once a job has ended."""
        due_at = time.monotonic() + self._timers.hold
        while self._may_wait() and time.monotonic() < due_at:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)

    def _may_wait(self) -> bool:
        is_much = self.owed >= MAX_WAITING // 2
        return self._is_busy() and not (self._ended or is_much or self._is_hurried)

    async def _try_or_rest(self) -> None:
        if not await self._try_all():
            await asyncio.sleep(self._timers.flags_retry)
        if not (self._waiting or self._ended):
            self._has_work.clear()
            self._drained.set()

    async def wait_until_drained(self) -> None:
        """Return when no flag is left to set, while `run` sets them."""
        await self._drained.wait()

    def _note(self, job_id: str, items: Sequence[int]) -> None:
        self._waiting.setdefault(job_id, {}).update(dict.fromkeys(items))
        self._start()

    def _start(self) -> None:
        self._drained.clear()
        self._has_work.set()

    async def _try_all(self) -> bool:
        """Try everything once; False if some of it failed."""
        flagged = [await self._attempt(self._flag(job_id)) for job_id in tuple(self._waiting)]
        finished = [await self._finish(job_id) for job_id in tuple(self._ended)]
        is_done = all(flagged) and all(finished)
        self._is_logged = self._is_logged and not is_done
        return is_done

    async def _finish(self, job_id: str) -> bool:
        """False if it failed. A job that got more files meanwhile is finished after them."""
        if job_id in self._waiting:
            return True
        if await self._attempt(self._flag_all(job_id)):
            del self._ended[job_id]
            return True
        # Waiting files are tried without end, and an attempt while they wait does not count.
        self._ended[job_id] -= job_id not in self._waiting
        if not self._ended[job_id]:
            log.warning("job %s: its directories could not be marked as cached yet", job_id)
            await self._attempt(self._postpone(job_id))
            del self._ended[job_id]
        return False

    async def _postpone(self, job_id: str) -> bool:
        await self._items.postpone_unset_flags(job_id)
        return True

    async def _flag_all(self, job_id: str) -> bool:
        """Flag the files that are left, then directories; False if some files are locked."""
        last = 0
        while items := await self._items.files_with_unset_flags(job_id, last):
            self._note(job_id, items)
            if not await self._flag(job_id):
                return False
            last = items[-1]
        await self._items.set_cached_directory_flags(job_id)
        await self._items.clear_unset_flags(job_id)
        return True

    async def _flag(self, job_id: str) -> bool:
        """Flag the waiting files of a job; False if some are locked."""
        waiting = self._waiting[job_id]
        items = tuple(waiting)
        for batch in (items[start : start + BATCH] for start in range(0, len(items), BATCH)):
            locked = await self._items.set_cached_flags(job_id, batch)
            for item in set(batch).difference(locked):
                del waiting[item]
        if not waiting:
            del self._waiting[job_id]
            return True
        if any(item in waiting for item in items):
            self._log(f"files of job {job_id} are locked, and marked as cached later")
            return False
        return True

    async def _attempt(self, work: Coroutine[None, None, bool]) -> bool:
        try:
            return await work
        except GatewayError as error:
            self._log(f"marking files as cached: {error.message} ({str(error.__cause__).strip()})")
        except Exception:
            log.exception("worker: marking files as cached failed")
        return False

    def _log(self, message: str) -> None:
        """Warn once of what lasts, not at each attempt."""
        log.log(logging.DEBUG if self._is_logged else logging.WARNING, "worker: %s", message)
        self._is_logged = True
