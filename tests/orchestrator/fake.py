"""`FakeOrchestrator`: the `Orchestrator` in memory, with handles for what Prefect and its workers would do.

`test_contract.py` holds it to the behaviour of the real door.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any
from uuid import UUID, uuid4

from retraining.errors import JobAlreadyFinished, JobNotFound, NotDeployed, PromotionLockBusy
from retraining.jobs.job import TriggerType
from retraining.jobs.status import RetrainingStatus
from retraining.orchestrator.values import Inspection, JobRun, LogLine, RunEvent, RunRequest
from retraining.triggers.cause import Cause
from tests.orchestrator.fake_server import FakeServer


class FakeOrchestrator(FakeServer[RunEvent]):
    """Jobs in memory. What `Orchestrator` does not have plays Prefect, its UI and its workers."""

    def __init__(
        self, deployed: Iterable[str] = ("churn", "profitability"), *, lock_wait_seconds: float = 0.2
    ) -> None:
        super().__init__()
        self.deployed = set(deployed)
        self.workers = ["worker-1"]
        self.runs: dict[UUID, JobRun] = {}
        self.requests: list[RunRequest] = []
        """Every request that made a run."""
        self.taken: set[UUID] = set()
        """Waiting runs that a worker has taken."""
        self._keys: dict[str, UUID] = {}
        self._logs: defaultdict[UUID, list[LogLine]] = defaultdict(list)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._lock_wait_seconds = lock_wait_seconds

    # What the product calls

    async def create_run(self, request: RunRequest) -> JobRun:
        self._ask("create_run")
        if request.idempotency_key in self._keys:
            return self.runs[self._keys[request.idempotency_key]]
        if request.model_name not in self.deployed:
            raise NotDeployed(f"retrain/{request.model_name}")
        run = self.schedule(
            request.model_name,
            parameters=request.parameters,
            as_of=request.as_of,
            created_by=None,
            labels=request.labels,
        )
        self._keys[request.idempotency_key] = run.id
        self.requests.append(request)
        return run

    async def read_run(self, run_id: UUID) -> JobRun | None:
        self._ask("read_run")
        return self.runs.get(run_id)

    async def active_runs(self) -> list[JobRun]:
        self._ask("active_runs")
        active = [run for run in self.runs.values() if run.due and not run.status.final]
        return sorted(active, key=lambda run: run.created_at)

    async def finished_runs(self, since: datetime | None) -> AsyncIterator[JobRun]:
        self._ask("finished_runs")
        ended = [(run.completed_at, run) for run in self.runs.values() if run.completed_at is not None]
        for at, run in sorted(ended, key=itemgetter(0), reverse=True):
            if since is None or at >= since:
                self._ask("finished_runs")
                yield run

    async def runs_of(self, model_names: Collection[str], since: datetime) -> list[JobRun]:
        self._ask("runs_of")
        found = [run for run in self.runs.values() if run.model_name in model_names and run.due]
        counts = [run for run in found if run.completed_at is None or run.completed_at >= since]
        return sorted(counts, key=lambda run: (run.created_at, run.id))

    async def end_waiting(self, run_id: UUID, name: str, message: str) -> bool:
        self._ask("end_waiting")
        run = self.runs.get(run_id)
        if run is not None and run.status is RetrainingStatus.PENDING and run_id not in self.taken:
            other = re.search(r"(?:joined job|superseded by run) ([0-9a-f-]{36})", message)
            about = None if other is None else UUID(other[1])
            run = self.finish(
                run_id,
                RetrainingStatus.CANCELLED,
                message,
                joined=about if name == "Joined" else None,
                superseded_by=about if name == "Superseded" else None,
            )
        return run is not None and run.status is RetrainingStatus.CANCELLED

    async def give_back(self, run_id: UUID) -> None:
        self._ask("give_back")
        self.taken.discard(run_id)
        self.change(run_id, taken_at=None)

    async def cancel_run(self, run_id: UUID) -> JobRun:
        self._ask("cancel_run")
        run = self._existing(run_id)
        if run.status is RetrainingStatus.CANCELLED or run.cancelling:
            return run
        if run.status.final:
            raise JobAlreadyFinished(run_id, run.status)
        if run.status is RetrainingStatus.PENDING:
            return self.finish(run_id, RetrainingStatus.CANCELLED)
        return self.change(run_id, cancelling=True)

    async def force_cancelled(self, run_id: UUID, reason: str) -> JobRun:
        self._ask("force_cancelled")
        run = self._existing(run_id)
        return run if run.status.final else self.finish(run_id, RetrainingStatus.CANCELLED, reason)

    async def logs(self, run_id: UUID, *, limit: int, offset: int) -> list[LogLine]:
        self._ask("logs")
        return self._logs[run_id][offset : offset + limit]

    def events(self) -> AbstractAsyncContextManager[AsyncIterator[RunEvent]]:
        return self._followed("events")

    @asynccontextmanager
    async def promotion_lock(self, model_name: str) -> AsyncIterator[None]:
        self._ask("promotion_lock")
        lock = self._locks[model_name]
        try:
            await asyncio.wait_for(lock.acquire(), self._lock_wait_seconds)
        except TimeoutError as exc:
            raise PromotionLockBusy(model_name, self._lock_wait_seconds) from exc
        try:
            yield
        finally:
            lock.release()

    def run_url(self, run_id: UUID) -> str:
        return f"http://prefect.test/runs/flow-run/{run_id}"

    async def inspect(self, model_names: Sequence[str], work_pool: str) -> Inspection:
        self._ask("inspect")
        missing = tuple(f"retrain/{name}" for name in model_names if name not in self.deployed)
        return Inspection("3.8.8", missing=missing, paused=(), pool_paused=False, workers=tuple(self.workers))

    async def ping(self) -> None:
        self._ask("ping")

    # What Prefect, its UI and its workers do

    def schedule(
        self,
        model_name: str,
        *,
        due: bool = True,
        parameters: Mapping[str, Any] | None = None,
        as_of: datetime | None = None,
        created_by: tuple[str, str] | None = ("schedule", "6f1c8c0e-0000-4000-8000-000000000000"),
        labels: Mapping[str, str] | None = None,
        created_at: datetime | None = None,
        cause: Cause | None = None,
    ) -> JobRun:
        """A run that did not come through the door, from a schedule unless `created_by` says otherwise."""
        run_id = uuid4()
        run = JobRun(
            id=run_id,
            model_name=model_name,
            status=RetrainingStatus.PENDING,
            due=due,
            cancelling=False,
            created_at=created_at or datetime.now(UTC),
            started_at=None,
            completed_at=None,
            message=None,
            parameters=dict(parameters or {}),
            as_of=as_of,
            created_by=created_by,
            labels=dict(labels or {}),
            cause=None if cause is None else cause.model_copy(update={"run_id": run_id}),
        )
        self.add(run)
        return run

    def add(self, run: JobRun) -> None:
        """A run in any state."""
        self.runs[run.id] = run
        self._tell_state(run)

    def trigger(self, model_name: str, cause: Cause, created_at: datetime | None = None) -> JobRun:
        """A run that a trigger made."""
        maker = "schedule" if cause.type is TriggerType.SCHEDULED else "automation"
        return self.schedule(
            model_name, created_by=(maker, str(cause.trigger_id)), cause=cause, created_at=created_at
        )

    def take(self, run_id: UUID) -> None:
        """A worker takes it, to start its process."""
        self.taken.add(run_id)

    def start(self, run_id: UUID) -> JobRun:
        """A worker runs it."""
        return self.change(
            run_id, status=RetrainingStatus.RUNNING, due=True, started_at=datetime.now(UTC), message=None
        )

    def finish(
        self,
        run_id: UUID,
        status: RetrainingStatus = RetrainingStatus.COMPLETED,
        message: str | None = None,
        **changes: Any,
    ) -> JobRun:
        """It reaches a final status."""
        ended = datetime.now(UTC)
        return self.change(
            run_id, status=status, cancelling=False, completed_at=ended, message=message, **changes
        )

    def change(self, run_id: UUID, **changes: Any) -> JobRun:
        """Any change of a run, told to those who follow."""
        run = replace(self.runs[run_id], **changes)
        self.runs[run_id] = run
        self._tell_state(run)
        return run

    def label(self, run_id: UUID, **labels: str) -> None:
        """The job labels itself; Prefect tells nobody."""
        run = self.runs[run_id]
        self.runs[run_id] = replace(run, labels={**run.labels, **labels})

    def progress(
        self, run_id: UUID, stage: str, fraction: float | None = None, message: str | None = None
    ) -> None:
        """The job says how far it is."""
        self._tell(RunEvent(uuid4(), run_id, datetime.now(UTC), "progress", None, stage, fraction, message))

    def log(self, run_id: UUID, message: str, level: str = "INFO") -> None:
        """The job logs a line."""
        self._logs[run_id].append(LogLine(datetime.now(UTC), level, "prefect.flow_runs", message))

    def forget(self, run_id: UUID) -> None:
        """Somebody deletes the run in Prefect."""
        del self.runs[run_id]

    def _existing(self, run_id: UUID) -> JobRun:
        if run_id not in self.runs:
            raise JobNotFound(run_id)
        return self.runs[run_id]

    def _tell_state(self, run: JobRun) -> None:
        self._tell(RunEvent(uuid4(), run.id, datetime.now(UTC), "state", run))
