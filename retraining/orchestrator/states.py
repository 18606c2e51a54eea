"""Prefect's flow runs and states in the product's words."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, assert_never

from prefect.client.schemas.objects import FlowRun, State, StateType

import retraining.errors
from retraining.jobs.status import RetrainingStatus
from retraining.orchestrator.labels import LABEL_PREFIX
from retraining.orchestrator.values import JobRun

_CREATORS = {"SCHEDULE": "schedule", "AUTOMATION": "automation"}
_EXCEPTION_MESSAGE = re.compile(
    r"Flow run encountered an exception: (?:(?P<type>\w+): )?(?P<text>.*)", re.DOTALL
)


def job_run(flow_run: FlowRun, now: datetime) -> JobRun | None:
    """Describe a run of the flow `retrain`; None without a deployment or a model name: that is no job."""
    state = flow_run.state
    model_name = flow_run.parameters.get("model_name")
    if state is None or flow_run.deployment_id is None or not isinstance(model_name, str):
        return None
    started = flow_run.run_count > 0
    parameters = flow_run.parameters.get("parameters")
    return JobRun(
        id=flow_run.id,
        model_name=model_name,
        status=_status(state, started=started),
        due=started or _due(flow_run, state, now),
        cancelling=state.is_cancelling(),
        created_at=_created_at(flow_run, state, now),
        # Prefect gives a run that ended before it started its end as its start.
        started_at=flow_run.start_time if started else None,
        completed_at=flow_run.end_time if state.is_final() else None,
        message=_message(state),
        parameters=parameters if isinstance(parameters, Mapping) else {},
        as_of=_moment(flow_run.parameters.get("as_of")),
        created_by=_created_by(flow_run),
        labels={
            name.removeprefix(LABEL_PREFIX): str(value)
            for name, value in flow_run.labels.items()
            if name.startswith(LABEL_PREFIX)
        },
    )


def _created_at(flow_run: FlowRun, state: State[Any], now: datetime) -> datetime:
    """When the run became a job: schedules make their runs days ahead of the time they are planned for."""
    created = flow_run.created or state.timestamp
    planned = flow_run.expected_start_time
    return created if planned is None else max(created, min(planned, flow_run.start_time or now))


def _status(state: State[Any], *, started: bool) -> RetrainingStatus:
    match state.type:
        case StateType.SCHEDULED | StateType.PENDING:
            # A run that started once and waits to be tried again is still under way.
            return RetrainingStatus.RUNNING if started else RetrainingStatus.PENDING
        case StateType.RUNNING | StateType.CANCELLING | StateType.PAUSED:
            return RetrainingStatus.RUNNING
        case StateType.COMPLETED:
            return RetrainingStatus.COMPLETED
        case StateType.FAILED | StateType.CRASHED:
            return RetrainingStatus.FAILED
        case StateType.CANCELLED:
            return RetrainingStatus.CANCELLED
    assert_never(state.type)


def _due(flow_run: FlowRun, state: State[Any], now: datetime) -> bool:
    """Whether a run that never started should have by now (or should have when it was cancelled)."""
    planned = flow_run.expected_start_time
    if planned is None:
        return True
    if state.is_final():
        return planned <= (flow_run.end_time or now)
    if not state.is_scheduled():
        return True
    # A run that waits for its turn is rescheduled a little into the future; it has been due before. A person
    # can also bring a planned run forward.
    rescheduled = state.state_details.scheduled_time
    return planned <= now or (rescheduled is not None and rescheduled <= now)


def _message(state: State[Any]) -> str | None:
    if state.is_crashed():
        return f"the job's process ended unexpectedly: {state.message or 'no further news of it'}"
    if state.message and (found := _EXCEPTION_MESSAGE.fullmatch(state.message)):
        # The product's own errors say everything in their text; of any other the type is half the news.
        if found["type"] is None or hasattr(retraining.errors, found["type"]):
            return found["text"]
        return f"{found['type']}: {found['text']}"
    return state.message or None


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _created_by(flow_run: FlowRun) -> tuple[str, str] | None:
    creator = flow_run.created_by
    if creator is None or creator.id is None or creator.type not in _CREATORS:
        return None
    return _CREATORS[creator.type], str(creator.id)
