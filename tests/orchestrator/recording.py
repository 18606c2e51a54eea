"""A real Prefect server behind something that writes down what is asked of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, Request, Response

from tests.api.serving import serving


@asynccontextmanager
async def recorded(prefect_api: str) -> AsyncIterator[tuple[str, list[str]]]:
    """The address of an API that hands every request on, and the list of them: `POST /flow_runs/filter`."""
    asked: list[str] = []
    app = FastAPI()
    async with httpx.AsyncClient(timeout=60, trust_env=False) as server:

        @app.api_route("/api/{path:path}", methods=["GET", "POST", "PATCH", "PUT", "DELETE"])
        async def hand_on(path: str, request: Request) -> Response:
            asked.append(f"{request.method} /{path}")
            answer = await server.request(
                request.method,
                f"{prefect_api}/{path}",
                params=request.query_params,
                content=await request.body(),
                headers={"Content-Type": "application/json"},
            )
            return Response(answer.content, answer.status_code, media_type="application/json")

        async with serving(app) as url:
            yield f"{url}/api", asked
