"""The routes of jobs: start, list, read, cancel, logs."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from asgi_correlation_id import correlation_id
from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from api.authentication import CAN_READ, Canceller, Reader, Trigger
from api.errors import documented
from api.facade import Facade, TheFacade, facade_of
from api.ids import JOB
from api.links import LOCATION, NEXT_PAGE, job_links, link_next_page, with_reports, with_todays_links
from api.route import FacadeRoute, by_name
from api.trail import TheTrail
from api.visibility import VisibleJob, must_see
from retraining.audit.entry import Action
from retraining.auth.caller import Caller, Scope
from retraining.auth.errors import NotYourJob
from retraining.catalog.spec import ModelName
from retraining.jobs.cursor import MAX_OFFSET
from retraining.jobs.job import (
    JobFilter,
    JobSnapshot,
    RetrainingJob,
    RetrainingRequest,
    RetrainingResponse,
    TriggerType,
)
from retraining.jobs.service import MAX_PAGE
from retraining.jobs.status import RetrainingStatus
from retraining.orchestrator.values import LogLine

router = APIRouter(
    route_class=FacadeRoute, generate_unique_id_function=by_name, strict_content_type=False, tags=["jobs"]
)

# Rendered here: FastAPI would first make rows of the table of them.
_SNAPSHOTS = TypeAdapter(list[JobSnapshot])

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[!-~]{1,200}$",
        description="Any word of the caller's; the same within 24 hours returns the same job.",
    ),
]


class Message(BaseModel):
    """What was done, in words."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"message": "job 0198c2a4-5d3e-7b61-9c1f-2f0e6f1f4b11 is cancelled"}]}
    )

    message: str


class JobQuery(JobFilter):
    """Which jobs, and which page of them."""

    model_name: ModelName | None = Field(None, description="Only jobs of this model.")
    status: RetrainingStatus | None = Field(None, description="Only jobs with this status.")
    trigger_type: TriggerType | None = Field(None, description="Only jobs with this cause.")
    limit: int = Field(50, ge=1, le=MAX_PAGE)
    offset: int = Field(0, ge=0, le=MAX_OFFSET, description="Skips jobs; a cursor is quicker.")
    cursor: str | None = Field(None, max_length=200, description="From the `Link` header of the page before.")


@router.post(
    "",
    status_code=202,
    responses={202: LOCATION, **documented(400, 404, 409, 413, 415, 502)},
)
async def start_retraining(
    *,
    wanted: RetrainingRequest,
    request: Request,
    response: Response,
    facade: TheFacade,
    trail: TheTrail,
    caller: Trigger,
    idempotency_key: IdempotencyKey = None,
) -> RetrainingResponse:
    """Start a retraining job.

    Needs the scope `trigger`. `parameters` are checked against the model's own class
    (`GET /api/retraining/models/{name}` shows its schema).
    """
    must_see(request, facade, wanted.model_name)
    async with trail.deed(Action.JOB_START, model_name=wanted.model_name) as deed:
        job = await facade.jobs.start(
            wanted,
            triggered_by=caller.name,
            correlation_id=correlation_id.get() or "",
            idempotency_key=idempotency_key,
        )
        deed.target = f"job {job.id}"
    links = job_links(request, job.id, job.model_name)
    response.headers["Location"] = links["self"]
    return RetrainingResponse(
        job_id=job.id,
        model_name=job.model_name,
        status=job.status,
        message=f"retraining of {job.model_name} accepted",
        links=links,
    )


@router.get(
    "",
    response_model=list[RetrainingJob],
    responses={200: NEXT_PAGE, **documented()},
)
async def list_retraining_jobs(
    query: Annotated[JobQuery, Query()], request: Request, caller: Reader
) -> Response:
    """List jobs, newest first. Needs the scope `read`."""
    facade = facade_of(request)
    page = await facade.jobs.list(
        query, limit=query.limit, offset=query.offset, cursor=query.cursor, among=caller.models
    )
    response = Response(
        _SNAPSHOTS.dump_json(with_todays_links(facade, page.jobs)), media_type="application/json"
    )
    if page.next_cursor is not None:
        link_next_page(request, response, cursor=page.next_cursor)
    return response


@router.get(JOB, response_model=RetrainingJob, dependencies=[CAN_READ], responses=documented(404))
async def get_retraining_job(job_id: VisibleJob, request: Request) -> Response:
    """One job. Needs the scope `read`."""
    facade = facade_of(request)
    [job] = with_todays_links(facade, [await facade.jobs.get(job_id)])
    shown = await with_reports(facade, job)
    return Response(shown.model_dump_json(), media_type="application/json")


@router.delete(JOB, responses=documented(404, 409, 502))
async def cancel_retraining_job(
    *, caller: Canceller, job_id: VisibleJob, facade: TheFacade, trail: TheTrail
) -> Message:
    """Cancel a job; again is harmless.

    Needs the scope `cancel` for a job that the caller started, `cancel-any` for others. A waiting job is
    cancelled at once, a running one stops itself or is stopped within a bound; a completed or failed one is
    refused (409).
    """
    await _must_be_theirs(facade, caller, job_id)
    async with trail.deed(Action.JOB_CANCEL, target=f"job {job_id}") as deed:
        job = await facade.jobs.cancel(job_id, by=caller.name)
        deed.model_name = job.model_name
    if job.status.final:
        return Message(message=f"job {job.id} is {job.status}")
    grace = facade.settings.cancel_grace_seconds
    return Message(message=f"job {job.id} is stopping, within {grace:g} s")


async def _must_be_theirs(facade: Facade, caller: Caller, job_id: UUID) -> None:
    """Raise NotYourJob unless the caller may cancel this job."""
    if caller.may(Scope.CANCEL_ANY):
        return
    job = await facade.jobs.get(job_id)
    if job.trigger_type is not TriggerType.MANUAL or job.triggered_by != caller.name:
        raise NotYourJob(caller.name, job_id)


@router.get(f"{JOB}/logs", dependencies=[CAN_READ], responses={200: NEXT_PAGE, **documented(404)})
async def get_retraining_job_logs(
    *,
    job_id: VisibleJob,
    request: Request,
    response: Response,
    facade: TheFacade,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 200,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
) -> Sequence[LogLine]:
    """A job's log, oldest line first. Needs the scope `read`."""
    lines = await facade.jobs.logs(job_id, limit=limit, offset=offset)
    if len(lines) == limit:
        link_next_page(request, response, offset=offset + limit)
    return lines
