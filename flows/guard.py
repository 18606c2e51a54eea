"""The guard: looks whether jobs and checks that were not heard of are dead, and ends those that are."""

from functools import partial
from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import deployment
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Failed

from retraining.errors import RetrainingError
from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.guard import RUN_RESOURCE, dismiss_looks, look_after
from retraining.orchestrator.labels import GUARD_FLOW_NAME
from retraining.settings import Settings

REQUEST_SECONDS = 60.0
"""Nobody waits for it, and Prefect may be busy with what has just failed."""


@flow(name=GUARD_FLOW_NAME, persist_result=False)
async def guard(work_pool: str, run_id: str | None = None) -> State[Any]:
    """End the runs of a work pool whose process is gone, after making sure; retry by the models' policy.

    Args:
        work_pool: Whose runs under way are looked at.
        run_id: The run that an automation missed, or that crashed; without one just look.
    """
    settings = Settings()
    try:
        asked = None if run_id is None else UUID(run_id.removeprefix(RUN_RESOURCE))
    except ValueError as problem:
        return Failed(message=f"run_id {run_id!r} is no id: {problem}")
    try:
        # The server that this run belongs to, whatever else is configured.
        async with PrefectConnection(
            PREFECT_API_URL.value() or settings.prefect_api, request_seconds=REQUEST_SECONDS
        ) as connection:
            if deployment.id is not None:
                await dismiss_looks(connection, UUID(deployment.id))
            told = await look_after(connection, work_pool, asked=asked, retries=partial(_retries, settings))
    except RetrainingError as problem:
        return Failed(message=str(problem))
    for one in told:
        get_run_logger().info("%s", one)
    return Completed(message="\n".join(map(str, told)) or f"nothing to do in work pool {work_pool}")


def _retries(settings: Settings, model_name: str) -> bool:
    """Whether a model's crashed jobs start once more; the catalog is read for those only."""
    from retraining.catalog.discovery import load_catalog

    try:
        return load_catalog(settings.models, settings.models_path).get(model_name).retry_crashed
    except RetrainingError:  # it is gone from the catalog, or broken there
        return False
