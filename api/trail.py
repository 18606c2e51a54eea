"""What goes from a request into the audit log."""

from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any

from asgi_correlation_id import correlation_id
from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from api.facade import Facade, TheFacade, facade_of
from api.rate_limits import address_of
from retraining.audit.entry import Action, Actor
from retraining.audit.log import Deed
from retraining.audit.refusals import Refusal
from retraining.auth.caller import Caller
from retraining.auth.errors import MissingScope, NotAuthenticated

WITHHELD = "it concerns another model than the caller's"


class Trail:
    """The audit log, for what this request does."""

    def __init__(self, request: Request, facade: Facade) -> None:
        self._request = request
        self._facade = facade

    @property
    def actor(self) -> Actor:
        """Who is calling, and from where."""
        return actor_of(self._request)

    def deed(
        self, action: Action, *, model_name: str | None = None, target: str | None = None, **details: Any
    ) -> AbstractAsyncContextManager[Deed]:
        """Around an action: `asked` before it, `done` or `failed` after. See `AuditLog.deed`."""
        return self._facade.audit.deed(
            self.actor, action, model_name=model_name, target=target, details=details
        )


async def _trail(request: Request, facade: TheFacade) -> Trail:
    return Trail(request, facade)


TheTrail = Annotated[Trail, Depends(_trail)]


def actor_of(request: Request) -> Actor:
    """Who is calling, and from where."""
    caller: Caller | None = getattr(request.state, "caller", None)
    return Actor(
        name=caller.name if caller else "",
        credential=caller.credential if caller else "",
        address=address_of(request),
        correlation_id=correlation_id.get(),
    )


def withheld(request: Request) -> None:
    """Say that the answer, which tells the caller of nothing, is a refusal."""
    request.state.withheld = True


def note_refusal(request: Request, operation: str, exc: Exception) -> None:
    """Put a refused request into the audit log; of other errors there is nothing to say."""
    match exc:
        case NotAuthenticated():
            action, reason = Action.AUTHENTICATE, exc.problem
        case HTTPException(status_code=401):
            action, reason = Action.AUTHENTICATE, "refused by the host application"
        case MissingScope():
            action, reason = Action.AUTHORIZE, f"lacks the scope {exc.scope!r}"
        case HTTPException(status_code=403):
            action, reason = Action.AUTHORIZE, "refused by the host application"
        case _ if getattr(request.state, "withheld", False):
            action, reason = Action.AUTHORIZE, WITHHELD
        case _:
            return
    refusal = Refusal(actor_of(request), action, reason, target=f"operation {operation}")
    facade_of(request).refusals.note(refusal)
