"""Starting, finding and cancelling jobs: what the facade and the command line call."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

from retraining.errors import JobAlreadyFinished, JobNotFound, StoreUnavailable
from retraining.jobs import reading, repository
from retraining.jobs.admission import undecided
from retraining.jobs.cursor import Position, page_start
from retraining.jobs.feed import JobFeed
from retraining.jobs.following import follow, job_of
from retraining.jobs.job import JobFilter, JobSnapshot, RetrainingJob, RetrainingRequest
from retraining.jobs.ledger import JobLedger
from retraining.jobs.starting import Caller, JobStarter, Models
from retraining.jobs.status import RetrainingStatus
from retraining.orchestrator.values import JobRun, LogLine, Orchestrator
from retraining.settings import Settings
from retraining.store.database import Database

logger = logging.getLogger(__name__)

MAX_PAGE = 500


@dataclass(frozen=True)
class JobPage:
    """One page of jobs, newest first."""

    jobs: list[JobSnapshot]
    next_cursor: str | None
    """Continues after the last job of this page; None at the end."""


class JobService:
    """The jobs' use cases. Reads come from the store, orders go to Prefect."""

    def __init__(
        self,
        database: Database,
        orchestrator: Orchestrator,
        catalog: Models,
        settings: Settings,  # noqa: ARG002 - every service is made from the same four parts
        feed: JobFeed | None = None,
    ) -> None:
        """`feed` is the one whose subscribers hear at once of what this service writes."""
        self._database = database
        self._orchestrator = orchestrator
        self._starter = JobStarter(database, orchestrator, catalog)
        self._ledger = JobLedger(database, feed or JobFeed(database))

    async def start(
        self,
        request: RetrainingRequest,
        *,
        triggered_by: str,
        correlation_id: str,
        idempotency_key: str | None = None,
    ) -> JobSnapshot:
        """Start a job; the same caller's same idempotency key within 24 hours returns the same job.

        Raises:
            UnknownModel, InvalidParameters, InvalidRequest: before anything was done.
            JobRunning: `if_running="reject"` and a job of the model is waiting or running.
            IdempotencyKeyReused: the key came before with another request.
            NotDeployed, OrchestratorUnavailable, StoreUnavailable: try again, with the same key if any.
        """
        key = idempotency_key or f"once-{uuid4()}"
        caller = Caller(triggered_by, correlation_id, key)
        started = await self._starter.start(request, caller)
        if isinstance(started, UUID):
            return await self.get(started)
        facts = {"job_id": str(started.id), "model_name": started.model_name, "triggered_by": triggered_by}
        logger.info("job started", extra=facts)
        try:
            await self._ledger.follow([started])
            await self._starter.finish(caller, started.id)
            job = await reading.find_snapshot(self._database, started.id)
        except StoreUnavailable as exc:
            # The run is real, whatever our database says: the sync will write it down.
            logger.warning("job started, not recorded yet: %s", exc, extra=facts)
            job = None
        return job or _unrecorded(started)

    async def get(self, job_id: UUID) -> JobSnapshot:
        """One job. One that only Prefect knows yet is found there.

        Raises:
            JobNotFound, StoreUnavailable, OrchestratorUnavailable.
        """
        job = await reading.find_snapshot(self._database, job_id)
        return job or _unrecorded(await self._run(job_id))

    async def list(
        self,
        wanted: JobFilter,
        *,
        limit: int = 50,
        offset: int = 0,
        cursor: str | None = None,
        among: Collection[str] | None = None,
    ) -> JobPage:
        """Jobs, newest first; `cursor` comes from the page before and excludes `offset`.

        `among` are the only models whose jobs there are for who asks; None for all.

        Raises:
            InvalidRequest: limit outside 1 to 500, a negative offset, or a cursor that no page gave.
        """
        after = page_start(limit=limit, max_limit=MAX_PAGE, offset=offset, cursor=cursor)
        # One more than asked for tells whether there is a next page, without counting.
        jobs = await reading.page_of_jobs(
            self._database, wanted, limit=limit + 1, offset=offset, after=after, among=among
        )
        page = jobs[:limit]
        more = len(jobs) > limit
        return JobPage(page, Position(page[-1].created_at, page[-1].id).encode() if more else None)

    async def cancel(self, job_id: UUID, *, by: str) -> RetrainingJob:
        """Cancel a job: waiting, it is cancelled at once; running, it stops or is forced to after the grace.

        Harmless when repeated: a cancelled job is returned as it is.

        Raises:
            JobNotFound, OrchestratorUnavailable, StoreUnavailable.
            JobAlreadyFinished: it completed or failed.
        """
        job = await self._recorded(job_id)
        if not job.status.final:
            job = await self._cancel(job, by)
        if job.status.final and job.status is not RetrainingStatus.CANCELLED:
            raise JobAlreadyFinished(job_id, job.status)
        return job

    async def logs(self, job_id: UUID, *, limit: int = 200, offset: int = 0) -> Sequence[LogLine]:
        """A job's log, oldest line first.

        Raises:
            JobNotFound, OrchestratorUnavailable, StoreUnavailable.
        """
        await self.get(job_id)
        return await self._orchestrator.logs(job_id, limit=limit, offset=offset)

    async def _cancel(self, job: RetrainingJob, by: str) -> RetrainingJob:
        # Written first: a database that is locked leaves the job alone, and who asked is known.
        asked = await self._ledger.ask_cancel(job.id, by)
        try:
            run = await self._orchestrator.cancel_run(job.id)
        except JobNotFound:
            await self._ledger.follow_deletion([job.id])
            return await self._recorded(job.id)
        except JobAlreadyFinished:
            run = await self._run(job.id)
        except Exception:
            if asked:
                await self._ledger.withdraw_cancel(job.id)
            raise
        logger.info("job cancelled", extra={"job_id": str(job.id), "by": by})
        try:
            await self._ledger.follow([run])
            return await self._recorded(job.id)
        except StoreUnavailable as exc:
            logger.warning("job cancelled, not recorded yet: %s", exc, extra={"job_id": str(job.id)})
            follow(job, [run], (), datetime.now(UTC))
            return job

    async def _recorded(self, job_id: UUID) -> RetrainingJob:
        """The job in the store, put there if only Prefect knew it."""
        job = await self._find(job_id)
        if job is None:
            await self._ledger.follow([await self._run(job_id)])
            job = await self._find(job_id)
        if job is None:
            raise JobNotFound(job_id)
        return job

    async def _find(self, job_id: UUID) -> RetrainingJob | None:
        async with self._database.session() as session:
            return await repository.find_job(session, job_id)

    async def _run(self, job_id: UUID) -> JobRun:
        """The job's run. Raises JobNotFound for one that is no job so far, too, or joined another one."""
        run = await self._orchestrator.read_run(job_id)
        if run is None or not run.due or undecided(run) or run.joined is not None:
            raise JobNotFound(job_id)
        return run


def _unrecorded(run: JobRun) -> JobSnapshot:
    now = datetime.now(UTC)
    job = job_of(run, now)
    follow(job, [run], (), now)
    snapshot: JobSnapshot = JobSnapshot.model_validate(job.model_dump())
    return snapshot
