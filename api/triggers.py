"""The routes of triggers: create, list, change, delete, check, fire, and what their checks found."""

from typing import Annotated

from asgi_correlation_id import correlation_id
from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import Field

from api.authentication import CAN_READ, Reader, Trigger
from api.errors import documented
from api.facade import TheFacade
from api.jobs import Message
from api.links import LOCATION, NEXT_PAGE, check_links, link_next_page, path_to, with_todays_report
from api.route import FacadeRoute, by_name
from api.schemas import CheckRequest, CheckResponse, TriggerChanged, TriggerWanted
from api.trail import TheTrail
from api.visibility import VisibleTrigger, must_see
from retraining.audit.entry import Action
from retraining.catalog.spec import ModelName
from retraining.jobs.cursor import MAX_OFFSET
from retraining.jobs.job import TriggerType
from retraining.triggers.evaluation import Evaluation
from retraining.triggers.service import MAX_PAGE
from retraining.triggers.signal import Signal
from retraining.triggers.trigger import TriggerFilter, TriggerPublic

router = APIRouter(
    prefix="/triggers",
    route_class=FacadeRoute,
    generate_unique_id_function=by_name,
    strict_content_type=False,
    tags=["triggers"],
)

SignalKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[!-~]{1,200}$",
        description="Any word of the caller's; the same within 24 hours returns the same evaluation, and "
        "fires once.",
    ),
]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]
Offset = Annotated[int, Query(ge=0, le=MAX_OFFSET, description="Skips evaluations; a cursor is quicker.")]
Cursor = Annotated[
    str | None, Query(max_length=200, description="From the `Link` header of the page before.")
]


class TriggerQuery(TriggerFilter):
    """Which triggers, and which page of them."""

    model_name: ModelName | None = Field(None, description="Only triggers of this model.")
    trigger_type: TriggerType | None = Field(None, description="Only triggers of this type.")
    limit: int = Field(50, ge=1, le=MAX_PAGE)
    offset: int = Field(0, ge=0, le=MAX_OFFSET, description="Skips triggers; a cursor is quicker.")
    cursor: str | None = Field(None, max_length=200, description="From the `Link` header of the page before.")


@router.post("", status_code=201, responses={201: LOCATION, **documented(400, 404, 409, 413, 415, 502)})
async def create_retraining_trigger(
    *,
    wanted: TriggerWanted,
    request: Request,
    response: Response,
    facade: TheFacade,
    trail: TheTrail,
    caller: Trigger,
) -> TriggerPublic:
    """Create a trigger: all of it, or after an error nothing.

    Needs the scope `trigger`: who may start jobs may plan them. `trigger_type` decides which keys
    `trigger_condition` takes; what is wrong with it is answered field by field.
    """
    must_see(request, facade, wanted.model_name)
    kind = str(wanted.trigger_type)
    async with trail.deed(Action.TRIGGER_CREATE, model_name=wanted.model_name, trigger_type=kind) as deed:
        trigger = await facade.triggers.create(wanted, by=caller.name)
        deed.target = f"trigger {trigger.id}"
    response.headers["Location"] = path_to(request, "get_retraining_trigger", trigger_id=trigger.id)
    return trigger


@router.get("", responses={200: NEXT_PAGE, **documented()})
async def list_retraining_triggers(
    query: Annotated[TriggerQuery, Query()],
    request: Request,
    response: Response,
    facade: TheFacade,
    caller: Reader,
) -> list[TriggerPublic]:
    """List triggers, newest first, those made in Prefect too. Needs the scope `read`."""
    page = await facade.triggers.list(
        query, limit=query.limit, offset=query.offset, cursor=query.cursor, among=caller.models
    )
    if page.next_cursor is not None:
        link_next_page(request, response, cursor=page.next_cursor)
    return [*page.triggers]


@router.get("/{trigger_id}", dependencies=[CAN_READ], responses=documented(404))
async def get_retraining_trigger(trigger_id: VisibleTrigger, facade: TheFacade) -> TriggerPublic:
    """One trigger, with the next five times when it is due. Needs the scope `read`."""
    return await facade.triggers.get(trigger_id)


