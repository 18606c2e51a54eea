"""The facade as a router, for our own application and for any other."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.routing import APIRoute

from api import events, jobs, models
from api.authentication import identification
from api.body import refuse_unreadable_body
from api.errors import not_allowed, nothing_at
from api.facade import Doors, lifespan_of
from api.route import FacadeRoute
from retraining.auth.caller import Caller
from retraining.settings import Settings

PREFIX = "/api/retraining"
ROUTERS = (events.router, models.router, jobs.router)
"""In the order of matching: fixed paths before `/{job_id}`."""
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


def create_router(
    settings: Settings | None = None,
    *,
    authenticate: Callable[..., Any] | None = None,
    caller_of: Callable[[Any], Caller] | None = None,
    doors: Doors | None = None,
) -> APIRouter:
    """The routes under `/api/retraining`, with a lifespan that runs the facade: `app.include_router(...)`.

    `authenticate` is the host's own FastAPI dependency in place of our API keys; `caller_of` makes a `Caller`
    of what it returns, unless that is one. Errors are in our format, whatever handlers the host has.
    """
    lifespan = lifespan_of(settings or Settings(), doors or Doors())
    router = APIRouter(lifespan=lifespan)
    identify = identification(authenticate, caller_of)
    # In this order: who may not call learns nothing about what was sent.
    for each in ROUTERS:
        router.include_router(
            each, prefix=PREFIX, dependencies=[Depends(identify), Depends(refuse_unreadable_body)]
        )
    router.include_router(_elsewhere(), prefix=PREFIX)
    return router


def _elsewhere() -> APIRouter:
    """Whatever is left below the prefix: unknown paths, and known ones with another method.

    A host would answer these in its own format, and Starlette names in `Allow` only the first matching
    route's methods.
    """
    router = APIRouter(route_class=FacadeRoute)

    @router.api_route("", methods=METHODS, include_in_schema=False)
    @router.api_route("/{rest:path}", methods=METHODS, include_in_schema=False)
    async def answer_elsewhere(request: Request) -> None:
        rest = request.path_params.get("rest")
        allowed = _methods_of("" if rest is None else f"/{rest}")
        if allowed:
            raise not_allowed(request, allowed)
        raise nothing_at(request)

    return router


def _methods_of(path: str) -> set[str]:
    routes = (route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute))
    return {method for route in routes if route.path_regex.fullmatch(path) for method in route.methods or ()}
