"""Who may call what."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from api import system
from api.app import create_app
from api.route import FacadeRoute
from api.router import PREFIX, ROUTERS
from retraining.auth.caller import Scope
from retraining.auth.key import new_key
from tests.api.answers import error_of
from tests.api.conftest import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")

JOB = "00000000-0000-4000-8000-000000000000"
NEEDS: dict[tuple[str, str], Scope | None] = {
    ("GET", "/health"): None,
    ("GET", "/ready"): None,
    ("GET", "/openapi.json"): Scope.READ,
    ("POST", "/api/retraining"): Scope.TRIGGER,
    ("GET", "/api/retraining"): Scope.READ,
    ("GET", "/api/retraining/{job_id}"): Scope.READ,
    ("DELETE", "/api/retraining/{job_id}"): Scope.CANCEL,
    ("GET", "/api/retraining/{job_id}/logs"): Scope.READ,
    ("GET", "/api/retraining/{job_id}/events"): Scope.READ,
    ("GET", "/api/retraining/events"): Scope.READ,
    ("GET", "/api/retraining/models"): Scope.READ,
    ("GET", "/api/retraining/models/{model_name}"): Scope.READ,
    ("GET", "/api/retraining/models/{model_name}/versions"): Scope.READ,
    ("GET", "/api/retraining/models/{model_name}/promotions"): Scope.READ,
    ("POST", "/api/retraining/models/{model_name}/versions/{version}/promote"): Scope.PROMOTE,
    ("POST", "/api/retraining/models/{model_name}/rollback"): Scope.PROMOTE,
    ("POST", "/api/retraining/triggers"): Scope.TRIGGER,
    ("GET", "/api/retraining/triggers"): Scope.READ,
    ("GET", "/api/retraining/triggers/{trigger_id}"): Scope.READ,
    ("PATCH", "/api/retraining/triggers/{trigger_id}"): Scope.TRIGGER,
    ("DELETE", "/api/retraining/triggers/{trigger_id}"): Scope.TRIGGER,
    ("POST", "/api/retraining/triggers/{trigger_id}/check"): Scope.TRIGGER,
    ("POST", "/api/retraining/triggers/{trigger_id}/fire"): Scope.TRIGGER,
    ("GET", "/api/retraining/triggers/{trigger_id}/evaluations"): Scope.READ,
    ("POST", "/api/retraining/keys"): Scope.ADMIN,
    ("GET", "/api/retraining/keys"): Scope.ADMIN,
    ("DELETE", "/api/retraining/keys/{key_id}"): Scope.ADMIN,
    ("GET", "/api/retraining/audit"): Scope.ADMIN,
}
"""Every route of the facade, and the scope that it needs."""
MOUNTED = [("", system.router), *((PREFIX, router) for router in ROUTERS)]
CLOSED = [(method, path) for (method, path), scope in NEEDS.items() if scope is not None]


async def _status(client: httpx.AsyncClient, method: str, path: str, **request: str) -> httpx.Response:
    """The answer, without reading a stream that does not end."""
    path = path.format(job_id=JOB, trigger_id=JOB, model_name="nobody", version="1", key_id="0" * 12)
    async with client.stream(method, path, **request) as answer:  # type: ignore[arg-type]
        if "event-stream" not in answer.headers["content-type"]:
            await answer.aread()
        return answer


async def test_every_route_is_listed_here() -> None:
    """A new one fails this until it is said who may call it."""
    documented = {
        (method.upper(), path)
        for path, methods in create_app().openapi()["paths"].items()
        for method in methods
    }
    assert documented | {("GET", "/openapi.json")} == set(NEEDS)
    routes = [(prefix, route) for prefix, router in MOUNTED for route in router.routes]
    assert {type(route) for _, route in routes} == {FacadeRoute}
    undocumented = {
        (method, prefix + route.path_format)
        for prefix, route in routes
        if isinstance(route, FacadeRoute)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert undocumented == set(NEEDS)


ALLOWED: dict[str, set[Scope | None]] = {
    "viewer": {Scope.READ},
    "operator": {Scope.READ, Scope.TRIGGER, Scope.CANCEL},
    "admin": set(NEEDS.values()),
    "operator limited": {Scope.READ, Scope.TRIGGER, Scope.CANCEL},
}
"""What each role opens, of what the routes need."""


class Callers:
    """One client for each key, shared by the tests of the matrix."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def with_key(self, word: str, models: list[str] | None = None) -> httpx.AsyncClient:
        """Who has a key with this role or scope."""
        kept = f"{word} of {models}"
        if kept not in self._clients:
            new = await self._api.keys.create(name="ci", scopes=[word], models=models, shares_name=True)
            self._clients[kept] = await self._api.client(Authorization=f"Bearer {new.secret}")
        return self._clients[kept]

    async def with_bad_key(self, kind: str) -> httpx.AsyncClient:
        """Who has an administrator's key that was good once, or looks so."""
        if kind not in self._clients:
            secret = await self._bad_key(kind)
            self._clients[kind] = await self._api.client(Authorization=f"Bearer {secret}")
        return self._clients[kind]

    async def nobody(self) -> httpx.AsyncClient:
        """Who has no key."""
        if "nobody" not in self._clients:
            self._clients["nobody"] = await self._api.client()
        return self._clients["nobody"]

    async def _bad_key(self, kind: str) -> str:
        soon = datetime.now(UTC) + timedelta(milliseconds=50) if kind == "expired" else None
        keys = self._api.keys
        new = await keys.create(name=kind, scopes=["admin"], shares_name=True, expires_at=soon)
        while soon and datetime.now(UTC) < soon:
            pass
        if kind == "revoked":
            await keys.revoke(new.key.id)
        if kind == "unknown":
            return new_key("x", ["admin"]).secret
        return new.secret[:-1] + ("0" if new.secret[-1] != "0" else "1") if kind == "wrong" else new.secret


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def callers(shared_api: Api) -> Callers:
    return Callers(shared_api)


