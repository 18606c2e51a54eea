"""What a Prefect server lacks for jobs to run: for `retraining doctor`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefect.exceptions import ObjectNotFound

from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.labels import FLOW_NAME

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient


@dataclass(frozen=True)
class Inspection:
    """What is there."""

    server_version: str
    missing: tuple[str, ...]
    """Deployments that models of the catalog should have and do not."""
    paused: tuple[str, ...]
    """Deployments whose schedules make no runs."""
    pool_paused: bool | None
    """None if there is no work pool."""
    workers: tuple[str, ...]
    """Workers of the pool that are alive."""


async def inspect(connection: PrefectConnection, model_names: Sequence[str], work_pool: str) -> Inspection:
    """Look at the deployments of the models, and at the pool that runs them.

    Raises:
        OrchestratorUnavailable: the server does not answer.
    """

    async def look(client: "PrefectClient") -> Inspection:
        missing, paused = [], []
        for name in (f"{FLOW_NAME}/{model_name}" for model_name in model_names):
            try:
                deployment = await client.read_deployment_by_name(name)
            except ObjectNotFound:
                missing.append(name)
            else:
                paused.extend([name] if deployment.paused else [])
        try:
            pool_paused = (await client.read_work_pool(work_pool)).is_paused
            workers = await client.read_workers_for_work_pool(work_pool)
        except ObjectNotFound:
            pool_paused, workers = None, []
        return Inspection(
            server_version=await client.api_version(),
            missing=tuple(missing),
            paused=tuple(paused),
            pool_paused=pool_paused,
            workers=tuple(worker.name for worker in workers if worker.status == "ONLINE"),
        )

    return await connection.ask("inspect deployments and workers", look)
