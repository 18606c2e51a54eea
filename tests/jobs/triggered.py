"""Factories: runs that triggers made."""

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from retraining.jobs.job import TriggerType
from retraining.jobs.status import RetrainingStatus
from retraining.orchestrator.values import JobRun
from retraining.triggers.cause import Cause
from tests.jobs.news import a_run, after, ended, started

NIGHTLY, HOURLY, DRIFTING = (UUID(int=number) for number in (1, 2, 3))


def breach(seconds: float = 0, trigger_id: UUID = DRIFTING, evaluation_id: UUID | None = None) -> JobRun:
    """A waiting run that a drift trigger's automation made."""
    run_id = uuid4()
    cause = Cause(
        type=TriggerType.DRIFT,
        trigger_id=trigger_id,
        at=after(seconds),
        evaluation_id=evaluation_id or uuid4(),
        reason="half of the columns drifted",
        scores={"age": 0.4},
        run_id=run_id,
    )
    return a_run(id=run_id, created_at=after(seconds), created_by=("automation", str(uuid4())), cause=cause)


def due(seconds: float = 0, trigger_id: UUID = NIGHTLY, missed_runs: Any = "latest") -> JobRun:
    """A waiting run of a schedule."""
    run_id = uuid4()
    cause = Cause(
        type=TriggerType.SCHEDULED,
        trigger_id=trigger_id,
        at=after(seconds),
        run_id=run_id,
        missed_runs=missed_runs,
    )
    return a_run(id=run_id, created_at=after(seconds), created_by=("schedule", str(trigger_id)), cause=cause)


def joined(run: JobRun, job: JobRun, seconds: float = 1) -> JobRun:
    """The run, cancelled because it joined the job."""
    return _gone(run, seconds, joined=job.id, message=f"joined job {job.id}")


def superseded(run: JobRun, successor: JobRun, seconds: float = 1) -> JobRun:
    """The run, cancelled because a later one took its place."""
    return _gone(run, seconds, superseded_by=successor.id, message=f"superseded by run {successor.id}")


def _gone(run: JobRun, seconds: float, **facts: Any) -> JobRun:
    return replace(run, status=RetrainingStatus.CANCELLED, completed_at=after(seconds), **facts)


__all__ = ["DRIFTING", "HOURLY", "NIGHTLY", "breach", "due", "ended", "joined", "started", "superseded"]