@router.patch("/{trigger_id}", responses=documented(400, 404, 409, 413, 415, 502))
async def change_retraining_trigger(
    *,
    caller: Trigger,
    trigger_id: VisibleTrigger,
    change: TriggerChanged,
    facade: TheFacade,
    trail: TheTrail,
) -> TriggerPublic:
    """Switch a trigger on or off, or give it another condition. Needs the scope `trigger`.

    A disabled trigger is never due; it can be checked by hand, which is recorded and starts nothing. The
    times of a schedule that was made in Prefect are changed there.
    """
    changed = sorted(change.model_dump(exclude_none=True))
    async with trail.deed(
        Action.TRIGGER_CHANGE, target=f"trigger {trigger_id}", changed=changed, enabled=change.enabled
    ) as deed:
        trigger = await facade.triggers.change(trigger_id, change, by=caller.name)
        deed.model_name = trigger.model_name
    return trigger


@router.delete("/{trigger_id}", responses=documented(404, 502))
async def delete_retraining_trigger(
    *, caller: Trigger, trigger_id: VisibleTrigger, facade: TheFacade, trail: TheTrail
) -> Message:
    """Delete a trigger and the runs that it had planned; its history stays, and jobs under way go on.

    Needs the scope `trigger`.
    """
    async with trail.deed(Action.TRIGGER_DELETE, target=f"trigger {trigger_id}") as deed:
        deed.model_name = await facade.triggers.model_of(trigger_id)
        await facade.triggers.delete(trigger_id, by=caller.name)
    return Message(message=f"trigger {trigger_id} is deleted; jobs that are running go on")


@router.post("/{trigger_id}/check", status_code=202, responses=documented(400, 404, 409, 413, 415, 502))
async def check_retraining_trigger(
    *,
    caller: Trigger,
    trigger_id: VisibleTrigger,
    request: Request,
    facade: TheFacade,
    trail: TheTrail,
    wanted: CheckRequest | None = None,
) -> CheckResponse:
    """Check a drift or performance trigger now; what it finds is an evaluation like any other.

    Needs the scope `trigger`, because a breach starts a job. A scheduled trigger has nothing to check (409).
    """
    wanted = wanted or CheckRequest()
    async with trail.deed(Action.TRIGGER_CHECK, target=f"trigger {trigger_id}") as deed:
        deed.model_name = await facade.triggers.model_of(trigger_id)
        check_id = await facade.triggers.check(
            trigger_id,
            as_of=wanted.as_of,
            report=wanted.report,
            by=caller.name,
            correlation_id=correlation_id.get() or "",
        )
        deed.details["evaluation_id"] = str(check_id)
    return CheckResponse(
        check_id=check_id,
        message=f"check of trigger {trigger_id} accepted",
        links=check_links(request, trigger_id, check_id),
    )


@router.post("/{trigger_id}/fire", status_code=202, responses=documented(400, 404, 409, 413, 415, 502))
async def fire_retraining_trigger(
    *,
    caller: Trigger,
    trigger_id: VisibleTrigger,
    facade: TheFacade,
    trail: TheTrail,
    signal: Signal | None = None,
    idempotency_key: SignalKey = None,
) -> Evaluation:
    """Report a breach that a monitor of your own found; patience and cooldown apply as to our own.

    Needs the scope `trigger`. Answers with the evaluation: `action` says whether it fired. A scheduled
    trigger has no condition to breach (409).
    """
    async with trail.deed(Action.TRIGGER_FIRE, target=f"trigger {trigger_id}") as deed:
        evaluation = await facade.triggers.fire(
            trigger_id, signal or Signal(), by=caller.name, idempotency_key=idempotency_key
        )
        deed.model_name = evaluation.model_name
        deed.details = {"evaluation_id": str(evaluation.id), "action": str(evaluation.action)}
    return evaluation


@router.get(
    "/{trigger_id}/evaluations", dependencies=[CAN_READ], responses={200: NEXT_PAGE, **documented(404)}
)
async def list_retraining_trigger_evaluations(
    *,
    trigger_id: VisibleTrigger,
    request: Request,
    response: Response,
    facade: TheFacade,
    limit: Limit = 50,
    offset: Offset = 0,
    cursor: Cursor = None,
) -> list[Evaluation]:
    """Every check of a trigger, newest first: what was found and what was done about it, and why.

    Needs the scope `read`. The history of a deleted trigger stays.
    """
    page = await facade.triggers.evaluations(trigger_id, limit=limit, offset=offset, cursor=cursor)
    if page.next_cursor is not None:
        link_next_page(request, response, cursor=page.next_cursor)
    return [with_todays_report(facade, evaluation) for evaluation in page.evaluations]
