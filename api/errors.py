"""Every error as one JSON shape, and the one table of what answers with which status."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from asgi_correlation_id import correlation_id
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api.correlation import HEADER, adopt, send_back
from retraining import errors
from retraining.auth import errors as access

logger = logging.getLogger(__name__)

STATUSES: Mapping[type[Exception], int] = {
    access.NotAuthenticated: 401,
    access.MissingScope: 403,
    errors.UnknownModel: 404,
    errors.JobNotFound: 404,
    errors.TriggerNotFound: 404,
    errors.VersionNotFound: 404,
    access.KeyNotFound: 404,
    access.KeyNameTaken: 409,
    errors.JobAlreadyFinished: 409,
    errors.JobRunning: 409,
    errors.ChampionChanged: 409,
    errors.UnloadableVersion: 409,
    errors.NoChampion: 409,
    errors.NothingToRollBackTo: 409,
    errors.PromotionLockBusy: 409,
    errors.NothingToCheck: 409,
    errors.InvalidDriftProfile: 409,
    errors.InvalidRequest: 422,
    errors.InvalidParameters: 422,
    errors.InvalidCondition: 422,
    errors.IdempotencyKeyReused: 422,
    errors.DataProblem: 422,
    errors.InsufficientTrainingData: 422,
    access.RateLimitExceeded: 429,
    errors.SourceUnreachable: 503,
    errors.OrchestratorRefused: 502,
    errors.RegistryRefused: 502,
    errors.NotDeployed: 503,
    errors.InvalidCatalog: 503,
    errors.TooManyFollowers: 503,
    errors.Unavailable: 503,
}
"""The status of every domain error; a class stands for its subclasses too. `error` is the class's name."""

HTTP_ERRORS: Mapping[int, str] = {
    400: "MalformedRequest",
    401: "NotAuthenticated",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    413: "BodyTooLarge",
    415: "UnsupportedMediaType",
    422: "ValidationError",
    429: "RateLimitExceeded",
    500: "InternalError",
    502: "UpstreamRefused",
    503: "Unavailable",
}
"""The `error` of what HTTP itself refuses, or a host's own authentication."""

RETRY_AFTER_SECONDS = 5
ECHOED = 200
"""How many characters of a path an answer repeats."""


class FieldProblem(BaseModel):
    """One refused field."""

    field: str
    problem: str


class ErrorResponse(BaseModel):
    """What every error answers, from validation, authentication, routing and crashes too."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "error": "UnknownModel",
                    "message": "unknown model 'chrun'; known models: churn, profitability",
                    "status_code": 404,
                    "correlation_id": "7d0c8a1e2b4f4d0e9a6c3f5b8e1d2c70",
                },
                {
                    "error": "InvalidParameters",
                    "message": "invalid parameters for 'churn': iterations: Input should be at least 1",
                    "status_code": 422,
                    "correlation_id": "7d0c8a1e2b4f4d0e9a6c3f5b8e1d2c70",
                    "details": [
                        {
                            "field": "parameters.iterations",
                            "problem": "Input should be at least 1",
                        }
                    ],
                },
            ]
        },
    )

    error: str = Field(description="The type of the error: for programs.")
    message: str = Field(description="What happened, to what, and what to do: for people.")
    status_code: int
    correlation_id: str = Field(description="Finds the request in the logs; also in X-Correlation-ID.")
    details: list[FieldProblem] | None = Field(None, description="The refused fields, if there are any.")
    job_id: str | None = Field(None, description="The job in the way, if there is one.")


@dataclass(frozen=True)
class Problem:
    """An error on its way out."""

    status: int
    error: str
    message: str
    details: Sequence[FieldProblem] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    job_id: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the answer's body."""

    def response(self) -> Response:
        """The answer, with the correlation id of the request under way."""
        body = ErrorResponse(
            error=self.error,
            message=_printable(self.message),
            status_code=self.status,
            correlation_id=correlation_id.get() or "",
            details=[*self.details] or None,
            job_id=self.job_id,
        )
        shown = to_json({**body.model_dump(exclude_none=True), **self.more})
        return Response(
            shown, status_code=self.status, headers=dict(self.headers), media_type="application/json"
        )


def problem_of(exc: Exception) -> Problem:
    """What to answer for an exception: the table for domain errors, 500 for what nobody expected."""
    if isinstance(exc, RequestValidationError):
        return _invalid_request(exc)
    if isinstance(exc, HTTPException):
        return _http_problem(exc)
    status = next((STATUSES[kind] for kind in type(exc).__mro__ if kind in STATUSES), None)
    if status is not None:
        return _domain_problem(exc, status)
    return Problem(500, HTTP_ERRORS[500], "the server failed; its logs have more under this correlation id")


