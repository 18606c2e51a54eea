"""Warm starts by way of the work pool: on a real server, with a real worker."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.exceptions import ObjectNotFound

from retraining.jobs.status import RetrainingStatus
from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.deployments import deploy
from retraining.orchestrator.prefect_orchestrator import PrefectOrchestrator
from retraining.orchestrator.values import JobRun, RunEvent, RunRequest
from retraining.orchestrator.worker import worker_command, worker_environment
from retraining.stack.processes import alive
from retraining.warm import launcher
from retraining.warm.command import warm_command
from tests.servers import running
from tests.warm.launching import SECONDS, Launching
from tests.warm.launching import until as wait_until

POOL = "warm-tests"


@pytest.fixture
async def client(prefect_api: str) -> AsyncIterator[PrefectClient]:
    async with PrefectClient(prefect_api, httpx_settings={"timeout": 60}) as client:
        yield client


@pytest.fixture
async def door(prefect_api: str) -> AsyncIterator[PrefectOrchestrator]:
    async with PrefectOrchestrator(prefect_api, request_seconds=60) as door:
        yield door


@pytest.fixture
async def pool(client: PrefectClient) -> AsyncIterator[str]:
    """The name of a pool that does not exist."""
    name = f"pool-{uuid4().hex[:8]}"
    yield name
    with suppress(ObjectNotFound):
        await client.delete_work_pool(name)


async def deploy_pool(prefect_api: str, name: str, *, warm_start: bool | None) -> None:
    async with PrefectConnection(prefect_api, request_seconds=60) as connection:
        await deploy(connection, [], work_pool=name, warm_start=warm_start)


async def command_of(client: PrefectClient, pool: str) -> Any:
    template = (await client.read_work_pool(pool)).base_job_template
    return template["variables"]["properties"]["command"]["default"]


async def test_the_pool_starts_jobs_as_it_was_deployed_last(
    prefect_api: str, client: PrefectClient, pool: str
) -> None:
    """Warm, left alone, and as Prefect would start them."""
    seen = []
    for warm_start in (True, None, False, None, True):
        await deploy_pool(prefect_api, pool, warm_start=warm_start)
        seen.append(await command_of(client, pool))
    assert seen == [warm_command(), warm_command(), None, None, warm_command()]


async def test_a_command_of_peoples_own_stays(prefect_api: str, client: PrefectClient, pool: str) -> None:
    await deploy_pool(prefect_api, pool, warm_start=False)
    template = (await client.read_work_pool(pool)).base_job_template
    template["variables"]["properties"]["command"]["default"] = "nice python -m prefect.engine"
    await client.update_work_pool(pool, WorkPoolUpdate(base_job_template=template))
    for warm_start in (True, False):
        await deploy_pool(prefect_api, pool, warm_start=warm_start)
        assert await command_of(client, pool) == "nice python -m prefect.engine"


def test_without_this_installation_the_command_is_prefects(tmp_path: Path) -> None:
    """On another machine the PATH leads to Python."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    elsewhere = warm_command().replace(launcher.__file__, "/nowhere/launcher.py")
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    said = subprocess.run(["sh", "-c", elsewhere], env=env, capture_output=True, text=True, check=True)
    assert said.stdout == "-m prefect.engine\n"


@pytest.fixture(scope="module")
def worker(prefect_api: str, warm: Launching) -> Iterator[None]:
    """A worker of a pool whose jobs start warm; they find the flows of the tests."""
    asyncio.run(deploy_pool(prefect_api, POOL, warm_start=True))
    environment = {
        **warm.env(),
        **worker_environment(),
        "PREFECT_API_URL": prefect_api,
        "PREFECT_HOME": str(warm.sockets.parent),
    }
    log = warm.sockets.parent / "worker.log"
    with running(worker_command(POOL, "w"), f"{prefect_api}/health", log, environment):
        yield


@pytest.fixture
async def job(worker: None, client: PrefectClient, tmp_path: Path) -> RunRequest:
    """A request for a job that runs for ten minutes, and leaves a file when it begins."""
    model = f"model-{uuid4().hex[:8]}"
    await client.create_deployment(
        await client.create_flow_from_name("retrain"),
        model,
        entrypoint="tests.orchestrator.patient_flow.retrain",
        work_pool_name=POOL,
        pull_steps=[],
        parameters={"model_name": model},
    )
    return RunRequest(model, {"seconds": 600, "begun": str(tmp_path / "begun")}, None, uuid4().hex)


async def until(stream: AsyncIterator[RunEvent], run_id: UUID, reached: Callable[[JobRun], bool]) -> JobRun:
    async with asyncio.timeout(SECONDS):
        async for event in stream:
            if event.run_id == run_id and event.run is not None and reached(event.run):
                return event.run
    raise AssertionError("the stream ended")


async def begun(job: RunRequest) -> None:
    await asyncio.to_thread(wait_until, Path(job.parameters["begun"]).exists)


async def test_a_worker_runs_a_job_warm(
    door: PrefectOrchestrator, client: PrefectClient, job: RunRequest, warm: Launching
) -> None:
    """It completes, and no reason for a cold start is in its log."""
    async with door.events() as stream:
        run = await door.create_run(replace(job, parameters={**job.parameters, "seconds": 0}))
        ended = await until(stream, run.id, lambda run: run.status.final)
    logs = await client.read_logs()
    assert (ended.status, ended.message) == (RetrainingStatus.COMPLETED, None)
    assert [log.message for log in logs if log.flow_run_id == run.id and "cold" in log.message] == []
    assert warm.servers()


async def test_a_warm_job_reports_its_cancellation_itself(door: PrefectOrchestrator, job: RunRequest) -> None:
    async with door.events() as stream:
        run = await door.create_run(job)
        await begun(job)
        await door.cancel_run(run.id)
        ended = await until(stream, run.id, lambda run: run.status.final)
    assert (ended.status, ended.message) == (RetrainingStatus.CANCELLED, "cancelled on request")


async def test_a_warm_job_that_is_killed_has_crashed(
    door: PrefectOrchestrator, client: PrefectClient, job: RunRequest, warm: Launching
) -> None:
    """Prefect knows the launcher's process id; its end is the job's."""
    async with door.events() as stream:
        run = await door.create_run(job)
        await begun(job)
        pid = int((await client.read_flow_run(run.id)).infrastructure_pid or 0)
        jobs = warm.processes() - warm.servers()
        os.kill(pid, signal.SIGKILL)
        ended = await until(stream, run.id, lambda run: run.status.final)
    assert ended.status is RetrainingStatus.FAILED
    assert jobs
    await asyncio.to_thread(wait_until, lambda: not any(map(alive, jobs)))
