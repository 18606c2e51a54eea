"""Prefect's states in the product's words: a table, without a server."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import AwaitingConcurrencySlot, AwaitingRetry, Late, Paused, Scheduled

from retraining.jobs.status import RetrainingStatus
from retraining.orchestrator.states import job_run
from retraining.orchestrator.values import JobRun

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AN_HOUR = timedelta(hours=1)


def described(state: State[Any], *, started: bool = False, **changes: Any) -> JobRun:
    given: dict[str, Any] = {
        "flow_id": uuid4(),
        "deployment_id": uuid4(),
        "parameters": {"model_name": "churn"},
        "created": NOW - AN_HOUR,
        "expected_start_time": NOW - AN_HOUR,
        "run_count": int(started),
        "start_time": NOW - AN_HOUR if started else None,
        "end_time": NOW if state.is_final() else None,
        "state": state,
    }
    run = job_run(FlowRun(**given | changes), NOW)
    assert run is not None
    return run


@pytest.mark.parametrize(
    ("state", "started", "status"),
    [
        (Scheduled(), False, RetrainingStatus.PENDING),
        (Late(), False, RetrainingStatus.PENDING),
        (AwaitingConcurrencySlot(), False, RetrainingStatus.PENDING),
        (State(type=StateType.PENDING), False, RetrainingStatus.PENDING),
        (State(type=StateType.PENDING), True, RetrainingStatus.RUNNING),
        (AwaitingRetry(), True, RetrainingStatus.RUNNING),
        (State(type=StateType.RUNNING), True, RetrainingStatus.RUNNING),
        (State(type=StateType.RUNNING, name="Retrying"), True, RetrainingStatus.RUNNING),
        (Paused(), True, RetrainingStatus.RUNNING),
        (State(type=StateType.CANCELLING), True, RetrainingStatus.RUNNING),
        (State(type=StateType.COMPLETED), True, RetrainingStatus.COMPLETED),
        (State(type=StateType.FAILED), True, RetrainingStatus.FAILED),
        (State(type=StateType.CRASHED), True, RetrainingStatus.FAILED),
        (State(type=StateType.CANCELLED), True, RetrainingStatus.CANCELLED),
        (State(type=StateType.CANCELLED), False, RetrainingStatus.CANCELLED),
    ],
    ids=lambda value: f"{value.type.value}-{value.name}" if isinstance(value, State) else str(value),
)
def test_every_state_has_a_status(state: State[Any], started: bool, status: RetrainingStatus) -> None:
    run = described(state, started=started)

    assert run.status is status
    assert run.due
    assert run.cancelling is (state.type is StateType.CANCELLING)
    assert (run.completed_at is not None) is status.final


def test_every_type_of_state_that_prefect_knows_is_mapped() -> None:
    for kind in StateType:
        assert isinstance(described(State(type=kind), started=True).status, RetrainingStatus)


def test_a_run_planned_for_later_is_not_due() -> None:
    later = NOW + AN_HOUR

    planned = described(Scheduled(scheduled_time=later), expected_start_time=later)

    assert not planned.due
    assert planned.status is RetrainingStatus.PENDING


def test_a_planned_run_that_a_worker_took_early_is_due() -> None:
    assert described(State(type=StateType.PENDING), expected_start_time=NOW + AN_HOUR).due


def test_a_planned_run_that_was_brought_forward_is_due() -> None:
    assert described(Scheduled(scheduled_time=NOW), expected_start_time=NOW + AN_HOUR).due


def test_a_run_that_waits_for_its_turn_stays_due() -> None:
    waiting: State[Any] = AwaitingConcurrencySlot(scheduled_time=NOW + timedelta(seconds=5))

    assert described(waiting, expected_start_time=NOW - AN_HOUR).due


def test_a_planned_run_cancelled_before_its_time_never_was_due() -> None:
    cancelled = State[Any](type=StateType.CANCELLED)

    assert not described(cancelled, expected_start_time=NOW + AN_HOUR).due


def test_a_run_cancelled_before_it_started_has_no_start() -> None:
    """Prefect gives it its end as its start."""
    cancelled = described(State(type=StateType.CANCELLED), start_time=NOW)

    assert cancelled.started_at is None
    assert cancelled.completed_at == NOW


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (State(type=StateType.FAILED, message="no rows in the window"), "no rows in the window"),
        (
            State(
                type=StateType.FAILED,
                message="Flow run encountered an exception: InsufficientTrainingData: "
                "insufficient training data: 120 rows, needs 500",
            ),
            "insufficient training data: 120 rows, needs 500",
        ),
        (
            State(type=StateType.FAILED, message="Flow run encountered an exception: KeyError: 'x'"),
            "KeyError: 'x'",
        ),
        (
            State(type=StateType.FAILED, message="Flow run encountered an exception: ValueError: a\nb"),
            "ValueError: a\nb",
        ),
        (
            State(type=StateType.CRASHED, message="Process exited with status code: -9."),
            "the job's process ended unexpectedly: Process exited with status code: -9.",
        ),
        (
            State(type=StateType.CRASHED),
            "the job's process ended unexpectedly: no further news of it",
        ),
        (State(type=StateType.CANCELLED, message="by hand"), "by hand"),
        (State(type=StateType.COMPLETED), None),
    ],
)
def test_the_message_is_for_people(state: State[Any], message: str | None) -> None:
    assert described(state, started=True).message == message


@pytest.mark.parametrize(
    ("creator", "expected"),
    [("SCHEDULE", "schedule"), ("AUTOMATION", "automation"), ("USER", None), (None, None)],
)
def test_the_creator_is_a_schedule_an_automation_or_a_person(
    creator: str | None, expected: str | None
) -> None:
    creator_id = uuid4()
    created_by = {"id": creator_id, "type": creator} if creator else None

    run = described(Scheduled(), created_by=created_by)

    assert run.created_by == ((expected, str(creator_id)) if expected else None)


def test_labels_lose_their_prefix_and_foreign_ones_are_left_out() -> None:
    labels = {"retraining.triggered_by": "alice", "retraining.version_before": 3, "prefect.flow.id": "1"}

    assert described(Scheduled(), labels=labels).labels == {"triggered_by": "alice", "version_before": "3"}


@pytest.mark.parametrize(
    ("given", "as_of"),
    [
        ("1998-04-01T02:00:00+02:00", datetime(1998, 4, 1, tzinfo=UTC)),
        ("1998-04-01", datetime(1998, 4, 1, tzinfo=UTC)),
        ("April", None),
        (None, None),
    ],
)
def test_as_of_is_an_aware_moment_or_nothing(given: object, as_of: datetime | None) -> None:
    assert described(Scheduled(), parameters={"model_name": "churn", "as_of": given}).as_of == as_of


def test_training_parameters_given_as_nothing_are_none() -> None:
    assert described(Scheduled(), parameters={"model_name": "churn", "parameters": None}).parameters == {}


@pytest.mark.parametrize(
    "changes", [{"parameters": {}}, {"parameters": {"model_name": 7}}, {"deployment_id": None}]
)
def test_a_run_without_model_or_deployment_is_no_job(changes: dict[str, Any]) -> None:
    given: dict[str, Any] = {
        "flow_id": uuid4(),
        "deployment_id": uuid4(),
        "parameters": {"model_name": "churn"},
        "state": Scheduled(),
    }

    assert job_run(FlowRun(**given | changes), NOW) is None


@pytest.mark.parametrize(
    ("created", "planned", "started", "became_a_job"),
    [
        (-1, -1, False, -1),
        (-72, -1, False, -1),
        (-72, -1, True, -1),
        (-1, -2, False, -1),
        (-72, 24, True, -1),
        (-1, None, False, -1),
    ],
    ids=["at once", "by a schedule", "and it runs", "late", "brought forward", "without a plan"],
)
def test_a_run_is_dated_when_it_became_a_job(
    created: int, planned: int | None, started: bool, became_a_job: int
) -> None:
    """Schedules make runs days ahead; among jobs such a run is as new as its due time."""
    expected = None if planned is None else NOW + planned * AN_HOUR
    run = described(
        Scheduled(), started=started, created=NOW + created * AN_HOUR, expected_start_time=expected
    )

    assert run.created_at == NOW + became_a_job * AN_HOUR
