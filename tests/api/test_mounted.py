"""The router inside somebody else's application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import httpx
import pytest
from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from api.correlation import HEADER, install_correlation
from api.errors import install_error_handlers
from api.router import create_router
from retraining.auth.caller import Caller
from retraining.auth.keys import KeyStore
from retraining.store.database import Database
from tests.api.answers import error_of
from tests.api.conftest import FakeDoors, settings_in
from tests.api.serving import serving

JOBS = "/api/retraining"


@dataclass
class User:
    """The host's own notion of who is calling."""

    email: str
    groups: list[str]


async def session(cookie: Annotated[str | None, Header(alias="X-Session")] = None) -> User:
    """The host's own authentication."""
    if cookie is None:
        raise HTTPException(401, "log in first", {"WWW-Authenticate": "Session"})
    email, _, groups = cookie.partition(":")
    return User(email, groups.split("+"))


def caller_of(user: User) -> Caller:
    return Caller.named(user.email, {"staff": ["read", "trigger"], "boss": ["admin"]}.get(user.groups[0], []))


class Host:
    """An application with habits of its own."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.app = FastAPI(lifespan=self._lifespan)

        @self.app.exception_handler(StarletteHTTPException)
        async def refuse(request: Request, exc: StarletteHTTPException) -> PlainTextResponse:
            return PlainTextResponse(f"host says {exc.status_code}", exc.status_code)

        @self.app.get("/")
        async def home(request: Request) -> JSONResponse:
            return JSONResponse({"greeting": request.state.greeting})

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[dict[str, str]]:
        self.events.append("up")
        yield {"greeting": "hello"}
        self.events.append("down")


@asynccontextmanager
async def hosted(
    host: Host, *, email: str = "eve@host", groups: str = "staff"
) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        serving(host.app) as url,
        httpx.AsyncClient(
            base_url=url, headers={"X-Session": f"{email}:{groups}"}, trust_env=False
        ) as client,
    ):
        yield client


@pytest.fixture
def fakes() -> FakeDoors:
    return FakeDoors()


@pytest.fixture
def host(tmp_path: Path, fakes: FakeDoors) -> Host:
    host = Host()
    host.app.include_router(
        create_router(settings_in(tmp_path), authenticate=session, caller_of=caller_of, doors=fakes.doors)
    )
    return host


async def test_the_hosts_users_start_jobs_under_their_own_names(host: Host, fakes: FakeDoors) -> None:
    async with hosted(host) as client:
        answer = await client.post(JOBS, json={"model_name": "churn"})
        assert answer.status_code == 202, answer.text
        shown = (await client.get(answer.headers["Location"])).json()
        assert shown["triggered_by"] == "eve@host"
        assert (await client.get("/")).json() == {"greeting": "hello"}
    assert host.events == ["up", "down"]
    assert fakes.prefect.followers == 0


async def test_errors_below_the_prefix_are_ours_and_all_others_the_hosts(host: Host) -> None:
    async with hosted(host) as client:
        json = {"Content-Type": "application/json"}
        for answer, status, error in (
            (await client.post(JOBS, json={"model_name": "chrun"}), 404, "UnknownModel"),
            (await client.post(JOBS, json={"model_name": 7}), 422, "ValidationError"),
            (await client.post(JOBS, content=b"{", headers=json), 400, "MalformedRequest"),
            (await client.post(JOBS, content=b" " * 2_000_000, headers=json), 413, "BodyTooLarge"),
            (await client.post(f"{JOBS}/models/churn/rollback"), 403, "MissingScope"),
            (await client.get(JOBS, headers={"X-Session": ""}), 403, "MissingScope"),
            (await client.get(f"{JOBS}/a/b/c"), 404, "NotFound"),
            (await client.get(f"{JOBS}/"), 404, "NotFound"),
            (await client.put(JOBS), 405, "MethodNotAllowed"),
        ):
            error_of(answer, status, error)
        assert answer.headers["Allow"] == "GET, POST"
        del client.headers["X-Session"]
        answer = await client.get(JOBS)
        assert error_of(answer, 401, "NotAuthenticated")["message"] == "log in first"
        assert answer.headers["WWW-Authenticate"] == "Session"
        for path in ("/nope", "/api/nope", "/health"):
            answer = await client.get(path)
            assert (answer.status_code, answer.text) == (404, "host says 404")


async def test_our_keys_are_no_way_around_the_hosts_authentication(host: Host, tmp_path: Path) -> None:
    async with hosted(host) as client:
        database = Database(settings_in(tmp_path).database)
        new = await KeyStore(database).create(name="ci", scopes=["admin"])
        del client.headers["X-Session"]
        error_of(await client.get(JOBS, headers={"X-API-Key": new.secret}), 401, "NotAuthenticated")
        await database.close()


async def test_the_correlation_id_goes_out_once(host: Host) -> None:
    async with hosted(host) as client:
        answer = await client.get(JOBS, headers={HEADER: "req-1"})
        assert answer.headers.get_list(HEADER) == ["req-1"]
        assert HEADER not in (await client.get("/")).headers


@pytest.mark.parametrize("header_name", [HEADER, HEADER.lower(), "X-Request-ID"])
async def test_a_host_may_have_correlation_ids_already(host: Host, header_name: str) -> None:
    host.app.add_middleware(CorrelationIdMiddleware, header_name=header_name, validator=None)
    async with hosted(host) as client:
        for path in (JOBS, f"{JOBS}/a/b"):
            answer = await client.get(path, headers={HEADER: "req-1"})
            assert answer.headers.get_list(HEADER) == ["req-1"]


async def test_the_prefix_may_be_below_another_one(tmp_path: Path, fakes: FakeDoors) -> None:
    host = Host()
    router = create_router(
        settings_in(tmp_path), authenticate=session, caller_of=caller_of, doors=fakes.doors
    )
    host.app.include_router(router, prefix="/ml")
    async with hosted(host) as client:
        answer = await client.post("/ml/api/retraining", json={"model_name": "churn"})
        links = answer.json()["links"]
        assert links["self"].startswith("/ml/api/retraining/")
        assert (await client.get(links["logs"])).status_code == 200
        await client.post("/ml/api/retraining", json={"model_name": "churn"})
        page = await client.get("/ml/api/retraining", params={"limit": 1})
        assert page.links["next"]["url"].startswith("/ml/api/retraining?")
        answer = await client.patch("/ml/api/retraining")
        error_of(answer, 405, "MethodNotAllowed")
        assert answer.headers["Allow"] == "GET, POST"


async def test_a_dependency_may_return_a_caller_itself(tmp_path: Path, fakes: FakeDoors) -> None:
    async def anybody() -> Caller:
        return Caller.named("anybody", ["read"])

    host = Host()
    host.app.include_router(create_router(settings_in(tmp_path), authenticate=anybody, doors=fakes.doors))
    async with hosted(host) as client:
        assert (await client.get(JOBS)).json() == []
        error_of(await client.post(JOBS, json={"model_name": "churn"}), 403, "MissingScope")


async def test_a_dependency_that_returns_no_caller_lets_nobody_in(tmp_path: Path, fakes: FakeDoors) -> None:
    async def careless() -> dict[str, str]:
        return {"name": "eve"}

    host = Host()
    host.app.include_router(create_router(settings_in(tmp_path), authenticate=careless, doors=fakes.doors))
    async with hosted(host) as client:
        error_of(await client.get(JOBS), 500, "InternalError")


@pytest.mark.parametrize("with_middleware", [False, True])
async def test_a_host_may_take_the_error_format_for_all_its_routes(with_middleware: bool) -> None:
    app = FastAPI()

    @app.get("/crash")
    async def crash() -> None:
        raise RuntimeError("the password is hunter2")

    @app.get("/items/{number}")
    async def item(number: int) -> None:
        raise HTTPException(418, "a teapot")

    install_error_handlers(app)
    if with_middleware:
        install_correlation(app)
    async with serving(app) as url, httpx.AsyncClient(base_url=url, headers={HEADER: "req-1"}) as client:
        for path, status, error in (
            ("/crash", 500, "InternalError"),
            ("/nope", 404, "NotFound"),
            ("/items/x", 422, "ValidationError"),
            ("/items/7", 418, "HttpError"),
        ):
            body = error_of(await client.get(path), status, error)
            assert body["correlation_id"] == "req-1"
            assert "hunter2" not in body["message"]
        error_of(await client.delete("/crash"), 405, "MethodNotAllowed")


async def test_without_its_lifespan_the_router_says_what_is_missing(
    tmp_path: Path, fakes: FakeDoors, caplog: pytest.LogCaptureFixture
) -> None:
    app = FastAPI()
    app.include_router(create_router(settings_in(tmp_path), doors=fakes.doors))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://host.test") as client:
        error_of(await client.get(JOBS), 500, "InternalError")
    assert "lifespan did not run" in caplog.text