def respond_to(exc: Exception) -> Response:
    """Answer for an exception, and log what an operator should see."""
    problem = problem_of(exc)
    if problem.status == 500:
        logger.error("request crashed", exc_info=exc)
    elif problem.status >= 500:
        logger.warning("request not served: %s", exc, extra={"error": problem.error})
    return problem.response()


def install_error_handlers(app: FastAPI) -> None:
    """Give the whole application the error format: unknown paths, wrong methods and crashes anywhere in it.

    The mounted router answers its own errors in this format without it.
    """

    async def handle(request: Request, exc: Exception) -> Response:
        current = adopt(request)
        response = respond_to(_told_more(request, exc))
        send_back(request, response, current)
        return response

    async def handle_crash(request: Request, exc: Exception) -> Response:
        current = adopt(request)
        response = respond_to(exc)
        # Starlette answers crashes outside of every middleware, where nothing adds the header any more.
        response.headers[HEADER] = current
        return response

    for kind in (HTTPException, RequestValidationError, errors.RetrainingError):
        app.add_exception_handler(kind, handle)
    app.add_exception_handler(Exception, handle_crash)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route for OpenAPI: these, and those that any route may give."""
    every = sorted({*statuses, 401, 403, 422, 429, 500, 503})
    return {status: {"model": ErrorResponse, "description": HTTP_ERRORS[status]} for status in every}


def nothing_at(request: Request) -> HTTPException:
    """The path is unknown."""
    return HTTPException(404, f"there is nothing at {shortened(request.url.path)}")


def not_allowed(request: Request, allowed: Iterable[str]) -> HTTPException:
    """The path is known, with other methods."""
    listed = ", ".join(sorted(allowed))
    return HTTPException(
        405,
        f"{shortened(request.method)} is not for {shortened(request.url.path)}, only {listed}",
        {"Allow": listed},
    )


def _told_more(request: Request, exc: Exception) -> Exception:
    """Starlette's own 404 and 405 say no more than their names."""
    match exc:
        case HTTPException(status_code=404, detail="Not Found"):
            return nothing_at(request)
        case HTTPException(status_code=405, headers={"Allow": str(allowed)}):
            return not_allowed(request, allowed.split(", "))
    return exc


def _domain_problem(exc: Exception, status: int) -> Problem:
    headers: dict[str, str] = {}
    details: list[FieldProblem] = []
    job_id = None
    match exc:
        case access.NotAuthenticated():
            headers["WWW-Authenticate"] = 'Bearer realm="retraining"'
        case errors.Unavailable() | errors.PromotionLockBusy() | errors.TooManyFollowers():
            headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        case access.RateLimitExceeded():
            headers["Retry-After"] = str(exc.retry_after_seconds)
        case errors.InvalidRequest():
            details = _field_problems([(exc.field, exc.problem)])
        case errors.InvalidParameters():
            details = _field_problems((f"parameters.{name}", problem) for name, problem in exc.problems)
        case errors.InvalidCondition():
            details = _field_problems(exc.problems)
        case errors.JobRunning():
            job_id = exc.job_id
    return Problem(status, type(exc).__name__, str(exc), details=details, headers=headers, job_id=job_id)


def _invalid_request(exc: RequestValidationError) -> Problem:
    details = _field_problems((_field_of(error["loc"]), error["msg"]) for error in exc.errors())
    listed = "; ".join(f"{detail.field}: {detail.problem}" for detail in details)
    return Problem(422, HTTP_ERRORS[422], listed, details=details)


def _http_problem(exc: HTTPException) -> Problem:
    error = HTTP_ERRORS.get(exc.status_code, "HttpError")
    return Problem(exc.status_code, error, str(exc.detail), headers=exc.headers or {})


def _field_of(location: Sequence[str | int]) -> str:
    """A field as its sender knows it: without FastAPI's word for where in the request it was."""
    place, *path = location
    return ".".join(str(part) for part in path) or str(place)


def _field_problems(found: Iterable[tuple[str, str]]) -> list[FieldProblem]:
    return [FieldProblem(field=_printable(name), problem=_printable(problem)) for name, problem in found]


def shortened(text: str) -> str:
    """What a caller sent, as far as it helps to recognise it."""
    return text if len(text) <= ECHOED else f"{text[:ECHOED]}…"


def _printable(text: str) -> str:
    """Text that can be sent: half a surrogate pair, which JSON can smuggle in, is no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
