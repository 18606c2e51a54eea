"""What `retraining deploy` makes against dead jobs: a deployment and an automation that notices them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.states import Crashed, Pending, Running, Scheduled

from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.guard import HEARTBEAT_EVENT, dismiss_looks
from retraining.orchestrator.guard_deployment import NAME_PREFIX, NET_SLUG, deploy_guard

SILENCE = timedelta(seconds=10)  # the least that Prefect allows
BOUND_SECONDS = 240
AGAIN_BEATS = 40
"""Prefect on SQLite loses an event now and then, if its database is locked while it looks at it."""


@pytest.fixture
async def connection(prefect_api: str) -> AsyncIterator[PrefectConnection]:
    async with PrefectConnection(prefect_api, request_seconds=60) as connection:
        yield connection


@pytest.fixture
async def work_pool(client: PrefectClient) -> AsyncIterator[str]:
    """A work pool that no worker looks at; its guard hears of nothing when the test is over."""
    name = f"pool-{uuid4().hex[:8]}"
    await client.create_work_pool(WorkPoolCreate(name=name, type="process"))
    yield name
    for automation in await client.read_automations_by_name(f"{NAME_PREFIX}{name}"):
        await client.delete_automation(automation.id)


async def deployed_model(client: PrefectClient, work_pool: str, model: str) -> UUID:
    return await client.create_deployment(
        await client.create_flow_from_name("retrain"),
        model,
        parameters={"model_name": model},
        tags=["retraining"],
        work_pool_name=work_pool,
    )


async def running(client: PrefectClient, deployment_id: UUID) -> UUID:
    run = await client.create_flow_run_from_deployment(deployment_id)
    await client.set_flow_run_state(run.id, Pending())
    await client.set_flow_run_state(run.id, Running())
    return run.id


async def heartbeat(client: PrefectClient, run_id: UUID) -> None:
    event = {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": HEARTBEAT_EVENT,
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run_id}"},
        "related": [{"prefect.resource.id": "prefect.tag.retraining", "prefect.resource.role": "tag"}],
    }
    await client.request("POST", "/events", json=[event])


async def guards(client: PrefectClient, work_pool: str) -> dict[str, FlowRun]:
    """By the run that it was started for."""
    deployment = await client.read_deployment_by_name(f"guard/{work_pool}")
    runs = [run for run in await client.read_flow_runs() if run.deployment_id == deployment.id]
    asked = [run for run in runs if "run_id" in run.parameters]  # others are planned by the schedule
    return {str(run.parameters["run_id"]).rpartition(".")[2]: run for run in asked}


async def test_deploying_again_changes_nothing_and_what_was_switched_off_stays_off(
    client: PrefectClient, connection: PrefectConnection, work_pool: str
) -> None:
    names = [f"guard/{work_pool}", f"{NAME_PREFIX}{work_pool}"]
    first = await deploy_guard(connection, work_pool)
    again = await deploy_guard(connection, work_pool)
    [automation] = await client.read_automations_by_name(names[1])
    await client.pause_automation(automation.id)
    renewed = await deploy_guard(connection, work_pool, silence=SILENCE)

    assert [(one.name, one.change) for one in first] == [(name, "created") for name in names]
    assert [(one.name, one.change) for one in again] == [(name, "unchanged") for name in names]
    assert [one.change for one in renewed] == ["unchanged", "updated"]
    [kept] = await client.read_automations_by_name(names[1])
    assert kept.id == automation.id
    assert not kept.enabled


async def test_the_guard_looks_by_itself_too_unless_somebody_has_switched_that_off(
    client: PrefectClient, connection: PrefectConnection, work_pool: str
) -> None:
    """A schedule that is gone comes back, as one of a guard that was deployed before there was any."""
    await deploy_guard(connection, work_pool)
    [schedule] = (deployment := await client.read_deployment_by_name(f"guard/{work_pool}")).schedules
    assert (schedule.slug, schedule.active) == (NET_SLUG, True)
    await client.update_deployment_schedule(deployment.id, schedule.id, active=False)

    [again, _] = await deploy_guard(connection, work_pool)
    [kept] = (await client.read_deployment(deployment.id)).schedules
    await client.delete_deployment_schedule(deployment.id, schedule.id)
    [renewed, _] = await deploy_guard(connection, work_pool)

    assert (again.change, renewed.change) == ("unchanged", "updated")
    assert (kept.id, kept.active) == (schedule.id, False)
    assert [one.slug for one in (await client.read_deployment(deployment.id)).schedules] == [NET_SLUG]


async def test_looks_that_were_missed_are_done_by_one_and_questions_about_a_run_are_kept(
    client: PrefectClient, connection: PrefectConnection, work_pool: str
) -> None:
    await deploy_guard(connection, work_pool)
    deployment = await client.read_deployment_by_name(f"guard/{work_pool}")
    missed = [await client.create_flow_run_from_deployment(deployment.id) for _ in range(2)]
    asked = await client.create_flow_run_from_deployment(
        deployment.id, parameters={"run_id": str(uuid4()), "work_pool": work_pool}
    )
    later = await client.create_flow_run_from_deployment(
        deployment.id, state=Scheduled(scheduled_time=datetime.now(UTC) + timedelta(hours=1))
    )

    assert await dismiss_looks(connection, deployment.id) == len(missed)

    states = [(await client.read_flow_run(run.id)).state_name for run in [*missed, asked, later]]
    assert states == ["Superseded", "Superseded", "Scheduled", "Scheduled"]


async def test_a_silent_run_and_a_crashed_one_have_the_guard_started_and_a_healthy_one_has_not(
    client: PrefectClient, connection: PrefectConnection, work_pool: str, model: str
) -> None:
    """The healthy one sends heartbeats all the time that it takes Prefect to notice the silent one."""
    deployment_id = await deployed_model(client, work_pool, model)
    await deploy_guard(connection, work_pool, silence=SILENCE)
    healthy = await running(client, deployment_id)
    silent: set[str] = set()
    crashed: set[str] = set()

    found: dict[str, FlowRun] = {}
    beat = count()
    async with asyncio.timeout(BOUND_SECONDS):
        while not (silent & found.keys() and crashed & found.keys()):
            if next(beat) % AGAIN_BEATS == 0:
                silent.add(str(await running(client, deployment_id)))
                crashed.add(str(one := await running(client, deployment_id)))
                await client.set_flow_run_state(one, Crashed())
            await heartbeat(client, healthy)
            await asyncio.sleep(0.5)
            found = await guards(client, work_pool)

    assert str(healthy) not in found
    for guard in found.values():
        assert guard.parameters["work_pool"] == work_pool
        assert "retraining" not in guard.tags, "nobody guards the guard"
