"""Live status: every change of every job, in order, with resume."""

import asyncio
import time
from bisect import bisect_right
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from retraining.errors import TooManyFollowers
from retraining.jobs import repository
from retraining.jobs.records import EventKind, JobEvent
from retraining.store.database import Database

LOOK_SECONDS = 0.25
"""How often the log is looked at for events that another process wrote."""
PLACES = 200
KEPT = 2_000
"""Newest events that are kept in memory for all subscribers."""
BATCH = 500
READERS = 4


class JobFeed:
    """The stream of job events behind the server-sent events. One for each process.

    New events are read from the log once, for all subscribers; one that is behind reads the log itself. So a
    slow one delays nobody, and many cost no more than one.
    """

    def __init__(self, database: Database, kept: int = KEPT, places: int = PLACES) -> None:
        self._database = database
        self._keep = kept
        self._places = places
        self._followers = 0
        self._written = asyncio.Event()
        self._looking = asyncio.Lock()
        # After a restart all subscribers come back at once: they wait for each other, not for the database.
        self._catching_up = asyncio.Semaphore(READERS)
        self._stale = True
        self._looked_at = 0.0
        self._kept: list[JobEvent] = []
        self._kept_after: int | None = None
        """Every event after this id, up to `_newest`, is in `_kept`."""
        self._newest = 0

    def notify(self) -> None:
        """Say that events were committed; called by whoever wrote them."""
        self._stale = True
        self._written.set()
        self._written = asyncio.Event()

    @contextmanager
    def place(self) -> Iterator[None]:
        """One of the places of those who follow, while the block runs. Raises TooManyFollowers."""
        if self._followers >= self._places:
            raise TooManyFollowers(self._places)
        self._followers += 1
        try:
            yield
        finally:
            self._followers -= 1

    async def subscribe(
        self, after: int | None = None, job_id: UUID | None = None
    ) -> AsyncGenerator[JobEvent, None]:
        """Events with an id above `after`, each once and in order, then those to come.

        Without `after`: with `job_id` the job's whole history, else only what happens from now on. With
        `job_id` the stream ends after the event of the job's final status; without, it never ends.

        Raises:
            StoreUnavailable: the database does not answer; subscribe again after the last event's id.
        """
        await self._look()
        if after is None:
            after = 0 if job_id is not None else self._newest
        if after > self._newest:
            self._stale = True
            await self._look()
        # An id from the future is one of a database that was replaced: what is new begins here.
        position = min(after, self._newest)
        if job_id is not None:
            async with self._catching_up, self._database.session() as session:
                if await repository.ended_until(session, job_id, position):
                    return
        while True:
            written = self._written
            await self._look()
            if position >= self._newest:
                await _wait(written)
                continue
            events, position = await self._read(position, job_id)
            for event in events:
                yield event
                if job_id is not None and event.kind is EventKind.STATE and event.status.final:
                    return

    async def _read(self, position: int, job_id: UUID | None) -> tuple[Sequence[JobEvent], int]:
        """Events after the position, and up to where they are all there is."""
        newest = self._newest
        if self._kept_after is not None and position >= self._kept_after:
            kept = self._kept[bisect_right(self._kept, position, key=_id) :]
            return [event for event in kept if job_id in {None, event.job_id}], newest
        async with self._catching_up, self._database.session() as session:
            events = await repository.events_after(session, position, job_id, BATCH)
        if len(events) == BATCH:
            return events, _id(events[-1])
        return events, max([newest, *map(_id, events[-1:])])

    async def _look(self) -> None:
        """Keep what was appended to the log since the last look."""
        async with self._looking:
            if not self._stale and time.monotonic() - self._looked_at < LOOK_SECONDS:
                return
            self._stale = False  # before reading: whoever writes meanwhile makes us look again
            async with self._database.session() as session:
                newest = await repository.last_event_id(session)
                if self._kept_after is None or newest - self._newest > self._keep:
                    self._kept, self._kept_after = [], newest
                elif newest > self._newest:
                    self._kept += await repository.events_after(session, self._newest, None, 2 * self._keep)
                    newest = _id(self._kept[-1])
            if len(self._kept) > self._keep:
                self._kept_after = _id(self._kept[-self._keep - 1])
                self._kept = self._kept[-self._keep :]
            self._newest = newest
            self._looked_at = time.monotonic()


async def _wait(written: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            await written.wait()
    except TimeoutError:
        return


def _id(event: JobEvent) -> int:
    assert event.id is not None
    return event.id
