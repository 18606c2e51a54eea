"""The worker asks for runs only when it has a place for one. On a real server."""

import asyncio
from uuid import uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.settings import PREFECT_API_URL, temporary_settings

from retraining.orchestrator.slot_worker import LOOK_AHEAD, SlotWorker
from tests.orchestrator.on_worker import deploy_pool
from tests.stack.waiting import eventually

PLACE = object()


class Watched(SlotWorker):
    """Notes what it was handed at each query, and starts nothing."""

    type = "watched"  # it does not take the other one's place

    def __init__(self, pool: str) -> None:
        super().__init__(work_pool_name=pool, limit=1, name="watched")
        self.handed: list[int] = []

    async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
        found = await super()._get_scheduled_flow_runs()
        self.handed.append(len(found))
        return []


@pytest.fixture
async def pool(prefect_api: str, client: PrefectClient, model: str) -> str:
    """A pool with more jobs waiting than a worker asks for at a time."""
    name = f"slots-{uuid4().hex[:8]}"
    await deploy_pool(prefect_api, name, warm_start=None)
    flow_id = await client.create_flow_from_name("retrain")
    deployment = await client.create_deployment(flow_id, model, work_pool_name=name, pull_steps=[])
    for _ in range(LOOK_AHEAD + 5):
        await client.create_flow_run_from_deployment(deployment)
    return name


async def test_a_full_worker_asks_for_nothing_and_at_once_when_a_place_is_free(
    prefect_api: str, pool: str
) -> None:
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        worker = Watched(pool)
        async with worker:
            await worker.sync_with_backend()
            assert worker.limiter is not None
            await worker.limiter.acquire_on_behalf_of(PLACE)
            query = asyncio.create_task(worker.get_and_submit_flow_runs())
            # It waits in the line for the place, which is how it is known to have begun.
            limiter = worker.limiter
            await eventually(lambda: limiter.statistics().tasks_waiting == 1, 60)
            assert (worker.handed, query.done()) == ([], False)
            worker.limiter.release_on_behalf_of(PLACE)
            await query
            assert worker.handed == [LOOK_AHEAD]
            assert worker.limiter.borrowed_tokens == 0


async def test_a_pool_that_is_not_there_yet_has_no_runs(prefect_api: str) -> None:
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        worker = Watched(f"none-{uuid4().hex[:8]}")
        async with worker:
            assert await worker.get_and_submit_flow_runs() == []
            assert worker.handed == [0]
