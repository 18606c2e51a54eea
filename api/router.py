"""The facade as a router, for our own application and for any other."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.routing import APIRoute

from api import audit, events, jobs, keys, models, triggers
from api.authentication import entrance
from api.errors import not_allowed, nothing_at
from api.facade import Doors, lifespan_of
from api.route import FacadeRoute
from retraining.auth.caller import Caller
from retraining.settings import Settings

PREFIX = "/api/retraining"
ROUTERS = (jobs.router, triggers.router, models.router, events.router, keys.router, audit.router)
"""In the order of matching, which costs: what is asked for most comes first."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})


def create_router(
    settings: Settings | None = None,
    *,
    authenticate: Callable[..., Any] | None = None,
    caller_of: Callable[[Any], Caller] | None = None,
    doors: Doors | None = None,
) -> APIRouter:
    """The routes under `/api/retraining`, with a lifespan that runs the facade: `app.include_router(...)`.

    `authenticate` is the host's own FastAPI dependency in place of our API keys and tokens; `caller_of` makes
    a `Caller` of what it returns, unless that is one. Errors are in our format, whatever handlers the host
    has.
    """
    lifespan = lifespan_of(settings or Settings(), doors or Doors())
    router = APIRouter(lifespan=lifespan)
    asked_first = [Depends(entrance(authenticate, caller_of))]
    for each in ROUTERS:
        router.include_router(each, prefix=PREFIX, dependencies=asked_first)
    router.include_router(_other_methods(), prefix=PREFIX)
    router.include_router(_elsewhere(), prefix=PREFIX)
    return router


def _other_methods() -> APIRouter:
    """Every path with the methods that it does not have: 405.

    Starlette would name in `Allow` only the first matching route's methods.
    """
    refusing = APIRouter(route_class=FacadeRoute)
    methods_by_path: dict[str, set[str]] = defaultdict(set)
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute):
                methods_by_path[route.path] |= route.methods or set()
    for path, allowed in methods_by_path.items():
        refusing.add_api_route(
            path, _refusing(allowed), methods=sorted(METHODS - allowed), include_in_schema=False
        )
    return refusing


def _refusing(allowed: set[str]) -> Callable[[Request], Any]:
    async def refuse_method(request: Request) -> None:
        raise not_allowed(request, allowed)

    return refuse_method


def _elsewhere() -> APIRouter:
    """Whatever is left below the prefix: a host would answer it in its own format."""
    router = APIRouter(route_class=FacadeRoute)

    @router.api_route("", methods=sorted(METHODS), include_in_schema=False)
    @router.api_route("/{rest:path}", methods=sorted(METHODS), include_in_schema=False)
    async def answer_elsewhere(request: Request) -> None:
        raise nothing_at(request)

    return router
