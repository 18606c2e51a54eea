"""Warm starts by way of the work pool: on a real server, with a real worker."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.exceptions import ObjectNotFound

from retraining.jobs.status import RetrainingStatus
from retraining.orchestrator.prefect_orchestrator import PrefectOrchestrator
from retraining.orchestrator.values import RunRequest
from retraining.stack.processes import alive
from retraining.warm import launcher
from retraining.warm.command import warm_command
from tests.orchestrator.on_worker import begun, deploy_pool, patient_job, running_worker, until
from tests.warm.launching import Launching, parent
from tests.warm.launching import until as wait_until

POOL = "warm-tests"


@pytest.fixture
async def pool(client: PrefectClient) -> AsyncIterator[str]:
    """The name of a pool that does not exist."""
    name = f"pool-{uuid4().hex[:8]}"
    yield name
    with suppress(ObjectNotFound):
        await client.delete_work_pool(name)


async def command_of(client: PrefectClient, pool: str) -> Any:
    template = (await client.read_work_pool(pool)).base_job_template
    return template["variables"]["properties"]["command"]["default"]


async def test_the_pool_starts_jobs_as_it_was_deployed_last(
    prefect_api: str, client: PrefectClient, door: PrefectOrchestrator, pool: str
) -> None:
    """Warm, left alone, and as Prefect would start them. Whoever inspects the pool sees it."""
    seen = []
    for warm_start in (True, None, False, None, True):
        await deploy_pool(prefect_api, pool, warm_start=warm_start)
        seen.append(await command_of(client, pool))
        assert (await door.inspect([], pool)).pool_command == seen[-1]
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
    """A worker of a pool whose jobs start warm."""
    with running_worker(prefect_api, POOL, warm.sockets.parent, warm.env(), warm_start=True):
        yield


@pytest.fixture
async def job(worker: None, client: PrefectClient, model: str, tmp_path: Path) -> RunRequest:
    return await patient_job(client, POOL, model, tmp_path)


async def test_the_first_job_of_a_worker_finds_the_server_that_came_with_it(
    door: PrefectOrchestrator, client: PrefectClient, job: RunRequest, warm: Launching
) -> None:
    """There is one before any job; the job is its fork, and no reason for a cold start is in its log."""
    await asyncio.to_thread(wait_until, lambda: len(warm.servers()) == 1)
    async with door.events() as stream:
        run = await door.create_run(job)
        keeper = parent(await begun(job))
        (server,) = warm.servers()
        assert parent(keeper) == server
        await door.cancel_run(run.id)
        ended = await until(stream, run.id, lambda run: run.status.final)
    logs = await client.read_logs()
    assert (ended.status, ended.message) == (RetrainingStatus.CANCELLED, "cancelled on request")
    assert [log.message for log in logs if log.flow_run_id == run.id and "cold" in log.message] == []


@pytest.mark.parametrize("victim", ["job", "keeper", "launcher"])
async def test_a_job_of_which_a_part_is_killed_has_crashed(
    door: PrefectOrchestrator, client: PrefectClient, job: RunRequest, warm: Launching, victim: str
) -> None:
    """Nothing of it is left, and the next job of the model has its place."""
    async with door.events() as stream:
        run = await door.create_run(job)
        pid = await begun(job)
        launcher_pid = int((await client.read_flow_run(run.id)).infrastructure_pid or 0)
        parts = {"job": pid, "keeper": parent(pid), "launcher": launcher_pid}
        assert all(map(alive, parts.values()))
        os.kill(parts[victim], signal.SIGKILL)
        ended = await until(stream, run.id, lambda run: run.status.final)
        await asyncio.to_thread(wait_until, lambda: not any(map(alive, parts.values())))
        again = replace(job, parameters={**job.parameters, "seconds": 0}, idempotency_key=uuid4().hex)
        following = await door.create_run(again)
        followed = await until(stream, following.id, lambda run: run.status.final)
    assert (ended.status, followed.status) == (RetrainingStatus.FAILED, RetrainingStatus.COMPLETED)
    assert following.id != run.id


async def test_a_job_whose_server_is_killed_goes_on_and_is_cancelled_as_before(
    door: PrefectOrchestrator, job: RunRequest, warm: Launching
) -> None:
    async with door.events() as stream:
        run = await door.create_run(job)
        pid = await begun(job)
        (server,) = warm.servers()
        os.kill(server, signal.SIGKILL)
        await asyncio.to_thread(wait_until, lambda: not alive(server))
        assert alive(pid)
        await door.cancel_run(run.id)
        ended = await until(stream, run.id, lambda run: run.status.final)
    assert (ended.status, ended.message) == (RetrainingStatus.CANCELLED, "cancelled on request")
