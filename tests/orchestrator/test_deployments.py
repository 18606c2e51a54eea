"""`retraining deploy` and `prefect deploy --all` make the same, and leave the other's work alone."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate, WorkPoolUpdate
from prefect.client.schemas.schedules import IntervalSchedule

from retraining.builtin.churn import churn
from retraining.builtin.profitability import profitability
from retraining.orchestrator.prefect_orchestrator import PrefectOrchestrator
from retraining.orchestrator.values import TriggerOrder
from retraining.triggers.condition import ScheduledCondition
from tests.servers import prefect_server

ROOT = Path(__file__).parents[2]
MODELS = [churn, profitability]
POOL = "retraining"
OF_MODELS = ["retrain/churn", "monitor/churn", "retrain/profitability", "monitor/profitability"]
NAMES = [*OF_MODELS, "guard/retraining"]
AUTOMATION = "retraining dead jobs of retraining"
INCIDENTAL = {"id", "created", "updated", "flow_id", "labels", "work_queue_id", "last_polled", "status"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that has no deployment yet."""
    with prefect_server(tmp_path_factory.mktemp("undeployed-prefect")) as url:
        yield url


@pytest.fixture
async def client(server: str) -> AsyncIterator[PrefectClient]:
    """A client of that server; it is without deployments, work pool and automations again."""
    async with PrefectClient(server, httpx_settings={"timeout": 60}) as client:
        for deployment in await client.read_deployments():
            await client.delete_deployment(deployment.id)
        for pool in await client.read_work_pools():
            await client.delete_work_pool(pool.name)
        for automation in await client.read_automations():
            await client.delete_automation(automation.id)
        yield client


@pytest.fixture
async def door(server: str) -> AsyncIterator[PrefectOrchestrator]:
    """The door on that server."""
    async with PrefectOrchestrator(server, request_seconds=60) as door:
        yield door


