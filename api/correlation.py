"""The correlation id: comes in and goes out as `X-Correlation-ID`, and is in every log line between."""

import re
from uuid import uuid4

from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from fastapi import FastAPI, Request
from starlette.responses import Response

HEADER = "X-Correlation-ID"
_FORM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@=+-]{0,127}")


def acceptable(given: str) -> bool:
    """Whether a caller's id may travel on into logs, headers and labels: up to 128 plain characters."""
    return _FORM.fullmatch(given) is not None


def new_correlation_id() -> str:
    """A fresh id."""
    return uuid4().hex


def install_correlation(app: FastAPI) -> None:
    """Give every request of the application an id, unknown paths too."""
    app.add_middleware(
        CorrelationIdMiddleware, header_name=HEADER, generator=new_correlation_id, validator=acceptable
    )


def adopt(request: Request) -> str:
    """Make the request's id, or a new one, the current one, where no middleware did so before."""
    given = request.headers.get(HEADER, "")
    if not _has_middleware(request.app):
        correlation_id.set(given if acceptable(given) else new_correlation_id())
    return correlation_id.get() or new_correlation_id()


def send_back(request: Request, response: Response, current: str) -> None:
    """Put the id on the response, where no middleware will."""
    if not _has_middleware(request.app):
        response.headers[HEADER] = current


def _has_middleware(app: FastAPI) -> bool:
    return any(
        getattr(middleware.cls, "__name__", "") == CorrelationIdMiddleware.__name__
        and str(middleware.kwargs.get("header_name", "")).lower() == HEADER.lower()
        for middleware in app.user_middleware
    )
