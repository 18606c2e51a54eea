"""The route of the audit log, for administrators."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, field_validator

from api.authentication import Admin
from api.errors import documented
from api.facade import TheFacade
from api.links import NEXT_PAGE, link_next_page
from api.route import FacadeRoute, by_name
from retraining.audit.entry import AuditEntry, AuditFilter
from retraining.audit.log import MAX_PAGE
from retraining.jobs.job import AwareMoment
from retraining.jobs.plain import refuse_unstorable

router = APIRouter(
    prefix="/audit", route_class=FacadeRoute, generate_unique_id_function=by_name, tags=["audit"]
)


class AuditQuery(AuditFilter):
    """Which entries, and which page of them."""

    since: AwareMoment | None = Field(None, description="Only from this moment on.")
    until: AwareMoment | None = Field(None, description="Only before this moment.")
    limit: int = Field(100, ge=1, le=MAX_PAGE)
    cursor: str | None = Field(None, max_length=200, description="From the `Link` header of the page before.")

    @field_validator("actor", "model_name", "target", "correlation_id")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        refuse_unstorable(value, "the text")
        return value


@router.get("", responses={200: NEXT_PAGE, **documented()})
async def list_retraining_audit(
    query: Annotated[AuditQuery, Query()], request: Request, response: Response, facade: TheFacade, _: Admin
) -> list[AuditEntry]:
    """Who did what, newest first. Needs the scope `admin`.

    `asked` is written before an action, `done` or `failed` after it, with the number of the former in
    `asked_id`. Of refused requests the first of a kind in a minute is written, and then how many followed.
    """
    page = await facade.audit.list(
        query, since=query.since, until=query.until, limit=query.limit, cursor=query.cursor
    )
    if page.next_cursor is not None:
        link_next_page(request, response, cursor=page.next_cursor)
    return [*page.entries]
