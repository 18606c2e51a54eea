"""What happens to runs outside the door, played alike on the fake and on a real Prefect server."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import LogCreate
from prefect.client.schemas.objects import State
from prefect.events import Event, Resource
from prefect.events.clients import PrefectEventsClient
from prefect.states import Cancelled, Completed, Crashed, Failed, Running, Scheduled

from retraining.jobs.status import RetrainingStatus
from retraining.orchestrator.labels import PROGRESS_EVENT
from retraining.orchestrator.values import Orchestrator
from tests.orchestrator.fake import FakeOrchestrator

Ending = Literal["completed", "failed", "crashed", "cancelled"]


class World(Protocol):
    """A model deployed on an orchestrator, and what people and workers do to its runs."""

    @property
    def orchestrator(self) -> Orchestrator:
        """The door under test."""
        ...

    @property
    def model(self) -> str:
        """A model that no other test has runs of."""
        ...

    async def plan(self, *, ahead: timedelta) -> UUID:
        """Somebody plans a run without the door."""
        ...

    async def start(self, run_id: UUID) -> None:
        """A worker runs it."""
        ...

    async def end(self, run_id: UUID, ending: Ending, message: str | None = None) -> None:
        """It ends."""
        ...

    async def report(self, run_id: UUID, stage: str, fraction: float | None, message: str) -> None:
        """It says how far it is."""
        ...

    async def log(self, run_id: UUID, messages: Sequence[str]) -> None:
        """It logs lines."""
        ...


class FakeWorld:
    """The fake and its handles."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.orchestrator = FakeOrchestrator([model])

    async def plan(self, *, ahead: timedelta) -> UUID:
        return self.orchestrator.schedule(self.model, due=ahead <= timedelta(0), created_by=None).id

    async def start(self, run_id: UUID) -> None:
        self.orchestrator.start(run_id)

    async def end(self, run_id: UUID, ending: Ending, message: str | None = None) -> None:
        if ending == "crashed":
            message = f"the job's process ended unexpectedly: {message}"
        status = RetrainingStatus.FAILED if ending == "crashed" else RetrainingStatus(ending)
        self.orchestrator.finish(run_id, status, message)

    async def report(self, run_id: UUID, stage: str, fraction: float | None, message: str) -> None:
        self.orchestrator.progress(run_id, stage, fraction, message)

    async def log(self, run_id: UUID, messages: Sequence[str]) -> None:
        for message in messages:
            self.orchestrator.log(run_id, message)


class PrefectWorld:
    """A real server; states are set as a worker's client sets them."""

    def __init__(
        self, orchestrator: Orchestrator, client: PrefectClient, model: str, deployment_id: UUID
    ) -> None:
        self.orchestrator = orchestrator
        self.client = client
        self.model = model
        self.deployment_id = deployment_id

    async def plan(self, *, ahead: timedelta) -> UUID:
        state: State[Any] = Scheduled(scheduled_time=datetime.now(UTC) + ahead)
        return (await self.client.create_flow_run_from_deployment(self.deployment_id, state=state)).id

    async def plan_many(self, count: int, *, at: datetime) -> None:
        """`count` runs, all planned for the same moment."""
        run = {
            "state": Scheduled(scheduled_time=at).model_dump(mode="json", include={"type", "state_details"})
        }
        url = f"{self.client.api_url}deployments/{self.deployment_id}/create_flow_run/bulk"
        missing = count
        async with httpx.AsyncClient(timeout=120) as http:
            while missing:
                answer = await http.post(url, json=[run] * min(100, missing))
                answer.raise_for_status()
                missing -= sum(result["status"] == "CREATED" for result in answer.json()["results"])

    async def start(self, run_id: UUID) -> None:
        await self.client.set_flow_run_state(run_id, Running())

    async def end(self, run_id: UUID, ending: Ending, message: str | None = None) -> None:
        final = {"completed": Completed, "failed": Failed, "crashed": Crashed, "cancelled": Cancelled}[ending]
        await self.client.set_flow_run_state(run_id, final(message=message))

    async def report(self, run_id: UUID, stage: str, fraction: float | None, message: str) -> None:
        event = Event(
            event=PROGRESS_EVENT,
            resource=Resource({"prefect.resource.id": f"prefect.flow-run.{run_id}"}),
            payload={"stage": stage, "fraction": fraction, "message": message},
        )
        async with PrefectEventsClient(api_url=str(self.client.api_url)) as events:
            await events.emit(event)

    async def log(self, run_id: UUID, messages: Sequence[str]) -> None:
        start = datetime.now(UTC)
        await self.client.create_logs(
            [
                LogCreate(
                    name="prefect.flow_runs",
                    level=20,
                    message=message,
                    timestamp=start + timedelta(milliseconds=number),
                    flow_run_id=run_id,
                )
                for number, message in enumerate(messages)
            ]
        )
