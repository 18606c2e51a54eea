"""Factories: runs and their events as Prefect would tell them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from hypothesis import settings

from retraining.jobs.status import RetrainingStatus
from retraining.orchestrator.values import JobRun, RunEvent

steady = settings(deadline=None, derandomize=True)
"""Hypothesis with the same examples every time, on machines of any speed."""
START = datetime(2026, 5, 4, 8, 0, 0, 120_000, tzinfo=UTC)


def after(seconds: float) -> datetime:
    """A moment of the tests' day."""
    return START + timedelta(seconds=seconds)


def a_run(**facts: Any) -> JobRun:
    """A waiting run of `churn`, made by hand."""
    run = JobRun(
        id=uuid4(),
        model_name="churn",
        status=RetrainingStatus.PENDING,
        due=True,
        cancelling=False,
        created_at=START,
        started_at=None,
        completed_at=None,
        message=None,
        parameters={},
        as_of=None,
        created_by=None,
        labels={},
    )
    return replace(run, **facts)


def started(run: JobRun, seconds: float = 1, **facts: Any) -> JobRun:
    """The run, running."""
    return replace(run, status=RetrainingStatus.RUNNING, started_at=after(seconds), **facts)


def ended(
    run: JobRun, status: RetrainingStatus = RetrainingStatus.COMPLETED, seconds: float = 9, **facts: Any
) -> JobRun:
    """The run, over."""
    return replace(run, status=status, cancelling=False, completed_at=after(seconds), **facts)


def progress(
    run_id: UUID, seconds: float, stage: str = "training", fraction: float | None = None
) -> RunEvent:
    """The job saying how far it is."""
    return RunEvent(
        uuid4(), run_id, after(seconds), "progress", stage=stage, fraction=fraction, message=stage
    )
