"""The live stream of Prefect's events about jobs."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import anyio
from prefect.events.clients import PrefectEventSubscriber
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.exceptions import ObjectNotFound
from websockets.exceptions import WebSocketException

from retraining.errors import OrchestratorUnavailable
from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.labels import FLOW_NAME, PROGRESS_EVENT
from retraining.orchestrator.states import job_run
from retraining.orchestrator.values import JobRun, RunEvent

if TYPE_CHECKING:
    from prefect.events import Event

STATE_EVENTS = "prefect.flow-run."
RUN_RESOURCE = "prefect.flow-run."
OPEN_SECONDS = 5.0
CLOSE_SECONDS = 2.0
COMMIT_SECONDS = 1.0
COMMIT_POLL_SECONDS = 0.02


@asynccontextmanager
async def run_events(connection: PrefectConnection) -> AsyncIterator[AsyncIterator[RunEvent]]:
    """The stream of events about jobs.

    It begins with what Prefect has already written of the last minute, which leaves out the last seconds:
    follow first, then compare with `active_runs` and `finished_runs`, and nothing is missed.

    Raises:
        OrchestratorUnavailable: the stream cannot be opened; from the iterator, that it was cut.
    """
    subscriber = await _subscribe(connection)
    try:
        stream = _run_events(connection, subscriber)
        async with aclosing(stream):
            yield stream
    finally:
        await _close(subscriber)


async def _subscribe(connection: PrefectConnection) -> PrefectEventSubscriber:
    with connection.settings():  # where the subscriber looks for credentials
        subscriber = PrefectEventSubscriber(
            api_url=connection.api_url,
            filter=EventFilter(event=EventNameFilter(prefix=[STATE_EVENTS, PROGRESS_EVENT])),
            # Whoever follows must hear of a cut, to look up what was missed meanwhile.
            reconnection_attempts=0,
        )
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                return await subscriber.__aenter__()
        except Exception as exc:  # it raises a bare Exception if its credentials are refused
            await _close(subscriber)
            raise OrchestratorUnavailable(f"subscribe to its events: {exc}") from exc


async def _close(subscriber: PrefectEventSubscriber) -> None:
    with suppress(TimeoutError, OSError, WebSocketException), anyio.CancelScope(shield=True):
        async with asyncio.timeout(CLOSE_SECONDS):
            await subscriber.__aexit__(None, None, None)


async def _run_events(
    connection: PrefectConnection, subscriber: PrefectEventSubscriber
) -> AsyncGenerator[RunEvent, None]:
    try:
        async for event in subscriber:
            run_id = _run_id(event)
            if run_id is None:
                continue
            if event.event == PROGRESS_EVENT:
                yield _progress(event, run_id)
            elif _is_job_state(event):
                run = await _stored_run(connection, run_id, event.occurred)
                yield RunEvent(event.id, run_id, event.occurred, "state", run=run)
    except (OSError, WebSocketException) as exc:
        raise OrchestratorUnavailable("follow its events") from exc
    raise OrchestratorUnavailable("follow its events: it closed the stream")


async def _stored_run(connection: PrefectConnection, run_id: UUID, since: datetime) -> JobRun | None:
    """The run in the state it entered at `since`, or a later one.

    Prefect sends the event from inside the transaction that stores the state: for some milliseconds a reader
    still finds the state before, or no run. If the transaction fails, the state of the event never comes.
    """
    deadline = asyncio.get_running_loop().time() + COMMIT_SECONDS
    while True:
        try:
            flow_run = await connection.ask(
                f"read flow run {run_id}", lambda client: client.read_flow_run(run_id)
            )
        except ObjectNotFound:
            flow_run = None
        stored = flow_run is not None and flow_run.state is not None and flow_run.state.timestamp >= since
        if stored or asyncio.get_running_loop().time() >= deadline:
            return job_run(flow_run, datetime.now(UTC)) if flow_run is not None else None
        await asyncio.sleep(COMMIT_POLL_SECONDS)


def _run_id(event: "Event") -> UUID | None:
    try:
        return UUID(event.resource.id.removeprefix(RUN_RESOURCE))
    except ValueError:
        return None


def _is_job_state(event: "Event") -> bool:
    """Whether a run of the flow `retrain` entered a state; heartbeats and other flows' runs come as well."""
    return "validated_state" in event.payload and any(
        related.role == "flow" and related.name == FLOW_NAME for related in event.related
    )


def _progress(event: "Event", run_id: UUID) -> RunEvent:
    stage, fraction, message = (event.payload.get(name) for name in ("stage", "fraction", "message"))
    return RunEvent(
        event_id=event.id,
        run_id=run_id,
        at=event.occurred,
        kind="progress",
        stage=stage if isinstance(stage, str) else None,
        fraction=float(fraction) if isinstance(fraction, int | float) else None,
        message=message if isinstance(message, str) else None,
    )
