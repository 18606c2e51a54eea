"""What a Prefect server lacks for jobs to run."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prefect.exceptions import ObjectNotFound

from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.labels import FLOW_NAME, MONITOR_FLOW_NAME
from retraining.orchestrator.listing import all_rows
from retraining.orchestrator.values import Inspection

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import Worker


async def inspect(
    connection: PrefectConnection, model_names: Sequence[str], work_pool: str, page_size: int
) -> Inspection:
    """Look at the deployments of the models, and at the pool that runs them.

    Raises:
        OrchestratorUnavailable: the server does not answer.
    """
    paused_by_name: dict[str, bool] = {}
    for flow in (FLOW_NAME, MONITOR_FLOW_NAME):
        wanted = {"flows": {"name": {"any_": [flow]}}, "sort": "NAME_ASC"}
        rows = await all_rows(connection, "/deployments/filter", wanted, page_size=page_size)
        paused_by_name |= {f"{flow}/{row['name']}": row["paused"] for row in rows}
    needed = [f"{flow}/{name}" for name in model_names for flow in (FLOW_NAME, MONITOR_FLOW_NAME)]

    async def look(client: "PrefectClient") -> Inspection:
        workers: list[Worker] = []
        pool_command = None
        try:
            pool = await client.read_work_pool(work_pool)
            pool_paused = pool.is_paused
            variables = pool.base_job_template.get("variables", {}).get("properties", {})
            pool_command = variables.get("command", {}).get("default")
            workers = await client.read_workers_for_work_pool(work_pool)
        except ObjectNotFound:
            pool_paused = None
        return Inspection(
            server_version=await client.api_version(),
            missing=tuple(name for name in needed if name not in paused_by_name),
            paused=tuple(name for name in needed if paused_by_name.get(name, False)),
            pool_paused=pool_paused,
            workers=tuple(worker.name for worker in workers if worker.status == "ONLINE"),
            pool_command=pool_command,
        )

    return await connection.ask("inspect the pool and its workers", look)
