"""The one place that writes jobs: each change with its events, in one transaction."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from retraining.errors import StoreUnavailable
from retraining.jobs import repository
from retraining.jobs.admission import undecided
from retraining.jobs.causes import keep_causes
from retraining.jobs.feed import JobFeed
from retraining.jobs.following import created, follow, follow_deletion, job_of
from retraining.jobs.records import JobEvent
from retraining.orchestrator.values import JobRun, RunEvent
from retraining.store.database import Database

LOG = "retraining_job_events"
"""Who appends to the log does it one after the other: ids become visible in their order, and a reader that
has seen an id has seen all before it. (A sequence alone gives ids out before their rows are committed.)"""


@dataclass(frozen=True)
class LeftOver:
    """News that could not be written yet."""

    progress: set[UUID] = field(default_factory=set)
    """Runs whose progress belongs to no known job."""
    undecided: list[JobRun] = field(default_factory=list)
    """Runs of triggers of which nobody knows yet whether they start a job."""
    jobs: set[UUID] = field(default_factory=set)
    """Unknown jobs that runs have joined."""

    def __or__(self, other: "LeftOver") -> "LeftOver":
        return LeftOver(
            self.progress | other.progress, self.undecided + other.undecided, self.jobs | other.jobs
        )


class JobLedger:
    """Writes what is learned about jobs. Every method raises StoreUnavailable."""

    def __init__(self, database: Database, feed: JobFeed) -> None:
        self._database = database
        self._feed = feed

    async def follow(
        self, runs: Iterable[JobRun], progress: Iterable[RunEvent] = (), admitted: Collection[UUID] = ()
    ) -> LeftOver:
        """Bring jobs up to the news of their runs; returns what is left for later.

        A run that is due and unknown becomes a job. One that a trigger made does so once it is `admitted`,
        tells its progress, or is over without having joined another job. What joined adds its cause there.
        """
        news = _by_run(runs, progress)
        left = LeftOver()
        if not news:
            return left
        now = datetime.now(UTC)
        events: list[JobEvent] = []
        started, ended = [], []
        async with self._database.write(serial=LOG) as session:
            jobs = await repository.find_jobs(session, news.keys())
            for run_id, (states, steps) in news.items():
                ended += [run for run in states if run.joined or run.superseded_by]
                job = jobs.get(run_id)
                if job is None:
                    if not states:
                        left.progress.add(run_id)
                    due = [run for run in states if run.due]
                    if not due or any(run.joined for run in states):
                        continue
                    if all(map(undecided, due)) and run_id not in admitted and not steps:
                        left.undecided.append(due[-1])
                        continue
                    job = job_of(due[0], now)
                    session.add(job)
                    started += due[:1] if due[0].cause else []
                    events.append(created(job))
                events += follow(job, states, steps, now)
            await repository.log(session, events)
            if started or ended:
                left.jobs.update(await keep_causes(session, started, ended, now))
        self._feed.notify()
        return left

    async def follow_deletion(self, job_ids: Iterable[UUID]) -> None:
        """End the jobs whose runs Prefect does not have any more."""
        now = datetime.now(UTC)
        async with self._database.write(serial=LOG) as session:
            jobs = await repository.find_jobs(session, set(job_ids))
            events = [event for job in jobs.values() for event in follow_deletion(job, now)]
            await repository.log(session, events)
        self._feed.notify()

    async def ask_cancel(self, job_id: UUID, by: str) -> bool:
        """Keep who asked for the cancel, and when; False if somebody did before, or the job is over."""
        async with self._database.write(serial=LOG) as session:
            job = await repository.find_job(session, job_id)
            if job is None or job.status.final or job.cancel_requested_at is not None:
                return False
            job.cancel_requested_at = job.updated_at = datetime.now(UTC)
            job.cancelled_by = by
            return True

    async def withdraw_cancel(self, job_id: UUID) -> None:
        """Forget a cancel that Prefect never got; best effort, for the caller has worse news."""
        with suppress(StoreUnavailable):
            async with self._database.write(serial=LOG) as session:
                job = await repository.find_job(session, job_id)
                if job is not None and not job.status.final:
                    job.cancel_requested_at = job.cancelled_by = None
                    job.updated_at = datetime.now(UTC)

    async def restart_grace(self, job_id: UUID) -> None:
        """Count the time to stop from now: Prefect got the order only now."""
        async with self._database.write(serial=LOG) as session:
            job = await repository.find_job(session, job_id)
            if job is not None and not job.status.final:
                job.cancel_requested_at = job.updated_at = datetime.now(UTC)


def _by_run(
    runs: Iterable[JobRun], progress: Iterable[RunEvent]
) -> dict[UUID, tuple[list[JobRun], list[RunEvent]]]:
    news: defaultdict[UUID, tuple[list[JobRun], list[RunEvent]]] = defaultdict(lambda: ([], []))
    for run in runs:
        news[run.id][0].append(run)
    for step in progress:
        news[step.run_id][1].append(step)
    return dict(news)
