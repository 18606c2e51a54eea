"""What only the real door can get wrong: paging, deployments that come and go, other people's runs."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.events import Event, RelatedResource, Resource
from prefect.events.clients import PrefectEventsClient
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Completed, Pending, Running, Scheduled

from retraining.errors import NotDeployed, OrchestratorRefused
from retraining.jobs.status import RetrainingStatus
from retraining.orchestrator.cancellation import find_cancellation
from retraining.orchestrator.labels import PROGRESS_EVENT
from retraining.orchestrator.prefect_orchestrator import PAGE, PrefectOrchestrator
from retraining.orchestrator.values import RunRequest
from tests.orchestrator.conftest import deploy_bare
from tests.orchestrator.world import PrefectWorld


def request(model: str, **labels: str) -> RunRequest:
    return RunRequest(model, {}, None, uuid4().hex, labels)


async def test_active_runs_reach_beyond_a_page_even_if_all_were_planned_for_one_moment(
    prefect_world: PrefectWorld,
) -> None:
    await prefect_world.plan_many(PAGE + 20, at=datetime.now(UTC) - timedelta(days=30))

    active = [
        run.id
        for run in await prefect_world.orchestrator.active_runs()
        if run.model_name == prefect_world.model
    ]

    assert len(active) == len(set(active)) == PAGE + 20


@pytest.fixture
async def narrow_door(prefect_api: str) -> AsyncIterator[PrefectOrchestrator]:
    """A door that asks for five rows at a time."""
    async with PrefectOrchestrator(prefect_api, request_seconds=60, page_size=5) as orchestrator:
        yield orchestrator


async def test_finished_runs_come_page_by_page_each_once(
    prefect_world: PrefectWorld, narrow_door: PrefectOrchestrator, client: PrefectClient
) -> None:
    """Seven runs a moment, so that pages end between runs of one moment and between moments."""
    before = datetime.now(UTC)
    for day in range(3):
        await prefect_world.plan_many(7, at=before - timedelta(days=90 + day))
    planned = [
        run.id
        for run in await prefect_world.orchestrator.active_runs()
        if run.model_name == prefect_world.model
    ]
    for run_id in planned:
        await client.set_flow_run_state(run_id, Completed())

    finished = [
        run async for run in narrow_door.finished_runs(before) if run.model_name == prefect_world.model
    ]

    assert len(planned) == 21
    assert sorted(run.id for run in finished) == sorted(planned)
    assert {run.status for run in finished} == {RetrainingStatus.COMPLETED}


async def test_logs_come_page_by_page(prefect_world: PrefectWorld, narrow_door: PrefectOrchestrator) -> None:
    run_id = await prefect_world.plan(ahead=timedelta(0))
    await prefect_world.log(run_id, [f"line {number}" for number in range(18)])

    lines = await narrow_door.logs(run_id, limit=13, offset=3)

    assert [line.message for line in lines] == [f"line {number}" for number in range(3, 16)]


async def test_a_deployment_made_anew_is_found_again(
    door: PrefectOrchestrator, client: PrefectClient, model: str
) -> None:
    first = await deploy_bare(client, model)
    await door.create_run(request(model))
    await client.delete_deployment(first)
    with pytest.raises(NotDeployed):
        await door.create_run(request(model))
    second = await deploy_bare(client, model)

    run = await door.create_run(request(model))

    assert (await client.read_flow_run(run.id)).deployment_id == second


async def test_people_see_in_prefect_what_a_run_is_about(
    prefect_world: PrefectWorld, client: PrefectClient
) -> None:
    as_of = datetime(1998, 4, 1, tzinfo=UTC)
    asked = RunRequest(prefect_world.model, {}, as_of, uuid4().hex, {"triggered_by": "alice"})

    run = await prefect_world.orchestrator.create_run(asked)

    stored = await client.read_flow_run(run.id)
    assert stored.name == f"{prefect_world.model} as of 1998-04-01 for alice"
    assert stored.labels["retraining.triggered_by"] == "alice"
    assert stored.parameters == {
        "model_name": prefect_world.model,
        "parameters": {},
        "as_of": "1998-04-01T00:00:00+00:00",
    }


async def test_a_run_of_another_flow_is_no_job(
    door: PrefectOrchestrator, client: PrefectClient, model: str
) -> None:
    foreign = await deploy_bare(client, model, flow_name="another-flow")
    run = await client.create_flow_run_from_deployment(foreign)

    async with door.events() as stream:
        await client.set_flow_run_state(run.id, Running())
        mine = await client.create_flow_run_from_deployment(await deploy_bare(client, model))
        async with asyncio.timeout(10):
            seen = []
            while mine.id not in seen:
                seen.append((await anext(stream)).run_id)

    assert run.id not in seen
    assert await door.read_run(run.id) is None
    assert run.id not in [active.id for active in await door.active_runs()]


async def test_a_run_of_a_schedule_names_it(prefect_world: PrefectWorld, client: PrefectClient) -> None:
    """It also shows that the server makes runs of schedules at all: with SQLAlchemy 2.1 it never does."""
    every_second = DeploymentScheduleCreate(
        schedule=IntervalSchedule(interval=timedelta(seconds=1)), active=True
    )
    [schedule] = await client.create_deployment_schedules(prefect_world.deployment_id, [every_second])

    for _ in range(300):
        runs = await prefect_world.orchestrator.active_runs()
        mine = [run for run in runs if run.model_name == prefect_world.model]
        if mine:
            break
        await asyncio.sleep(0.2)
    await client.delete_deployment_schedule(prefect_world.deployment_id, schedule.id)

    assert {run.created_by for run in mine} == {("schedule", str(schedule.id))}


async def test_cancelling_while_the_process_starts_ends_the_run_at_once(
    prefect_world: PrefectWorld, client: PrefectClient, prefect_api: str
) -> None:
    """Prefect's worker would leave it cancelling; its process learns from the run's history not to begin."""
    run = await prefect_world.orchestrator.create_run(request(prefect_world.model))
    await client.set_flow_run_state(run.id, Pending())
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        early = await asyncio.to_thread(find_cancellation, run.id)

    cancelled = await prefect_world.orchestrator.cancel_run(run.id)

    assert cancelled.status is RetrainingStatus.CANCELLED
    assert cancelled.message == "cancelled before it started"
    await client.set_flow_run_state(run.id, Running())
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        late = await asyncio.to_thread(find_cancellation, run.id)
    assert early is None
    assert late is not None
    assert (late.name, late.message) == ("Cancelled", "cancelled before it started")


async def test_a_run_that_the_prefect_ui_left_cancelling_before_it_started_ends_as_well(
    prefect_world: PrefectWorld, client: PrefectClient
) -> None:
    run = await prefect_world.orchestrator.create_run(request(prefect_world.model))
    await client.set_flow_run_state(run.id, Pending())
    await client.set_flow_run_state(run.id, Cancelling())

    cancelled = await prefect_world.orchestrator.cancel_run(run.id)

    assert cancelled.status is RetrainingStatus.CANCELLED


async def test_heartbeats_are_no_news_and_a_progress_that_makes_no_sense_does_no_harm(
    prefect_world: PrefectWorld, prefect_api: str
) -> None:
    run_id = await prefect_world.plan(ahead=timedelta(hours=1))
    resource = Resource({"prefect.resource.id": f"prefect.flow-run.{run_id}"})
    of_retrain = RelatedResource(
        {
            "prefect.resource.id": "prefect.flow.any",
            "prefect.resource.role": "flow",
            "prefect.resource.name": "retrain",
        }
    )
    async with prefect_world.orchestrator.events() as stream:
        async with PrefectEventsClient(api_url=prefect_api) as events:
            await events.emit(
                Event(event="prefect.flow-run.heartbeat", resource=resource, related=[of_retrain])
            )
            await events.emit(Event(event=PROGRESS_EVENT, resource=resource, payload={"fraction": "half"}))
        heard = []
        async with asyncio.timeout(30):
            async for event in stream:
                if event.run_id == run_id:
                    heard.append(event)
                    if event.kind == "progress":
                        break

    assert {event.kind for event in heard[:-1]} <= {"state"}
    assert all(event.run is not None and not event.run.due for event in heard[:-1])
    assert len(heard) <= 2  # the state in which it was planned may be told as well
    assert (heard[-1].stage, heard[-1].fraction, heard[-1].message) == (None, None, None)


async def test_a_state_is_heard_of_within_half_a_second(prefect_world: PrefectWorld) -> None:
    """The best of three: what others do on the machine may delay one, a batch somewhere would delay all."""
    delays = []
    async with prefect_world.orchestrator.events() as stream:
        for _ in range(3):
            run = await prefect_world.orchestrator.create_run(request(prefect_world.model))
            await prefect_world.start(run.id)
            started_at = time.monotonic()
            async with asyncio.timeout(30):
                async for event in stream:
                    if event.run is not None and (event.run_id, event.run.status) == (run.id, "running"):
                        break
            delays.append(time.monotonic() - started_at)

    assert min(delays) < 0.5


async def test_a_refusal_gives_the_servers_reason(
    door: PrefectOrchestrator, client: PrefectClient, model: str
) -> None:
    flow_id = await client.create_flow_from_name("retrain")
    await client.create_deployment(
        flow_id,
        model,
        parameters={"model_name": model},
        enforce_parameter_schema=True,
        parameter_openapi_schema={
            "type": "object",
            "properties": {"model_name": {"type": "string"}, "parameters": {"type": "string"}},
        },
    )

    with pytest.raises(OrchestratorRefused, match=r"refused to create a run of retrain/.*field 'parameters'"):
        await door.create_run(request(model))


async def test_a_planned_run_can_be_cancelled_before_it_is_due(
    prefect_world: PrefectWorld, client: PrefectClient
) -> None:
    planned = await client.create_flow_run_from_deployment(
        prefect_world.deployment_id,
        state=Scheduled(scheduled_time=datetime.now(UTC) + timedelta(hours=1)),
    )

    cancelled = await prefect_world.orchestrator.cancel_run(planned.id)

    assert cancelled.status is RetrainingStatus.CANCELLED
    assert not cancelled.due


async def test_a_door_that_nobody_entered_says_what_to_do(prefect_api: str) -> None:
    with pytest.raises(RuntimeError, match="enter the orchestrator first"):
        await PrefectOrchestrator(prefect_api).ping()


def test_the_ui_is_where_the_api_is_unless_told_otherwise() -> None:
    run_id = uuid4()

    here = PrefectOrchestrator("http://prefect:4200/api/").run_url(run_id)
    elsewhere = PrefectOrchestrator("http://prefect:4200/api", ui_url="https://ui.example/").run_url(run_id)

    assert here == f"http://prefect:4200/runs/flow-run/{run_id}"
    assert elsewhere == f"https://ui.example/runs/flow-run/{run_id}"
