"""The routes of live status: server-sent events of one job, and of all."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from api.authentication import CAN_READ, Reader
from api.errors import documented
from api.facade import Facade, TheFacade
from api.ids import JOB
from api.route import FacadeRoute, by_name
from api.visibility import VisibleJob
from retraining.errors import Unavailable
from retraining.jobs.records import JobEvent

logger = logging.getLogger(__name__)

router = APIRouter(route_class=FacadeRoute, generate_unique_id_function=by_name, tags=["live status"])

SEND_SECONDS = 30
"""A client that takes nothing for so long is given up: it can resume."""

LastEventId = Annotated[
    int | None,
    Header(
        alias="Last-Event-ID",
        ge=0,
        lt=2**63,
        description="The id of the last event that was read; what came after it follows.",
    ),
]
STREAM: dict[str, Any] = {
    "description": "Server-sent events; `data` is a JobEvent as JSON, `event` its kind.",
    "content": {
        "text/event-stream": {
            "schema": {"type": "string"},
            "example": (
                'id: 41\nevent: progress\ndata: {"job_id":"0198c2a4-5d3e-7b61-9c1f-2f0e6f1f4b11",'
                '"model_name":"churn","at":"2026-05-04T08:00:12.250000Z","kind":"progress",'
                '"status":"running","stage":"training","progress":0.4,"message":null,"id":41}\n\n'
            ),
        }
    },
}


async def _a_place(facade: TheFacade) -> AsyncIterator[None]:
    with facade.feed.place():
        yield  # until the stream has ended: FastAPI closes its dependencies after the answer


A_PLACE = Depends(_a_place)


@router.get(
    "/events",
    dependencies=[CAN_READ, A_PLACE],
    response_class=EventSourceResponse,
    responses={200: STREAM, **documented()},
)
async def follow_retraining_jobs(
    facade: TheFacade, caller: Reader, last_event_id: LastEventId = None
) -> EventSourceResponse:
    """Follow every job, from now on or from `Last-Event-ID` on. Needs the scope `read`."""
    return _stream(facade, facade.feed.subscribe(last_event_id), sees=caller.sees)


@router.get(
    f"{JOB}/events",
    dependencies=[CAN_READ, A_PLACE],
    response_class=EventSourceResponse,
    responses={200: STREAM, 204: {"description": "The job is over and all was read"}, **documented(404)},
)
async def follow_retraining_job(
    job_id: VisibleJob, facade: TheFacade, last_event_id: LastEventId = None
) -> Response:
    """Follow one job until it is over, from its beginning or from `Last-Event-ID` on.

    Needs the scope `read`.
    """
    job = await facade.jobs.get(job_id)
    events = facade.feed.subscribe(last_event_id, job.id)
    if last_event_id is None or not job.status.final:
        return _stream(facade, events)
    # A browser's EventSource connects again after every end, until it is told that there is no content.
    first = await anext(events, None)
    return Response(status_code=204) if first is None else _stream(facade, events, first)


def _stream(
    facade: Facade,
    events: AsyncGenerator[JobEvent, None],
    first: JobEvent | None = None,
    sees: Callable[[str], bool] = lambda _: True,
) -> EventSourceResponse:
    return EventSourceResponse(
        _server_sent(events, first, sees),
        ping=facade.settings.heartbeat_seconds,
        send_timeout=SEND_SECONDS,
        sep="\n",
    )


async def _server_sent(
    events: AsyncGenerator[JobEvent, None], first: JobEvent | None, sees: Callable[[str], bool]
) -> AsyncIterator[ServerSentEvent]:
    try:
        async with aclosing(events):
            if first is not None:
                yield _shown(first)
            async for event in events:
                if sees(event.model_name):
                    yield _shown(event)
    except Unavailable:
        # The answer has begun: all that can be done is to end it. Who follows comes back with Last-Event-ID.
        logger.warning("a stream of events was cut", exc_info=True)


def _shown(event: JobEvent) -> ServerSentEvent:
    return ServerSentEvent(event.model_dump_json(), id=str(event.id), event=event.kind, sep="\n")
