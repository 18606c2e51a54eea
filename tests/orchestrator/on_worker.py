"""Jobs on a real worker that take as long as a test wants."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

from prefect.client.orchestration import PrefectClient

from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.deployments import deploy
from retraining.orchestrator.values import JobRun, RunEvent, RunRequest
from retraining.orchestrator.worker import worker_command, worker_environment
from tests.servers import running
from tests.stack.waiting import eventually

SECONDS = 240
"""A warm server imports for four seconds, for much longer on a busy machine."""


async def deploy_pool(prefect_api: str, name: str, *, warm_start: bool | None) -> None:
    """A work pool as `retraining deploy` makes it, without any model."""
    async with PrefectConnection(prefect_api, request_seconds=60) as connection:
        await deploy(connection, [], work_pool=name, warm_start=warm_start)


@contextmanager
def running_worker(
    prefect_api: str, pool: str, home: Path, env: Mapping[str, str], *, warm_start: bool
) -> Iterator[None]:
    """A worker as the stack starts it; it finds the flows of the tests beside the installed ones."""
    asyncio.run(deploy_pool(prefect_api, pool, warm_start=warm_start))
    environment = {
        **env,
        **worker_environment(),
        "PREFECT_API_URL": prefect_api,
        "PREFECT_HOME": str(home),
        "RETRAINING_WARM_START": str(warm_start),
    }
    command = worker_command(pool, "w", warm_start=warm_start)
    with running(command, f"{prefect_api}/health", home / "worker.log", environment):
        yield


async def patient_job(client: PrefectClient, pool: str, model: str, folder: Path) -> RunRequest:
    """A request for a job that runs for ten minutes; one at a time of its model.

    When it begins it writes its process id to the file `begun` of the folder.
    """
    await client.create_deployment(
        await client.create_flow_from_name("retrain"),
        model,
        entrypoint="tests.orchestrator.patient_flow.retrain",
        work_pool_name=pool,
        pull_steps=[],
        parameters={"model_name": model},
        concurrency_limit=1,
    )
    return RunRequest(model, {"seconds": 600, "begun": str(folder / "begun")}, None, uuid4().hex)


async def begun(job: RunRequest) -> int:
    """The process id of the job, once it has begun."""
    file = Path(job.parameters["begun"])
    return int(await eventually(lambda: file.exists() and file.read_text(), SECONDS))


async def until(stream: AsyncIterator[RunEvent], run_id: UUID, reached: Callable[[JobRun], bool]) -> JobRun:
    """The run as soon as an event shows it so."""
    async with asyncio.timeout(SECONDS):
        async for event in stream:
            if event.run_id == run_id and event.run is not None and reached(event.run):
                return event.run
    raise AssertionError("the stream ended")
