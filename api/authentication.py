"""Who is calling: by our API keys, an issuer's tokens, or the host application's own authentication."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from api.body import refuse_unreadable_body
from api.facade import facade_of
from api.rate_limits import heed_caller
from retraining.auth.caller import Caller, Scope
from retraining.auth.errors import NotAuthenticated
from retraining.auth.key import KEY_PREFIX

_bearer = HTTPBearer(auto_error=False, description="An API key, or a token of the configured issuer.")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="An API key.")


async def authenticate_by_key_or_token(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    header: Annotated[str | None, Depends(_header)],
) -> Caller:
    """Dependency: the caller whose key or token came with the request.

    Raises NotAuthenticated, IssuerUnavailable.
    """
    facade = facade_of(request)
    secret = bearer.credentials if bearer else header
    if not secret:
        raise NotAuthenticated("the request carries no API key")
    if bearer and facade.tokens is not None and not secret.startswith(KEY_PREFIX):
        return await facade.tokens.authenticate(secret)
    caller = await facade.keys.authenticate(secret)
    if caller is None:
        raise NotAuthenticated("the API key is unknown, expired or revoked")
    return caller


def entrance(
    authenticate: Callable[..., Any] | None, caller_of: Callable[[Any], Caller] | None
) -> Callable[..., Any]:
    """Dependency of every route behind a key: who is calling, may they ask again, can what they sent be read.

    In this order: who may not call learns nothing about what was sent. One dependency and not three, because
    FastAPI solves each anew with every request.

    `authenticate` is any FastAPI dependency; what it returns is a `Caller`, or `caller_of` makes one of it.
    """

    async def enter(
        request: Request, principal: Annotated[Any, Depends(authenticate or authenticate_by_key_or_token)]
    ) -> None:
        caller = caller_of(principal) if caller_of else principal
        if not isinstance(caller, Caller):
            raise TypeError(
                f"authentication gave {type(caller).__name__}; return a retraining.auth.caller.Caller, "
                "or pass caller_of= to make one"
            )
        request.state.caller = caller
        await heed_caller(request, caller)
        refuse_unreadable_body(request)

    return enter


def having(scope: Scope) -> Callable[[Request], Any]:
    """Dependency: the caller, who has this scope. Raises MissingScope."""

    async def caller_having(request: Request) -> Caller:
        caller: Caller = request.state.caller
        caller.must(scope)
        return caller

    return caller_having


_can_read = having(Scope.READ)
CAN_READ = Depends(_can_read)
Reader = Annotated[Caller, Depends(_can_read)]
Trigger = Annotated[Caller, Depends(having(Scope.TRIGGER))]
Canceller = Annotated[Caller, Depends(having(Scope.CANCEL))]
Promoter = Annotated[Caller, Depends(having(Scope.PROMOTE))]
Admin = Annotated[Caller, Depends(having(Scope.ADMIN))]
