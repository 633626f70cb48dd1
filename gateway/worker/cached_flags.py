"""Marks in the index what was read: behind the worker's back, since rows there may be locked."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence

from gateway.errors import GatewayError
from gateway.worker.item_store import ItemStore

log = logging.getLogger(__name__)

# Files marked by one statement.
BATCH = 1000
# Beyond so many files that wait for their mark no more are remembered: a job's end finds them.
MAX_WAITING = 100_000
# While others are read, files may wait so long for their mark, in seconds: the readers need the
# processors more, and a statement for many files costs less than many statements.
HOLD_SECONDS = 10.0
LOOK_SECONDS = 0.05
# How long to wait before what could not be marked is tried again, in seconds.
RETRY_SECONDS = 1.0
# So often it is tried to finish a job that has ended.
FINISH_ATTEMPTS = 30


class CachedFlagWriter:
    """The marks that ``files`` is owed: files as they are reported, directories at a job's end.

    A report comes first and its marks after it, at the latest when the job ends; so a worker that
    is killed in between owes them. They are made up for when the job ends, whichever worker ends
    it; a job whose end nobody follows up is found a minute later, by any worker. ``is_busy`` tells
    whether there are files to read.
    """

    def __init__(self, items: ItemStore, is_busy: Callable[[], bool] = lambda: False) -> None:
        self._items = items
        self._is_busy = is_busy
        self._waiting: dict[str, dict[int, None]] = {}  # of each job the items, in their order
        self._ended: dict[str, int] = {}  # the attempts that are left
        self._wanted = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()
        self._was_told = False
        self._is_hurried = False

    @property
    def owed(self) -> int:
        """Files known to wait for their mark."""
        return sum(map(len, self._waiting.values()))

    def add(self, job_id: str, items: Sequence[int]) -> None:
        """Mark the files of these items soon; the database knows that the job has read them."""
        if items and self.owed < MAX_WAITING:
            self._note(job_id, items)

    def end(self, job_id: str) -> None:
        """The job has ended: mark what was overlooked, and the directories that are whole."""
        self._ended.setdefault(job_id, FINISH_ATTEMPTS)
        self._want()

    def flush_now(self) -> None:
        """From now on mark at once, whatever is being read."""
        self._is_hurried = True

    async def run(self) -> None:
        """Mark whatever is owed, as long as this runs."""
        while True:
            await self._wanted.wait()
            await self._hold()
            await self._try_or_rest()

    async def drain(self) -> None:
        """Mark until nothing is owed any more."""
        while self._waiting or self._ended:
            await self._try_or_rest()

    async def _hold(self) -> None:
        """Wait while files are read, but not for long, and for nothing once a job has ended."""
        due_at = time.monotonic() + HOLD_SECONDS
        while self._may_wait() and time.monotonic() < due_at:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)

    def _may_wait(self) -> bool:
        is_much = self.owed >= MAX_WAITING // 2
        return self._is_busy() and not (self._ended or is_much or self._is_hurried)

    async def _try_or_rest(self) -> None:
        if not await self._try_all():
            await asyncio.sleep(RETRY_SECONDS)
        if not (self._waiting or self._ended):
            self._wanted.clear()
            self._settled.set()

    async def wait_until_drained(self) -> None:
        """Return when nothing is owed any more; somebody must `keep` it so."""
        await self._settled.wait()

    def _note(self, job_id: str, items: Sequence[int]) -> None:
        self._waiting.setdefault(job_id, {}).update(dict.fromkeys(items))
        self._want()

    def _want(self) -> None:
        self._settled.clear()
        self._wanted.set()

    async def _try_all(self) -> bool:
        """One attempt at everything; False if something was in the way of some of it."""
        marked = [await self._attempt(self._mark(job_id)) for job_id in tuple(self._waiting)]
        finished = [await self._finish(job_id) for job_id in tuple(self._ended)]
        is_done = all(marked) and all(finished)
        self._was_told = self._was_told and not is_done
        return is_done

    async def _finish(self, job_id: str) -> bool:
        """False if something was in the way; a job whose files came meanwhile has its turn yet."""
        if job_id in self._waiting:
            return True
        if await self._attempt(self._mark_all(job_id)):
            del self._ended[job_id]
            return True
        # Files that wait are tried without end; behind them it would be no attempt at all.
        self._ended[job_id] -= job_id not in self._waiting
        if not self._ended[job_id]:
            log.warning("job %s: its directories could not be marked as cached yet", job_id)
            await self._attempt(self._put_off(job_id))
            del self._ended[job_id]
        return False

    async def _put_off(self, job_id: str) -> bool:
        await self._items.postpone_unset_flags(job_id)
        return True

    async def _mark_all(self, job_id: str) -> bool:
        """Mark what nobody has marked, then directories; False if some files are locked."""
        last = 0
        while items := await self._items.files_with_unset_flags(job_id, last):
            self._note(job_id, items)
            if not await self._mark(job_id):
                return False
            last = items[-1]
        await self._items.set_cached_directory_flags(job_id)
        await self._items.clear_unset_flags(job_id)
        return True

    async def _mark(self, job_id: str) -> bool:
        """Mark the files of a job that wait; False if some are locked."""
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
            self._tell(f"files of job {job_id} are locked, and marked as cached later")
            return False
        return True

    async def _attempt(self, work: Coroutine[None, None, bool]) -> bool:
        try:
            return await work
        except GatewayError as error:
            self._tell(f"marking files as cached: {error.message} ({str(error.__cause__).strip()})")
        except Exception:
            log.exception("worker: marking files as cached failed")
        return False

    def _tell(self, message: str) -> None:
        """What lasts is told when it begins, not at each attempt."""
        log.log(logging.DEBUG if self._was_told else logging.WARNING, "worker: %s", message)
        self._was_told = True
