"""Keeps the jobs table in step with Prefect: its event stream, and reconciliation for every gap."""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_
from typing import TypeVar
from uuid import UUID

from retraining.errors import JobAlreadyFinished, JobNotFound, Unavailable
from retraining.inbox import BATCH, Inbox, write_together_or_singly
from retraining.jobs import repository
from retraining.jobs.feed import JobFeed
from retraining.jobs.ledger import JobLedger, LeftOver
from retraining.jobs.waiting_room import WaitingRoom
from retraining.orchestrator.values import JobRun, Orchestrator, RunEvent
from retraining.settings import Settings
from retraining.store.database import Database

logger = logging.getLogger(__name__)

CANCEL_CHECK_SECONDS = 1.0
UNSTARTED = timedelta(seconds=60)
"""A worker that took a run so long ago and has no process for it yet has died. Others have joined the run
meanwhile: it must not wait for ever."""
FINISHED_MARK = "finished runs"
OVERLAP = timedelta(minutes=5)
"""Read again before the mark: runs are dated by their own machine's clock, and reported after they ended."""
PROGRESS_KEPT = timedelta(days=7)
READERS = 8


class JobSync:
    """The background work of the facade. Several replicas may run it on one database.

    Four things at once: following Prefect's events, comparing with Prefect at intervals and after every gap
    in the events, deciding which runs of triggers start a job, and forcing cancels that take too long. Each
    goes on by itself when Prefect or the database is back.
    """

    def __init__(
        self, database: Database, orchestrator: Orchestrator, settings: Settings, feed: JobFeed | None = None
    ) -> None:
        self._database = database
        self._orchestrator = orchestrator
        self._settings = settings
        self._ledger = JobLedger(database, feed or JobFeed(database))
        self._waiting_room = WaitingRoom(orchestrator, database)
        self._inbox = Inbox(
            "jobs",
            follow=orchestrator.events,
            write=self._follow,
            reconcile=self.reconcile,
            reconcile_seconds=settings.reconcile_seconds,
        )

    @property
    def live(self) -> bool:
        """Whether Prefect's events arrive; otherwise only comparing at intervals brings news."""
        return self._inbox.live

    def running(self) -> AbstractAsyncContextManager[None]:
        """Follow Prefect while the block runs; neither it nor the database need be there at the start."""
        return self._inbox.running(self._admit, self._force_cancels)

    async def reconcile(self) -> None:
        """Compare the table with Prefect once: what waits or runs there or here, and what ended lately.

        Raises:
            OrchestratorUnavailable, StoreUnavailable: nothing is lost, the next time does the rest.
        """
        async with self._database.session() as session:
            # Read before Prefect is: a job made meanwhile is not missed there.
            ours = await repository.unfinished_ids(session)
            mark = await repository.read_mark(session, FINISHED_MARK)
        active = await self._orchestrator.active_runs()
        for some in _batches(active):
            await self._record(some)
        finished, newest = await self._record_finished(None if mark is None else mark - OVERLAP)
        await self._look_for(ours - {run.id for run in active} - finished)
        now = datetime.now(UTC)
        async with self._database.write() as session:
            if newest is not None:
                # A clock that is ahead must not carry the mark over what is still to come.
                await repository.move_mark(session, FINISHED_MARK, min(newest, now))
            await repository.forget_progress(session, before=now - PROGRESS_KEPT)
        for run in active:
            if run.taken_at is not None and now - run.taken_at > UNSTARTED:
                await self._orchestrator.give_back(run.id)

    async def _follow(self, events: Sequence[RunEvent]) -> None:
        progress = [event for event in events if event.kind == "progress"]
        unknown = await self._record([event.run for event in events if event.run is not None], progress)
        if unknown:
            # Their beginning was missed.
            known = await self._read(unknown)
            await self._record(known, [event for event in progress if event.run_id in unknown])
        await self._look_for(
            {event.run_id for event in events if event.kind == "state" and event.run is None}
        )

    async def _admit(self) -> None:
        """Decide about runs of triggers: which of them start a job, and which are not needed."""
        decided = await self._waiting_room.decide()
        admitted = {run.id for run in decided.admitted}
        await self._record([*decided.admitted, *decided.over], admitted=admitted)
        # The job is known before the runs that join it: their news finds it.
        await self._waiting_room.dismiss(decided.dismissed)

    async def _force_cancels(self) -> None:
        """Stop the jobs that were asked to and did not within the grace."""
        await asyncio.sleep(CANCEL_CHECK_SECONDS)
        grace = timedelta(seconds=self._settings.cancel_grace_seconds)
        async with self._database.session() as session:
            overdue = await repository.overdue_cancels(session, asked_before=datetime.now(UTC) - grace)
        for job_id in overdue:
            try:
                await self._force_cancel(job_id)
            except Unavailable:
                raise
            except Exception:
                logger.exception("a cancel cannot be forced", extra={"job_id": str(job_id)})

    async def _force_cancel(self, job_id: UUID) -> None:
        run = await self._orchestrator.read_run(job_id)
        try:
            if run is not None and not run.status.final:
                if run.cancelling:
                    reason = f"it did not stop within {self._settings.cancel_grace_seconds:g} s"
                    logger.warning("cancel forced", extra={"job_id": str(job_id)})
                    run = await self._orchestrator.force_cancelled(job_id, reason)
                else:
                    # Whoever asked died before Prefect heard of it.
                    run = await self._orchestrator.cancel_run(job_id)
                    await self._ledger.restart_grace(job_id)
        except (JobNotFound, JobAlreadyFinished):
            run = await self._orchestrator.read_run(job_id)
        if run is None:
            await self._ledger.follow_deletion([job_id])
        else:
            await self._record([run])

    async def _record_finished(self, since: datetime | None) -> tuple[set[UUID], datetime | None]:
        """Record what ended since then; returns the ids, and when the latest of them ended."""
        seen: set[UUID] = set()
        newest = since
        some: list[JobRun] = []
        async for run in self._orchestrator.finished_runs(since):
            seen.add(run.id)
            if run.completed_at is not None:
                newest = max(newest or run.completed_at, run.completed_at)
            some.append(run)
            if len(some) == BATCH:
                await self._record_new(some)
                some = []
        await self._record_new(some)
        return seen, newest

    async def _record_new(self, runs: Sequence[JobRun]) -> None:
        """Record finished runs, most of which were recorded before: find those without writing."""
        if not runs:
            return
        async with self._database.session() as session:
            done = await repository.finished_among(session, [run.id for run in runs])
            done |= await repository.causes_among(session, [run.id for run in runs if run.joined])
        await self._record([run for run in runs if run.id not in done])

    async def _look_for(self, job_ids: Set[UUID]) -> None:
        """Ask Prefect for each of these; the jobs whose runs it does not have any more end."""
        for some in _batches(sorted(job_ids)):
            found = await self._read(some)
            await self._record(found)
            gone = set(some) - {run.id for run in found}
            if gone:
                await self._ledger.follow_deletion(gone)

    async def _read(self, run_ids: Iterable[UUID]) -> list[JobRun]:
        """The runs that Prefect has of these."""
        found = []
        for some in _batches(sorted(run_ids), READERS):
            found += await asyncio.gather(*map(self._orchestrator.read_run, some))
        return [run for run in found if run is not None]

    async def _record(
        self, runs: Sequence[JobRun], progress: Sequence[RunEvent] = (), admitted: Set[UUID] = frozenset()
    ) -> set[UUID]:
        """Write news in one transaction; returns the runs whose progress belongs to no known job."""
        left = await self._write_news(runs, progress, admitted)
        if left.jobs:
            # A run has joined them, so they are jobs. What joined one that is deleted since is nowhere.
            missed = await self._read(left.jobs)
            joined = [run for run in runs if run.joined in left.jobs]
            await self._write_news([*missed, *joined], (), {run.id for run in missed})
        self._waiting_room.hold(left.undecided)
        self._waiting_room.release({run.id for run in runs} - {run.id for run in left.undecided})
        return left.progress

    async def _write_news(
        self, runs: Sequence[JobRun], progress: Sequence[RunEvent], admitted: Set[UUID]
    ) -> LeftOver:
        async def write(some: Sequence[JobRun | RunEvent]) -> LeftOver:
            states = [one for one in some if isinstance(one, JobRun)]
            steps = [one for one in some if isinstance(one, RunEvent)]
            return await self._ledger.follow(states, steps, admitted)

        news: list[JobRun | RunEvent] = [*runs, *progress]
        left = await write_together_or_singly(
            news, write, several="news of jobs", one="news of a job", facts=_facts
        )
        return reduce(or_, left, LeftOver())


def _facts(news: JobRun | RunEvent) -> dict[str, str]:
    return {"job_id": str(news.id if isinstance(news, JobRun) else news.run_id)}


T = TypeVar("T")


def _batches(items: Sequence[T], size: int = BATCH) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
