"""Prefect's flow runs and states in the product's words."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, assert_never
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, State, StateType

import retraining.errors
from retraining.jobs.job import TriggerType
from retraining.jobs.status import RetrainingStatus
from retraining.orchestrator.labels import LABEL_PREFIX
from retraining.orchestrator.values import JobRun
from retraining.triggers.cause import Cause, find_cause

_CREATORS = {"SCHEDULE": "schedule", "AUTOMATION": "automation"}
_EXCEPTION_MESSAGE = re.compile(
    r"Flow run encountered an exception: (?:(?P<type>\w+): )?(?P<text>.*)", re.DOTALL
)
_JOINED = re.compile(r"joined job ([0-9a-f-]{36})\b.*", re.DOTALL)
_SUPERSEDED = re.compile(r"superseded by run ([0-9a-f-]{36})\b.*", re.DOTALL)


def job_run(flow_run: FlowRun, now: datetime) -> JobRun | None:
    """Describe a run of the flow `retrain`; None without a deployment or a model name: that is no job."""
    state = flow_run.state
    model_name = flow_run.parameters.get("model_name")
    if state is None or flow_run.deployment_id is None or not isinstance(model_name, str):
        return None
    started = flow_run.run_count > 0
    parameters = flow_run.parameters.get("parameters")
    created_at = _created_at(flow_run, state, now)
    created_by = _created_by(flow_run)
    return JobRun(
        id=flow_run.id,
        model_name=model_name,
        status=_status(state, started=started),
        due=started or _due(flow_run, state, now),
        cancelling=state.is_cancelling(),
        created_at=created_at,
        # Prefect gives a run that ended before it started its end as its start.
        started_at=flow_run.start_time if started else None,
        completed_at=flow_run.end_time if state.is_final() else None,
        message=_message(state),
        parameters=parameters if isinstance(parameters, Mapping) else {},
        as_of=_moment(flow_run.parameters.get("as_of")),
        created_by=created_by,
        labels={
            name.removeprefix(LABEL_PREFIX): str(value)
            for name, value in flow_run.labels.items()
            if name.startswith(LABEL_PREFIX)
        },
        cause=_cause(flow_run, created_by, created_at),
        taken_at=state.timestamp if state.is_pending() and not started else None,
        joined=_named(state, "Joined", _JOINED),
        superseded_by=_named(state, "Superseded", _SUPERSEDED),
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


def _cause(flow_run: FlowRun, created_by: tuple[str, str] | None, created_at: datetime) -> Cause | None:
    """What a schedule or an automation started it for.

    A person who starts a run with the parameters of another one starts it by hand all the same, and so does a
    team's own automation, which hands no cause over.
    """
    if created_by is None:
        return None
    maker, maker_id = created_by
    cause = find_cause(flow_run.parameters.get("cause"))
    if maker == "schedule":
        if (
            cause is None or cause.type is not TriggerType.SCHEDULED
        ):  # made in Prefect, without our parameters
            cause = Cause(type=TriggerType.SCHEDULED)
        cause = cause.model_copy(
            update={"at": created_at, "trigger_id": cause.trigger_id or _identifier(maker_id)}
        )
    if cause is None or cause.type is TriggerType.MANUAL:
        return None
    return cause.model_copy(update={"at": cause.at or created_at, "run_id": flow_run.id})


def _named(state: State[Any], name: str, message: re.Pattern[str]) -> UUID | None:
    """The run that a state names in which our admission ended this one."""
    if not state.is_cancelled() or state.name != name:
        return None
    found = message.fullmatch(state.message or "")
    return None if found is None else _identifier(found[1])


def _identifier(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