async def prefect_deploy(server: str) -> tuple[int | None, str]:
    """What people type in a checkout; its exit status and what it said."""
    command = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "prefect", "deploy", "--all", "--no-prompt"),
        cwd=ROOT,
        env={**os.environ, "PREFECT_API_URL": server, "COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await command.communicate()
    return command.returncode, said.decode()


async def deployed(client: PrefectClient, *, without: set[str] = INCIDENTAL) -> dict[str, dict[str, Any]]:
    """All that the server says about the deployments, by name."""
    found = [await client.read_deployment_by_name(name) for name in NAMES]
    shown = [deployment.model_dump(mode="json", exclude=without) for deployment in found]
    for deployment in shown:
        limit = deployment["global_concurrency_limit"]
        deployment["global_concurrency_limit"] = {key: limit[key] for key in ("limit", "active")}
        for schedule in deployment["schedules"]:
            for key in without & {"id", "created", "updated"} | ({"deployment_id"} if without else set()):
                del schedule[key]
    return dict(zip(NAMES, shown, strict=True))


async def test_both_ways_make_the_same_and_change_nothing_of_each_other(
    server: str, client: PrefectClient, door: PrefectOrchestrator
) -> None:
    status, said = await prefect_deploy(server)
    assert status == 1
    assert f"references work pool '{POOL}' which does not exist" in said

    first = await door.deploy(MODELS, work_pool=POOL)
    ours = await deployed(client)
    status, said = await prefect_deploy(server)
    assert status == 0, said
    theirs_over_ours = await deployed(client)
    for name in NAMES:
        await client.delete_deployment((await client.read_deployment_by_name(name)).id)
    status, said = await prefect_deploy(server)
    assert status == 0, said
    theirs = await deployed(client)
    before = await deployed(client, without=set())
    again = await door.deploy(MODELS, work_pool=POOL)

    assert [(one.name, one.change) for one in first] == [(name, "created") for name in [*NAMES, AUTOMATION]]
    # The guard that the automation was to run is another one now.
    assert [(one.name, one.change) for one in again] == [
        *((name, "unchanged") for name in NAMES),
        (AUTOMATION, "updated"),
    ]
    assert ours == theirs_over_ours == theirs
    assert await deployed(client, without=set()) == before


async def test_a_deployment_says_what_it_is_and_runs_one_job_at_a_time(
    client: PrefectClient, door: PrefectOrchestrator
) -> None:
    await door.deploy(MODELS, work_pool=POOL)

    found = (await deployed(client))["retrain/churn"]

    assert found["entrypoint"] == "flows.retrain.retrain"
    assert (found["path"], found["pull_steps"]) == (None, [])
    assert found["parameters"] == {"model_name": "churn"}
    assert found["tags"] == ["retraining", "model:churn"]
    assert found["description"] == churn.description
    assert found["work_pool_name"] == POOL
    assert found["enforce_parameter_schema"]
    assert set(found["parameter_openapi_schema"]["properties"]) == {
        "model_name",
        "parameters",
        "as_of",
        "cause",
    }
    assert found["global_concurrency_limit"]["limit"] == 1
    assert found["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert (await client.read_work_pool(POOL)).type == "process"


async def test_jobs_and_checks_send_heartbeats_and_whoever_wants_other_ones_keeps_them(
    client: PrefectClient, door: PrefectOrchestrator
) -> None:
    await door.deploy(MODELS, work_pool=POOL)
    found = await deployed(client)
    for name in OF_MODELS:
        assert found[name]["job_variables"] == {"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}}

    theirs = {"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "120"}, "working_dir": "/srv/jobs"}
    mine = await client.read_deployment_by_name("retrain/churn")
    await client.update_deployment(mine.id, DeploymentUpdate(job_variables=theirs))
    await door.deploy(MODELS, work_pool=POOL)

    assert (await client.read_deployment_by_name("retrain/churn")).job_variables == theirs


async def test_a_monitor_is_deployed_beside_the_job(client: PrefectClient, door: PrefectOrchestrator) -> None:
    await door.deploy(MODELS, work_pool=POOL)

    found = (await deployed(client))["monitor/churn"]

    assert found["entrypoint"] == "flows.monitor.monitor"
    assert found["parameters"] == {"model_name": "churn"}
    assert found["work_pool_name"] == POOL
    assert {"trigger_id", "trigger_type", "condition", "enabled", "as_of", "report", "by"} <= set(
        found["parameter_openapi_schema"]["properties"]
    )
    assert found["global_concurrency_limit"]["limit"] == 1


async def test_a_renewed_deployment_keeps_its_planned_runs(
    client: PrefectClient, door: PrefectOrchestrator
) -> None:
    """Prefect deletes them, and would plan them anew from when it next looks."""
    await door.deploy(MODELS, work_pool=POOL)
    every_hour = ScheduledCondition(every="1h")
    order = TriggerOrder(uuid4(), "churn", every_hour, enabled=True, created_at=datetime.now(UTC))
    await door.triggers.put_trigger(order)
    before = {run.expected_start_time for run in await client.read_flow_runs()}

    await door.deploy([churn.model_copy(update={"description": "Who leaves."})], work_pool=POOL)

    assert len(before) >= 3
    assert {run.expected_start_time for run in await client.read_flow_runs()} == before


async def test_what_people_add_stays_when_a_deployment_is_renewed(
    client: PrefectClient, door: PrefectOrchestrator
) -> None:
    await door.deploy(MODELS, work_pool=POOL)
    mine = await client.read_deployment_by_name("retrain/churn")
    every_hour = DeploymentScheduleCreate(schedule=IntervalSchedule(interval=timedelta(hours=1)), active=True)
    [schedule] = await client.create_deployment_schedules(mine.id, [every_hour])
    await client.update_deployment(mine.id, DeploymentUpdate(job_variables={"env": {"OMP_NUM_THREADS": "1"}}))
    await client.pause_deployment(mine.id)

    changes = await door.deploy(
        [churn.model_copy(update={"description": "Who leaves."}), profitability], work_pool=POOL
    )

    renewed = await client.read_deployment_by_name("retrain/churn")
    assert [one.change for one in changes] == ["updated", *["unchanged"] * 5]
    assert renewed.id == mine.id
    assert renewed.description == "Who leaves."
    assert [kept.id for kept in renewed.schedules] == [schedule.id]
    assert renewed.job_variables == {
        "env": {"OMP_NUM_THREADS": "1", "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
    }
    assert renewed.paused


async def test_a_pool_that_people_made_or_changed_is_left_as_it_is(
    client: PrefectClient, door: PrefectOrchestrator
) -> None:
    await door.deploy(MODELS, work_pool=POOL)
    template = (await client.read_work_pool(POOL)).base_job_template
    template["variables"]["properties"]["working_dir"]["default"] = "/srv/jobs"
    await client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template, concurrency_limit=3))

    await door.deploy(MODELS, work_pool=POOL)

    pool = await client.read_work_pool(POOL)
    assert pool.base_job_template == template
    assert pool.concurrency_limit == 3