@pytest.mark.parametrize("role", ALLOWED)
@pytest.mark.parametrize(("method", "path"), CLOSED)
async def test_a_role_opens_its_routes_and_no_others(
    callers: Callers, method: str, path: str, role: str
) -> None:
    word, limited, _ = role.partition(" limited")
    answer = await _status(await callers.with_key(word, ["churn"] if limited else None), method, path)
    if NEEDS[method, path] in ALLOWED[role]:
        assert answer.status_code not in {401, 403}
        assert answer.status_code < 500
    else:
        error_of(answer, 403, "MissingScope")


@pytest.mark.parametrize("kind", ["wrong", "unknown", "expired", "revoked"])
@pytest.mark.parametrize(("method", "path"), CLOSED)
async def test_a_key_that_is_not_good_any_more_opens_nothing(
    callers: Callers, method: str, path: str, kind: str
) -> None:
    error_of(await _status(await callers.with_bad_key(kind), method, path), 401, "NotAuthenticated")


LEGAL = st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f")
HEADERS = st.one_of(
    st.text(LEGAL, max_size=200),
    st.builds(
        str.__add__,
        st.sampled_from(["Bearer ", "bearer", "Basic ", "BEARER  ", "Bearer\t", "Bearer rt_"]),
        st.one_of(st.text(LEGAL, max_size=90), st.text("0123456789abcdef_.-", max_size=90)),
    ),
)


@settings(max_examples=100, deadline=None)
@given(header=HEADERS, name=st.sampled_from(["Authorization", "X-API-Key"]))
async def test_whatever_comes_in_the_headers_is_refused_and_never_crashes(
    callers: Callers, header: str, name: str
) -> None:
    answer = await (await callers.nobody()).get(
        "/api/retraining", headers=[(name.encode(), header.strip().encode("latin-1"))]
    )
    error_of(answer, 401, "NotAuthenticated")


