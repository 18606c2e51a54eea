"""Prefect's process worker, which asks for runs only when it could start one. Importing this registers it."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.exceptions import PrefectHTTPStatusError
from prefect.workers.process import ProcessWorker

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

LOOK_AHEAD = 10
"""Runs that are asked for beyond those in hand: some may have to wait for another job of their model."""


class SlotWorker(ProcessWorker):
    """Waits for a free slot before each query, and is handed few more runs than it could start.

    A stock worker whose slots are all taken asks on, and gets the whole queue each time: at four queries a
    second and with sixty jobs waiting that was a third of what the server did. Here the next query follows at
    once when a slot is free. Heartbeats and cancellations have loops of their own.
    """

    async def get_and_submit_flow_runs(self) -> list["FlowRun"]:
        """See `BaseWorker.get_and_submit_flow_runs`."""
        if self._limiter is not None:
            turn = object()
            await self._limiter.acquire_on_behalf_of(turn)
            self._limiter.release_on_behalf_of(turn)
        return await super().get_and_submit_flow_runs()

    async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
        # The client's own method knows no limit. Nothing is taken before it is due.
        wanted = {
            "work_queue_names": sorted(self._work_queues),
            "scheduled_before": str(datetime.now(UTC)),
            "limit": len(self._submitting_flow_run_ids) + LOOK_AHEAD,
        }
        try:
            answer = await self.client.request(
                "POST",
                "/work_pools/{name}/get_scheduled_flow_runs",
                path_params={"name": self._work_pool_name},
                json=wanted,
            )
        except PrefectHTTPStatusError as refusal:
            if refusal.response.status_code == httpx.codes.NOT_FOUND:  # a heartbeat makes the pool
                return []
            raise
        return WorkerFlowRunResponse.model_validate_list(answer.json())
