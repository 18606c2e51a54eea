"""Jobs on a real worker: from a request to their end, and cancelled at every point on the way."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from prefect.workers.process import ProcessWorker

from retraining.jobs.status import RetrainingStatus
from retraining.orchestrator.prefect_orchestrator import PrefectOrchestrator
from retraining.orchestrator.values import JobRun, RunEvent, RunRequest
from retraining.orchestrator.worker import worker_command, worker_environment
from tests.servers import running

POOL = "tests-of-the-worker"


@pytest.fixture(scope="module")
def worker(prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A worker as the stack starts it; it finds the flows of the tests beside the installed ones."""
    home = tmp_path_factory.mktemp("worker")
    environment = {
        **worker_environment(),
        "PREFECT_API_URL": prefect_api,
        "PREFECT_HOME": str(home),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    with running(worker_command(POOL, "w"), f"{prefect_api}/health", home / "worker.log", environment):
        yield


@pytest.fixture
async def job(
    worker: None, door: PrefectOrchestrator, client: PrefectClient, model: str, tmp_path: Path
) -> RunRequest:
    """A request for a job that runs for a minute, and leaves a file when it begins."""
    template = ProcessWorker.get_default_base_job_template()
    with suppress(ObjectAlreadyExists):  # the worker makes it too
        await client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))
    await client.create_deployment(
        await client.create_flow_from_name("retrain"),
        model,
        entrypoint="tests.orchestrator.patient_flow.retrain",
        work_pool_name=POOL,
        pull_steps=[],
        parameters={"model_name": model},
    )
    return RunRequest(model, {"seconds": 60, "begun": str(tmp_path / "begun")}, None, uuid4().hex)


async def until(stream: AsyncIterator[RunEvent], run_id: UUID, reached: Callable[[JobRun], bool]) -> JobRun:
    """The run as soon as an event shows it so."""
    async with asyncio.timeout(120):
        async for event in stream:
            if event.run_id == run_id and event.run is not None and reached(event.run):
                return event.run
    raise AssertionError("the stream ended")


async def test_a_worker_imports_the_flow_by_its_modules_name_and_runs_it(
    door: PrefectOrchestrator, job: RunRequest, tmp_path: Path
) -> None:
    async with door.events() as stream:
        run = await door.create_run(replace(job, parameters={**job.parameters, "seconds": 0}))
        ended = await until(stream, run.id, lambda run: run.status.final)

    assert (ended.status, ended.message) == (RetrainingStatus.COMPLETED, None)
    assert (tmp_path / "begun").exists()


async def test_a_running_job_reports_its_cancellation_itself(
    door: PrefectOrchestrator, job: RunRequest, tmp_path: Path
) -> None:
    """Its worker would do so some seconds later, in other words."""
    async with door.events() as stream:
        run = await door.create_run(job)
        await until(stream, run.id, lambda run: run.status is RetrainingStatus.RUNNING)
        for _ in range(600):
            if (tmp_path / "begun").exists():
                break
            await asyncio.sleep(0.1)
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
