"""How a job follows its run: forwards only, so that late or repeated news changes nothing. No SQL in here."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from retraining.jobs.job import RetrainingJob, TriggerType
from retraining.jobs.plain import storable_json, storable_text
from retraining.jobs.records import EventKind, JobEvent
from retraining.jobs.status import RetrainingStatus, may_follow
from retraining.orchestrator.values import JobRun, RunEvent
from retraining.triggers.cause import Cause

DELETED = "its flow run was deleted in Prefect"


def job_of(run: JobRun, now: datetime) -> RetrainingJob:
    """The job of a run that was not known before, as it was created: waiting."""
    labels = _labels(run)
    return RetrainingJob(
        id=run.id,
        model_name=storable_text(run.model_name),
        status=RetrainingStatus.PENDING,
        triggered_by=_triggered_by(run),
        trigger_type=_trigger_type(run),
        causes=[cause_of(run)],
        parameters=storable_json(dict(run.parameters)),
        as_of=run.as_of,
        correlation_id=labels.get("correlation_id") or None,
        created_at=run.created_at,
        updated_at=now,
    )


def cause_of(run: JobRun) -> dict[str, Any]:
    """Why the run was made, as its job shows it; of a person's run: who asked, and when."""
    cause = run.cause or Cause(type=_trigger_type(run), at=run.created_at, by=_triggered_by(run))
    shown = cause.model_dump(mode="json", exclude_none=True, exclude={"missed_runs"})
    if not cause.scores:
        del shown["scores"]
    return dict(storable_json(shown))


def created(job: RetrainingJob) -> JobEvent:
    """The first event of a job."""
    return _state_event(job, job.created_at)


def follow(
    job: RetrainingJob, runs: Sequence[JobRun], progress: Iterable[RunEvent], now: datetime
) -> list[JobEvent]:
    """Bring the job up to its run's news, given in any order, and tell what changed.

    Events come in the order in which a job lives, start, progress, end, whatever the news' order: who watches
    sees every stage even if all was learned at once.
    """
    before = job.model_dump()
    events = [event for run in runs for event in _follow_start(job, run, now)]
    for news in sorted(progress, key=_mark):
        events += _follow_progress(job, news)
    events += [event for run in runs for event in _follow_end(job, run, now)]
    if job.model_dump() != before:
        job.updated_at = now
    return events


def follow_deletion(job: RetrainingJob, now: datetime) -> list[JobEvent]:
    """End a job whose run is gone for good."""
    if job.status.final:
        return []
    job.updated_at = now
    return [_end(job, RetrainingStatus.CANCELLED, now, DELETED)]


def _follow_start(job: RetrainingJob, run: JobRun, now: datetime) -> list[JobEvent]:
    events = []
    job.started_at = job.started_at or run.started_at
    under_way = run.started_at is not None or run.status is RetrainingStatus.RUNNING
    if under_way and job.status is RetrainingStatus.PENDING:
        job.status = RetrainingStatus.RUNNING
        events.append(_state_event(job, run.started_at or now))
    if run.cancelling and not job.status.final:
        job.cancel_requested_at = job.cancel_requested_at or now
        events.append(
            _event(job, EventKind.CANCELLING, job.cancel_requested_at, source=f"{job.id}:cancelling")
        )
    return events


def _follow_progress(job: RetrainingJob, news: RunEvent) -> list[JobEvent]:
    mark = _mark(news)
    if job.progress_mark is not None and mark <= job.progress_mark:
        return []
    job.progress_mark = mark
    job.stage = _text(news.stage)
    if job.status is not RetrainingStatus.COMPLETED:
        job.progress = None if news.fraction is None else min(max(news.fraction, 0.0), 1.0)
    if job.status.final:
        return []
    source = f"{job.id}:{news.event_id}"
    return [_event(job, EventKind.PROGRESS, news.at, source=source, message=_text(news.message))]


def _follow_end(job: RetrainingJob, run: JobRun, now: datetime) -> list[JobEvent]:
    labels = _labels(run)
    job.model_version_before = labels.get("version_before") or job.model_version_before
    job.model_version_after = labels.get("version_after") or job.model_version_after
    job.challenger_version = labels.get("challenger_version") or job.challenger_version
    job.decision = labels.get("decision") or job.decision
    job.mlflow_run_url = labels.get("mlflow_run_url") or job.mlflow_run_url
    if "promoted" in labels:
        job.promoted = labels["promoted"] == "true"
    if not (run.status.final and may_follow(job.status, run.status)):
        return []
    return [_end(job, run.status, run.completed_at or now, _text(run.message))]


def _end(job: RetrainingJob, status: RetrainingStatus, at: datetime, message: str | None) -> JobEvent:
    job.status = status
    job.completed_at = at
    if status is RetrainingStatus.COMPLETED:
        job.progress = 1.0
    elif status is RetrainingStatus.CANCELLED and job.cancelled_by:
        job.error_message = message or f"cancelled by {job.cancelled_by}"
    else:
        job.error_message = message or f"{status}, and Prefect does not say why"
    return _state_event(job, at, job.error_message)


def _state_event(job: RetrainingJob, at: datetime, message: str | None = None) -> JobEvent:
    return _event(job, EventKind.STATE, at, source=f"{job.id}:{job.status}", message=message)


def _event(
    job: RetrainingJob, kind: EventKind, at: datetime, *, source: str, message: str | None = None
) -> JobEvent:
    return JobEvent(
        job_id=job.id,
        model_name=job.model_name,
        at=at,
        kind=kind,
        status=job.status,
        stage=job.stage,
        progress=job.progress,
        message=message,
        source=source,
    )


def _mark(news: RunEvent) -> str:
    """What orders progress events: their time, then their id."""
    return f"{news.at.astimezone(UTC).isoformat(timespec='microseconds')} {news.event_id}"


def _trigger_type(run: JobRun) -> TriggerType:
    if run.cause is not None:
        return run.cause.type
    said = run.labels.get("trigger_type")
    if said in set(TriggerType):
        return TriggerType(said)
    by_schedule = run.created_by is not None and run.created_by[0] == "schedule"
    return TriggerType.SCHEDULED if by_schedule else TriggerType.MANUAL


def _triggered_by(run: JobRun) -> str:
    if run.cause is not None and run.cause.trigger_id is not None:
        return f"trigger:{run.cause.trigger_id}"
    maker = "prefect" if run.created_by is None else ":".join(run.created_by)
    return _labels(run).get("triggered_by") or maker


def _labels(run: JobRun) -> dict[str, str]:
    return {name: storable_text(value) for name, value in run.labels.items()}


def _text(text: str | None) -> str | None:
    return None if text is None else storable_text(text)
