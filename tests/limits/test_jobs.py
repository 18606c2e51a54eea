"""Jobs that use too much, end to end: the real flow on a real server, in processes of a real worker."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient

from retraining.jobs.status import RetrainingStatus
from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.deployments import deploy
from retraining.orchestrator.prefect_orchestrator import PrefectOrchestrator
from retraining.orchestrator.values import JobRun, RunRequest
from retraining.orchestrator.worker import worker_command, worker_environment
from tests.limits.models import hungry, slow
from tests.servers import running
from tests.warm.launching import Launching, until

SECONDS = 240


@pytest.fixture(scope="module", params=["warm", "cold"])
def worker(
    request: pytest.FixtureRequest,
    prefect_api: str,
    mlflow_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """A worker whose jobs start in the one way or in the other."""
    home = tmp_path_factory.mktemp(request.param)
    launching = Launching(home / "sockets", home)
    pool = f"limits-{request.param}"

    async def deploy_models() -> None:
        async with PrefectConnection(prefect_api, request_seconds=60) as connection:
            await deploy(connection, [hungry, slow], work_pool=pool, warm_start=request.param == "warm")

    asyncio.run(deploy_models())
    environment = {
        **launching.env(),
        **worker_environment(),
        "PREFECT_API_URL": prefect_api,
        "PREFECT_HOME": str(home),
        "RETRAINING_MLFLOW_URL": mlflow_url,
        "RETRAINING_MODELS": "tests.limits.models:hungry,tests.limits.models:slow",
        "RETRAINING_MODELS_PATH": str(Path(__file__).parents[2]),
    }
    command = worker_command(pool, "w")
    with running(command, f"{prefect_api}/health", home / "worker.log", environment):
        yield
    launching.kill_servers()


@pytest.fixture
async def door(prefect_api: str) -> AsyncIterator[PrefectOrchestrator]:
    async with PrefectOrchestrator(prefect_api, request_seconds=60) as door:
        yield door


async def ended(door: PrefectOrchestrator, model: str, takes: str) -> JobRun:
    async with door.events() as stream:
        run = await door.create_run(RunRequest(model, {"takes": takes}, None, uuid4().hex))
        async with asyncio.timeout(SECONDS):
            async for event in stream:
                if event.run_id == run.id and event.run is not None and event.run.status.final:
                    return event.run
    raise AssertionError("the stream ended")


def carriers(run_id: UUID) -> list[int]:
    """Processes of a run: its id is in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and str(run_id).encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


async def gone(run_id: UUID) -> None:
    await asyncio.to_thread(until, lambda: not carriers(run_id))


async def state_of(prefect_api: str, run_id: UUID) -> Any:
    async with PrefectClient(prefect_api, httpx_settings={"timeout": 60}) as client:
        run = await client.read_flow_run(run_id)
        return run.state_name, run.labels


async def failure(door: PrefectOrchestrator, prefect_api: str, model: str, takes: str) -> str:
    """Why the job failed, once all its processes are gone. The worker's report of a crash changes nothing."""
    job = await ended(door, model, takes)
    assert job.status is RetrainingStatus.FAILED
    assert job.message is not None
    await gone(job.id)
    assert (await state_of(prefect_api, job.id))[0] == "Failed"
    return job.message


@pytest.mark.usefixtures("worker")
async def test_a_job_beyond_its_memory_bound_fails_with_that_reason_and_the_next_one_runs(
    door: PrefectOrchestrator, prefect_api: str
) -> None:
    """The model's place is free again."""
    message = await failure(door, prefect_api, "hungry", "memory")
    assert message.startswith("used more than its memory bound of 1.46 GiB (1.")
    assert "processes), while training; raise resources.memory of the model" in message

    after = await ended(door, "hungry", "little")
    assert after.status is RetrainingStatus.COMPLETED
    name, labels = await state_of(prefect_api, after.id)
    assert 50 < int(labels["retraining.peak_memory_mib"]) < 1500
    assert name == "Completed"


@pytest.mark.usefixtures("worker")
async def test_a_job_beyond_its_time_limit_fails_with_that_reason_though_it_hears_no_signal(
    door: PrefectOrchestrator, prefect_api: str
) -> None:
    message = await failure(door, prefect_api, "slow", "time")
    assert message.startswith("took longer than its time limit of 30 s, while ")
