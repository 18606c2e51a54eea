"""What a Prefect server lacks for jobs to run."""

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.exceptions import ObjectNotFound

from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.labels import FLOW_NAME
from retraining.orchestrator.values import Inspection

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.responses import DeploymentResponse


async def inspect(
    connection: PrefectConnection, model_names: Sequence[str], work_pool: str, page_size: int
) -> Inspection:
    """Look at the deployments of the models, and at the pool that runs them.

    Raises:
        OrchestratorUnavailable: the server does not answer.
    """

    async def look(client: "PrefectClient") -> Inspection:
        found = _deployments(client, FLOW_NAME, page_size)
        deployed = {f"{FLOW_NAME}/{deployment.name}": deployment async for deployment in found}
        wanted = [f"{FLOW_NAME}/{model_name}" for model_name in model_names]
        try:
            pool_paused = (await client.read_work_pool(work_pool)).is_paused
            workers = await client.read_workers_for_work_pool(work_pool)
        except ObjectNotFound:
            pool_paused, workers = None, []
        return Inspection(
            server_version=await client.api_version(),
            missing=tuple(name for name in wanted if name not in deployed),
            paused=tuple(name for name in wanted if name in deployed and deployed[name].paused),
            pool_paused=pool_paused,
            workers=tuple(worker.name for worker in workers if worker.status == "ONLINE"),
        )

    return await connection.ask("inspect deployments and workers", look)


async def _deployments(
    client: "PrefectClient", flow_name: str, page_size: int
) -> "AsyncIterator[DeploymentResponse]":
    """Every deployment of the flow."""
    of_flow = FlowFilter(name=FlowFilterName(any_=[flow_name]))
    offset = 0
    while page := await client.read_deployments(flow_filter=of_flow, limit=page_size, offset=offset):
        for deployment in page:
            yield deployment
        offset += len(page)
