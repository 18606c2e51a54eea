"""MLflow's server behind a user and a password: `mlflow server --app-name retraining`.

MLflow's own app for that, `basic-auth`, is experimental, and keeps users, roles and permissions in a database
that each request asks. Here one comparison is enough: who has the password may do everything.
"""

import base64
import hmac
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

OPEN = frozenset({"/health"})
"""What the supervisor asks before it knows anything."""


class Closed:
    """Lets nobody in who does not send the password, by HTTP's Basic scheme (RFC 7617)."""

    def __init__(self, app: "ASGIApp", user: str, password: str) -> None:
        self._app = app
        self._wanted = b"Basic " + base64.b64encode(f"{user}:{password}".encode())

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Hand the request on, or answer 401, at which browsers ask for the password."""
        if scope["type"] == "lifespan" or scope["path"] in OPEN or self._knows(scope["headers"]):
            await self._app(scope, receive, send)
            return
        from starlette.responses import PlainTextResponse

        text = "MLflow's server asks for a user and a password: see `servers.password` in the stack's home"
        realm = {"WWW-Authenticate": 'Basic realm="MLflow", charset="UTF-8"'}
        await PlainTextResponse(text, status_code=401, headers=realm)(scope, receive, send)

    def _knows(self, headers: list[tuple[bytes, bytes]]) -> bool:
        return any(
            hmac.compare_digest(value, self._wanted) for name, value in headers if name == b"authorization"
        )


def create_app() -> "ASGIApp":
    """MLflow's app, closed. Raises KeyError without MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."""
    from mlflow.server.fastapi_app import app

    return Closed(app, os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"])
