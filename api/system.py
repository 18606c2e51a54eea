"""Routes beside the contract: is it alive, is it ready, and its OpenAPI description."""

import asyncio
from collections.abc import Iterator
from typing import Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from api.authentication import CAN_READ, entrance
from api.errors import HTTP_ERRORS, ErrorResponse, Problem
from api.facade import Facade, TheFacade
from api.readiness import Check
from api.route import FacadeRoute, by_name
from retraining.orchestrator.values import Inspection

TOO_OFTEN: dict[int | str, dict[str, Any]] = {429: {"model": ErrorResponse, "description": HTTP_ERRORS[429]}}
NAMED = 5
"""How many missing deployments a warning names."""

router = APIRouter(route_class=FacadeRoute, generate_unique_id_function=by_name, tags=["system"])


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """Every part answers; `warnings` tell of what works less well."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "ready",
                    "checks": {"database": {"ready": True, "problem": None}},
                    "warnings": [],
                }
            ]
        }
    )

    status: Literal["ready"] = "ready"
    checks: dict[str, Check]
    warnings: list[str]


class NotReady(ErrorResponse):
    """Some part does not answer: the error format, and every part's answer."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "error": "NotReady",
                    "message": "mlflow: no answer within 2 s",
                    "status_code": 503,
                    "correlation_id": "7d0c8a1e2b4f4d0e9a6c3f5b8e1d2c70",
                    "checks": {
                        "database": {"ready": True, "problem": None},
                        "mlflow": {"ready": False, "problem": "no answer within 2 s"},
                    },
                }
            ]
        }
    )

    checks: dict[str, Check]


@router.head("/health", include_in_schema=False)
@router.get("/health", responses=TOO_OFTEN)
async def health() -> Alive:
    """Whether the process is alive, whatever it stands on. Needs no key."""
    return Alive()


@router.head("/ready", include_in_schema=False)
@router.get(
    "/ready",
    response_model=Ready,
    responses={503: {"model": NotReady, "description": "Some part does not answer"}, **TOO_OFTEN},
)
async def ready(facade: TheFacade) -> Any:
    """Whether all that the facade stands on is there, and what is not. Needs no key."""
    checks, staff = await asyncio.gather(facade.readiness.check(), facade.staffing.look())
    wrong = [f"{part}: {check.problem}" for part, check in checks.items() if not check.ready]
    if not wrong:
        return Ready(checks=dict(checks), warnings=[*_warnings(facade, staff)])
    return Problem(503, "NotReady", "; ".join(wrong), more={"checks": checks}).response()


def _warnings(facade: Facade, staff: Inspection | None) -> Iterator[str]:
    yield from map(str, facade.catalog.problems)
    if not facade.sync.live:
        every = facade.settings.reconcile_seconds
        yield f"Prefect's events do not arrive; jobs are up to {every:g} s behind"
    if staff is None:
        return
    pool = facade.settings.work_pool
    if staff.missing:
        more = len(staff.missing) - NAMED
        named = ", ".join(staff.missing[:NAMED]) + (f" and {more} more" if more > 0 else "")
        yield f"Prefect lacks the deployments {named}; run `retraining deploy`"
    if staff.pool_paused:
        yield f"the work pool {pool!r} is paused, jobs wait; `prefect work-pool resume {pool}`"
    if not staff.workers:
        yield f"no worker polls the work pool {pool!r}, jobs wait; `prefect worker start --pool {pool}`"


@router.get(
    "/openapi.json",
    dependencies=[Depends(entrance(None, None)), CAN_READ],
    include_in_schema=False,
)
async def openapi(request: Request) -> JSONResponse:
    """The OpenAPI description. Needs the scope `read`."""
    return JSONResponse(request.app.openapi())
