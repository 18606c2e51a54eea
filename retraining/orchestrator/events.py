"""The live stream of Prefect's events about jobs."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

import anyio
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.events.clients import PrefectEventSubscriber
from prefect.events.filters import EventFilter, EventNameFilter
from websockets.exceptions import WebSocketException

from retraining.errors import OrchestratorUnavailable
from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.labels import FLOW_NAME, PROGRESS_EVENT
from retraining.orchestrator.states import job_run
from retraining.orchestrator.values import JobRun, RunEvent

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.events import Event

STATE_EVENTS = "prefect.flow-run."
RUN_RESOURCE = "prefect.flow-run."
OPEN_SECONDS = 5.0
CLOSE_SECONDS = 2.0
QUEUED = 200
"""As many runs as Prefect gives in one answer."""
COMMITTED_AFTER = timedelta(seconds=1)
COMMIT_POLL_SECONDS = 0.02


@asynccontextmanager
async def run_events(connection: PrefectConnection) -> AsyncIterator[AsyncIterator[RunEvent]]:
    """The stream of events about jobs.

    It begins with what Prefect has already written of the last minute, which leaves out the last seconds:
    follow first, then compare with `active_runs` and `finished_runs`, and nothing is missed.

    Raises:
        OrchestratorUnavailable: the stream cannot be opened; from the iterator, that it was cut.
    """
    subscriber = await subscribe(connection, [STATE_EVENTS, PROGRESS_EVENT])
    try:
        stream = _run_events(connection, subscriber)
        async with aclosing(stream):
            yield stream
    finally:
        await close(subscriber)


async def subscribe(connection: PrefectConnection, names: list[str]) -> PrefectEventSubscriber:
    """A stream of the events whose names begin so; for `close` afterwards.

    Raises:
        OrchestratorUnavailable: it cannot be opened.
    """
    with connection.settings():  # where the subscriber looks for credentials
        subscriber = PrefectEventSubscriber(
            api_url=connection.api_url,
            filter=EventFilter(event=EventNameFilter(prefix=names)),
            # Whoever follows must hear of a cut, to look up what was missed meanwhile.
            reconnection_attempts=0,
        )
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                return await subscriber.__aenter__()
        except Exception as exc:  # it raises a bare Exception if its credentials are refused
            await close(subscriber)
            raise OrchestratorUnavailable(f"subscribe to its events: {exc}") from exc


async def close(subscriber: PrefectEventSubscriber) -> None:
    """End a stream, whatever became of it."""
    with suppress(TimeoutError, OSError, WebSocketException), anyio.CancelScope(shield=True):
        async with asyncio.timeout(CLOSE_SECONDS):
            await subscriber.__aexit__(None, None, None)


async def _run_events(
    connection: PrefectConnection, subscriber: PrefectEventSubscriber
) -> AsyncGenerator[RunEvent, None]:
    arriving: asyncio.Queue[_Heard | OrchestratorUnavailable] = asyncio.Queue(QUEUED)
    listening = asyncio.create_task(_listen(subscriber, arriving))
    try:
        while True:
            heard, cut = await _arrived(arriving)
            runs = await _stored_runs(connection, _last_entered(heard))
            for one in heard:
                yield _told(one, runs)
            if cut is not None:
                raise cut
    finally:
        listening.cancel()
        await asyncio.wait([listening])


@dataclass(frozen=True)
class _Heard:
    """An event about a job."""

    event: "Event"
    run_id: UUID


async def _listen(
    subscriber: PrefectEventSubscriber, arriving: "asyncio.Queue[_Heard | OrchestratorUnavailable]"
) -> None:
    try:
        async for event in subscriber:
            run_id = _run_id(event)
            if run_id is not None and (event.event == PROGRESS_EVENT or _is_job_state(event)):
                await arriving.put(_Heard(event, run_id))
        cut = OrchestratorUnavailable("follow its events: it closed the stream")
    except Exception as exc:  # whatever it died of, somebody waits for news
        cut = OrchestratorUnavailable("follow its events")
        cut.__cause__ = exc
    await arriving.put(cut)


async def _arrived(
    arriving: "asyncio.Queue[_Heard | OrchestratorUnavailable]",
) -> tuple[list[_Heard], OrchestratorUnavailable | None]:
    """What has arrived, one event at least, and the cut after it if there was one.

    After a cut or a burst many events wait: one request looks up the runs of all of them.
    """
    heard: list[_Heard] = []
    one = await arriving.get()
    while not isinstance(one, OrchestratorUnavailable):
        heard.append(one)
        if arriving.empty() or len(heard) == QUEUED:
            return heard, None
        one = arriving.get_nowait()
    return heard, one


def _last_entered(heard: Sequence[_Heard]) -> dict[UUID, datetime]:
    """When each run last entered a state, as far as these events tell."""
    entered: dict[UUID, datetime] = {}
    for one in heard:
        if one.event.event != PROGRESS_EVENT:
            entered[one.run_id] = max(one.event.occurred, entered.get(one.run_id, one.event.occurred))
    return entered


async def _stored_runs(
    connection: PrefectConnection, entered: Mapping[UUID, datetime]
) -> dict[UUID, JobRun | None]:
    """The runs, each in the state that it entered then or in a later one; None if it is gone or no job.

    Prefect sends the event from inside the transaction that stores the state: for some milliseconds a reader
    still finds the state before, or no run. If the transaction fails, the state of the event never comes.
    """
    runs: dict[UUID, JobRun | None] = dict.fromkeys(entered)
    open_questions = set(entered)
    while open_questions:
        asked = FlowRunFilter(id=FlowRunFilterId(any_=sorted(open_questions)))
        page = await connection.ask("read flow runs", partial(_read, asked=asked))
        now = datetime.now(UTC)
        runs |= {flow_run.id: job_run(flow_run, now) for flow_run in page}
        stored = {
            flow_run.id
            for flow_run in page
            if flow_run.state is not None and flow_run.state.timestamp >= entered[flow_run.id]
        }
        open_questions = {
            run_id for run_id in open_questions - stored if now - entered[run_id] < COMMITTED_AFTER
        }
        if open_questions:
            await asyncio.sleep(COMMIT_POLL_SECONDS)
    return runs


async def _read(client: "PrefectClient", asked: FlowRunFilter) -> "list[FlowRun]":
    return await client.read_flow_runs(flow_run_filter=asked, limit=QUEUED)


def _told(heard: _Heard, runs: Mapping[UUID, JobRun | None]) -> RunEvent:
    event, run_id = heard.event, heard.run_id
    if event.event == PROGRESS_EVENT:
        return _progress(event, run_id)
    return RunEvent(event.id, run_id, event.occurred, "state", run=runs[run_id])


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
