"""A stream of Prefect's events that ends in the middle of a message, on the way between two machines."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State
from prefect.states import Completed, Pending, Running

from retraining.jobs.sync import JobSync
from retraining.orchestrator.prefect_orchestrator import PrefectOrchestrator
from retraining.settings import Settings
from retraining.store.database import Database
from tests.databases import clean_postgres, database_url, migrated_file, migrated_postgres
from tests.jobs.conftest import database
from tests.jobs.looking import Condition, jobs
from tests.jobs.waiting import until

__all__ = ["clean_postgres", "database", "database_url", "migrated_file", "migrated_postgres"]

SECONDS = 120
STREAM = b"GET /api/events/out"


class Wire:
    """Carries bytes between clients and a server, until a stream of events is to be cut."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._cutting = False
        self.cuts = 0

    def cut_next_message(self) -> None:
        """Carry half of what the next stream brings, and close the connection."""
        self._cutting = True

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, self._port)
        first = await reader.read(65_536)
        back.write(first)
        ways = [
            asyncio.create_task(self._pass_on(reader, back, of_stream=False)),
            asyncio.create_task(self._pass_on(there, writer, of_stream=first.startswith(STREAM))),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        for end in (writer, back):
            end.transport.abort()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, of_stream: bool
    ) -> None:
        while some := await reader.read(65_536):
            if of_stream and self._cutting and len(some) > 1:
                self._cutting, self.cuts = False, self.cuts + 1
                writer.write(some[: len(some) // 2])
                await writer.drain()
                return
            writer.write(some)
            await writer.drain()


@asynccontextmanager
async def wire_to(api: str) -> AsyncIterator[tuple[Wire, str]]:
    """A way to the server, and the server's address by that way."""
    there = httpx.URL(api)
    wire = Wire(there.host, there.port or 80)
    server = await asyncio.start_server(wire.carry, "127.0.0.1", 0)
    try:
        yield wire, str(there.copy_with(port=server.sockets[0].getsockname()[1]))
    finally:
        server.close()


def has_status(database: Database, run_id: UUID, status: str) -> Condition:
    async def holds() -> bool:
        job = (await jobs(database)).get(run_id)
        return job is not None and str(job.status) == status

    return holds


async def test_a_stream_that_is_cut_in_the_middle_of_a_message_loses_no_news(
    prefect_api: str, database: Database
) -> None:
    """Comparing at intervals is off, so that nothing but the new stream and the look after a gap helps."""
    model = f"model-{uuid4().hex[:8]}"
    async with (
        PrefectClient(prefect_api, httpx_settings={"timeout": 60}) as client,
        wire_to(prefect_api) as (wire, address),
        PrefectOrchestrator(address, request_seconds=60) as door,
    ):
        flow_id = await client.create_flow_from_name("retrain")
        deployment_id = await client.create_deployment(flow_id, model, parameters={"model_name": model})
        sync = JobSync(database, door, Settings(reconcile_seconds=3_600))

        async def live() -> bool:
            return sync.live

        async with sync.running():
            await until(live, SECONDS)
            run = await client.create_flow_run_from_deployment(deployment_id)
            await until(has_status(database, run.id, "pending"), SECONDS)
            await client.set_flow_run_state(run.id, Pending())
            states: dict[str, State[None]] = {"running": Running(), "completed": Completed()}
            for number, (status, state) in enumerate(states.items(), start=1):
                wire.cut_next_message()
                await client.set_flow_run_state(run.id, state)
                await until(has_status(database, run.id, status), SECONDS)

                async def cut(times: int = number) -> bool:
                    return wire.cuts == times

                await until(cut, SECONDS)
                await until(live, SECONDS)

    assert wire.cuts == len(states)
