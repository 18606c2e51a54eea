"""What the door tells of runs that triggers made, and what it does to those that are not needed."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelled, Pending, Scheduled

from retraining.jobs.job import TriggerType
from retraining.orchestrator.cancellation import find_cancellation
from retraining.orchestrator.prefect_orchestrator import PrefectOrchestrator
from retraining.orchestrator.states import job_run
from retraining.orchestrator.values import JobRun
from retraining.triggers.cause import Cause
from tests.orchestrator.conftest import deploy_bare
from tests.orchestrator.world import PrefectWorld, World

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DUE = NOW - timedelta(hours=1)
TRIGGER, SCHEDULE, OTHER = uuid4(), uuid4(), uuid4()
BREACH = {
    "type": "drift",
    "trigger_id": str(TRIGGER),
    "evaluation_id": str(OTHER),
    "at": NOW.isoformat(),
    "scores": {"age": 0.4},
}


def described(cause: Any, maker: str | None, state: State[Any] | None = None) -> JobRun:
    """A run that was due an hour ago."""
    run = job_run(
        FlowRun(
            id=UUID(int=7),
            flow_id=uuid4(),
            deployment_id=uuid4(),
            parameters={"model_name": "churn", "cause": cause},
            created=DUE - timedelta(days=1),
            expected_start_time=DUE,
            created_by={"id": SCHEDULE, "type": maker} if maker else None,
            state=state or Scheduled(scheduled_time=DUE),
        ),
        NOW,
    )
    assert run is not None
    return run


# Whose run it is


def test_an_automations_run_carries_the_breach() -> None:
    cause = described(BREACH, "AUTOMATION").cause
    assert cause == Cause(
        type=TriggerType.DRIFT,
        trigger_id=TRIGGER,
        at=NOW,
        evaluation_id=OTHER,
        scores={"age": 0.4},
        run_id=UUID(int=7),
    )


def test_a_schedules_run_carries_its_trigger_and_when_it_was_due() -> None:
    parameter = {"type": "scheduled", "trigger_id": str(TRIGGER), "missed_runs": "all"}
    cause = described(parameter, "SCHEDULE").cause
    assert cause is not None
    assert (cause.trigger_id, cause.at, cause.missed_runs) == (TRIGGER, DUE, "all")


@pytest.mark.parametrize("parameter", [None, "nonsense", {"type": "drift"}, {"missed_runs": "latest"}])
def test_a_schedule_made_in_prefect_is_its_own_trigger_and_catches_up_once(parameter: Any) -> None:
    cause = described(parameter, "SCHEDULE").cause
    assert cause is not None
    assert (cause.type, cause.trigger_id, cause.at) == (TriggerType.SCHEDULED, SCHEDULE, DUE)
    assert cause.missed_runs == "latest"


@pytest.mark.parametrize(
    ("parameter", "maker"),
    [(BREACH, None), (None, None), (None, "AUTOMATION"), ({"type": "manual"}, "AUTOMATION")],
    ids=["a copy by hand", "by hand", "a team's automation", "one that claims to be a person"],
)
def test_a_run_that_no_trigger_made_has_no_cause(parameter: Any, maker: str | None) -> None:
    assert described(parameter, maker).cause is None


@pytest.mark.parametrize(
    ("name", "message", "joined", "superseded_by"),
    [
        ("Joined", f"joined job {OTHER}", OTHER, None),
        ("Joined", f"joined job {OTHER}: its breach had started it already", OTHER, None),
        ("Superseded", f"superseded by run {OTHER}, due at 2026-03-01T11:00:00+00:00", None, OTHER),
        ("Cancelled", f"joined job {OTHER}", None, None),
        ("Joined", "joined the army", None, None),
        ("Skipped", "missed: it was due before", None, None),
    ],
)
def test_a_run_that_gave_way_says_to_which(
    name: str, message: str, joined: UUID | None, superseded_by: UUID | None
) -> None:
    run = described(BREACH, "AUTOMATION", Cancelled(name=name, message=message))
    assert (run.joined, run.superseded_by) == (joined, superseded_by)


# The door


async def ids_of(world: World, since: datetime) -> set[UUID]:
    return {run.id for run in await world.orchestrator.runs_of([world.model], since)}


async def test_runs_that_wait_run_or_ended_since_then_are_told(world: World) -> None:
    waiting, running, ended = [await world.plan(ahead=timedelta(0)) for _ in range(3)]
    await world.plan(ahead=timedelta(minutes=2))
    await world.start(running)
    await world.end(ended, "cancelled", "by hand")

    assert await ids_of(world, datetime.now(UTC) - timedelta(minutes=1)) == {waiting, running, ended}
    assert await ids_of(world, datetime.now(UTC) + timedelta(minutes=1)) == {waiting, running}


async def test_a_waiting_run_is_ended_under_a_name_of_its_own(world: World) -> None:
    job, run = [await world.plan(ahead=timedelta(0)) for _ in range(2)]

    for _ in range(2):
        assert await world.orchestrator.end_waiting(run, "Joined", f"joined job {job}")

    ended = await world.orchestrator.read_run(run)
    assert ended is not None
    assert (ended.status, ended.joined, ended.message) == ("cancelled", job, f"joined job {job}")


async def test_a_run_that_runs_is_not_ended(world: World) -> None:
    run = await world.plan(ahead=timedelta(0))
    await world.start(run)
    assert not await world.orchestrator.end_waiting(run, "Joined", f"joined job {uuid4()}")
    found = await world.orchestrator.read_run(run)
    assert found is not None
    assert found.status == "running"


async def test_a_run_that_is_gone_does_not_wait(world: World) -> None:
    assert not await world.orchestrator.end_waiting(uuid4(), "Joined", "joined job")


async def test_a_run_that_a_worker_has_taken_is_left_to_its_process(prefect_world: PrefectWorld) -> None:
    run = await prefect_world.plan(ahead=timedelta(0))
    await prefect_world.client.set_flow_run_state(run, Pending())
    assert not await prefect_world.orchestrator.end_waiting(run, "Joined", f"joined job {uuid4()}")


async def test_a_process_that_starts_for_a_run_that_joined_meanwhile_ends_it_as_it_was(
    prefect_world: PrefectWorld, client: PrefectClient, prefect_api: str
) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    run = await prefect_world.plan(ahead=timedelta(0))
    message = f"joined job {uuid4()}"
    await prefect_world.orchestrator.end_waiting(run, "Joined", message)
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        state = await asyncio.to_thread(find_cancellation, run)
    assert state is not None
    assert (state.name, state.message) == ("Joined", message)


async def test_runs_are_told_in_pages_of_any_size(
    prefect_world: PrefectWorld, client: PrefectClient, prefect_api: str
) -> None:
    await deploy_bare(client, f"{prefect_world.model}-other")
    planned = {await prefect_world.plan(ahead=timedelta(0)) for _ in range(7)}
    async with PrefectOrchestrator(prefect_api, request_seconds=60, page_size=3) as door:
        found = await door.runs_of([prefect_world.model], datetime.now(UTC))
    assert {run.id for run in found} == planned
    assert len(found) == 7