@pytest.mark.parametrize(("method", "path"), CLOSED)
async def test_without_a_key_nothing_but_health_and_readiness_answers(
    callers: Callers, method: str, path: str
) -> None:
    answer = await _status(await callers.nobody(), method, path)
    refused = error_of(answer, 401, "NotAuthenticated")
    assert "no API key" in refused["message"]
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize(("method", "path"), CLOSED)
async def test_a_scope_opens_its_own_routes_and_admin_all(
    callers: Callers, method: str, path: str, scope: Scope
) -> None:
    answer = await _status(await callers.with_key(scope), method, path)
    needed = NEEDS[method, path]
    if scope in {needed, Scope.ADMIN} or (needed, scope) == (Scope.CANCEL, Scope.CANCEL_ANY):
        assert answer.status_code not in {401, 403}
    else:
        refused = error_of(answer, 403, "MissingScope")
        assert refused["message"].startswith(f"'ci' lacks the scope '{needed}'")


async def test_health_and_readiness_need_no_key(shared_api: Api) -> None:
    client = await shared_api.client()
    assert (await client.get("/health")).json() == {"status": "alive"}
    assert (await client.get("/ready")).json()["status"] == "ready"
    assert (await client.head("/health")).status_code == 200


@pytest.mark.parametrize("form", ["Authorization: Bearer {}", "Authorization: bearer {}", "X-API-Key: {}"])
async def test_a_key_comes_in_either_header(shared_api: Api, form: str) -> None:
    new = await shared_api.keys.create(name="ci", shares_name=True, scopes=["read"])
    header, _, value = form.format(new.secret).partition(": ")
    client = await shared_api.client()
    assert (await client.get("/api/retraining", headers={header: value})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {new_key('x', ['admin']).secret}"},
        {"Authorization": "Bearer x"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic YWRtaW46YWRtaW4="},
        {"X-API-Key": "rt_"},
        {"X-API-Key": "\u00fc".encode("latin-1")},
        {"X-API-Key": "x" * 10_000},
    ],
)
async def test_a_wrong_key_is_refused(shared_api: Api, headers: dict[str, str]) -> None:
    client = await shared_api.client()
    error_of(await client.get("/api/retraining", headers=headers), 401, "NotAuthenticated")


async def test_an_expired_key_is_refused(shared_api: Api) -> None:
    expires_at = datetime.now(UTC) + timedelta(milliseconds=20)
    new = await shared_api.keys.create(name="ci", shares_name=True, scopes=["read"], expires_at=expires_at)
    client = await shared_api.client()
    while datetime.now(UTC) < expires_at:
        pass
    answer = await client.get("/api/retraining", headers={"X-API-Key": new.secret})
    assert "expired" in error_of(answer, 401, "NotAuthenticated")["message"]


async def test_a_key_that_another_process_revokes_stops_working_within_five_seconds(shared_api: Api) -> None:
    new = await shared_api.keys.create(name="ci", shares_name=True, scopes=["read"])
    client = await shared_api.client(**{"X-API-Key": new.secret})
    assert (await client.get("/api/retraining")).status_code == 200
    await shared_api.keys.revoke(new.key.id)
    until = datetime.now(UTC) + timedelta(seconds=5)
    while (await client.get("/api/retraining")).status_code != 401:
        assert datetime.now(UTC) < until


@pytest.mark.parametrize("body", [b"{nope", b" " * 3_000_000, b"{}"])
async def test_who_is_calling_is_asked_before_what_was_sent(shared_api: Api, body: bytes) -> None:
    anonymous, reader = await shared_api.client(), await shared_api.client("read")
    for path in ("/api/retraining", "/api/retraining/models/churn/rollback"):
        error_of(await anonymous.post(path, content=body), 401, "NotAuthenticated")
    status = {b"{": 400, b" ": 413}.get(body[:1] if len(body) > 2 else b"")
    answer = await reader.post("/api/retraining", content=body)
    assert answer.status_code == (status or 403)


async def test_an_answer_never_holds_the_key(shared_api: Api) -> None:
    new = await shared_api.keys.create(name="ci", shares_name=True, scopes=["read"])
    client = await shared_api.client(**{"X-API-Key": new.secret})
    for path in ("/api/retraining", "/nope", "/api/retraining/models/churn/rollback"):
        answer = await client.get(path)
        assert new.secret not in answer.text + str(answer.headers)
