"""The worker's lease: what it claims is its own only as long as the lease is renewed."""

from __future__ import annotations

import logging

from gateway.worker.claimer import Claimer
from gateway.worker.in_flight import InFlightTable
from gateway.worker.item_store import ItemStore

log = logging.getLogger(__name__)


class Lease:
    """Takes the lease, renews it, and reclaims the items of workers whose lease ran out.

    ``is_alone``: no other worker can be alive at the first renewal, whatever their leases say.
    """

    def __init__(
        self, items: ItemStore, in_flight: InFlightTable, claimer: Claimer, *, is_alone: bool
    ) -> None:
        self._items = items
        self._in_flight = in_flight
        self._claimer = claimer
        self._is_alone = is_alone

    async def renew(self) -> None:
        """Take the lease or renew it, then reclaim what dead workers held."""
        if not self._items.has_lease:
            await self._items.take_lease()
            self._claimer.look_again()
        elif not await self._items.renew_lease():
            await self._replace()
            self._claimer.look_again()
        if reclaimed := await self._items.reclaim_expired_leases(everybody=self._is_alone):
            log.warning("worker: %d files came back from a worker that died", reclaimed)
            self._claimer.look_again()
        # Another worker may start from now on, and its lease counts.
        self._is_alone = False

    async def _replace(self) -> None:
        log.warning("worker: the lease was lost, what was being read is left to others")
        self._in_flight.give_up()
        await self._items.end_lease()
        await self._items.take_lease()

    async def end(self) -> None:
        """Return all items and end the lease, if there is one."""
        if self._items.has_lease:
            await self._items.end_lease()
