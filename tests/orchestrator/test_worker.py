"""Jobs on a real worker: from a request to their end, and cancelled at every point on the way."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prefect.client.orchestration import PrefectClient

from retraining.jobs.status import RetrainingStatus
from retraining.orchestrator.prefect_orchestrator import PrefectOrchestrator
from retraining.orchestrator.values import RunRequest
from tests.orchestrator.on_worker import begun, patient_job, running_worker, until


@pytest.fixture(scope="module", params=["warm", "stock"])
def pool(
    request: pytest.FixtureRequest, prefect_api: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A pool whose jobs start warm, or as Prefect starts them, and its worker."""
    home = tmp_path_factory.mktemp("worker")
    env = {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "RETRAINING_WARM_SOCKETS": str(home / "warm"),
        "PYTEST_CURRENT_TEST": "",
    }
    name = f"{request.param}-jobs"
    with running_worker(prefect_api, name, home, env, warm_start=request.param == "warm"):
        yield name


@pytest.fixture
async def job(pool: str, client: PrefectClient, model: str, tmp_path: Path) -> RunRequest:
    return await patient_job(client, pool, model, tmp_path)


async def test_a_worker_imports_the_flow_by_its_modules_name_and_runs_it(
    door: PrefectOrchestrator, job: RunRequest
) -> None:
    async with door.events() as stream:
        run = await door.create_run(replace(job, parameters={**job.parameters, "seconds": 0}))
        ended = await until(stream, run.id, lambda run: run.status.final)

    assert (ended.status, ended.message) == (RetrainingStatus.COMPLETED, None)
    assert await begun(job) != os.getpid()


async def test_a_running_job_reports_its_cancellation_itself(
    door: PrefectOrchestrator, job: RunRequest
) -> None:
    """Its worker would do so some seconds later, in other words."""
    async with door.events() as stream:
        run = await door.create_run(job)
        await begun(job)
        await door.cancel_run(run.id)
        ended = await until(stream, run.id, lambda run: run.status.final)

    assert (ended.status, ended.message) == (RetrainingStatus.CANCELLED, "cancelled on request")


async def test_a_job_cancelled_while_its_process_starts_never_begins(
    door: PrefectOrchestrator, client: PrefectClient, job: RunRequest, tmp_path: Path
) -> None:
    async with door.events() as stream:
        run = await door.create_run(job)
        for _ in range(1200):
            stored = await client.read_flow_run(run.id)
            if stored.state is not None and stored.state.is_pending():
                break
            await asyncio.sleep(0.05)
        cancelled = await door.cancel_run(run.id)
        # The process comes up, finds the cancellation and ends.
        ended = await until(stream, run.id, lambda run: run.status.final and run.started_at is not None)

    assert cancelled.status is RetrainingStatus.CANCELLED
    assert cancelled.started_at is None
    assert ended.status is RetrainingStatus.CANCELLED
    assert not (tmp_path / "begun").exists()
