"""The route class of the facade: what holds for every route, in our application and in a host's."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from api.body import StrictRequest
from api.correlation import adopt, send_back
from api.errors import respond_to
from api.facade import facade_of
from api.rate_limits import heed_address, note_failure, standing_headers
from api.trail import note_refusal


class FacadeRoute(APIRoute):
    """Answers errors in our format, carries the correlation id, bounds the body and how often it is asked.

    Middleware and exception handlers belong to an application; a router that is mounted into somebody
    else's can only bring its own routes.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler; see "Custom Request and APIRoute class" in its documentation."""
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            current = adopt(request)
            try:
                await heed_address(request)
                max_bytes = facade_of(request).settings.max_body_bytes
                response = await handle(StrictRequest(request.scope, request.receive, max_bytes))
            except Exception as exc:
                note_refusal(request, self.name, exc)
                await note_failure(request, exc)
                response = respond_to(exc)
            send_back(request, response, current)
            response.headers.update(standing_headers(request))
            return response

        return handle_strictly


def by_name(route: APIRoute) -> str:
    """The operation id of a route: its function's name, which clients made from the description can call."""
    return route.name
