"""Who may call what."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from api.app import create_app
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
    ("POST", "/api/retraining/models/{model_name}/versions/{version}/promote"): Scope.ADMIN,
    ("POST", "/api/retraining/models/{model_name}/rollback"): Scope.ADMIN,
    ("POST", "/api/retraining/triggers"): Scope.TRIGGER,
    ("GET", "/api/retraining/triggers"): Scope.READ,
    ("GET", "/api/retraining/triggers/{trigger_id}"): Scope.READ,
    ("PATCH", "/api/retraining/triggers/{trigger_id}"): Scope.TRIGGER,
    ("DELETE", "/api/retraining/triggers/{trigger_id}"): Scope.TRIGGER,
    ("POST", "/api/retraining/triggers/{trigger_id}/check"): Scope.TRIGGER,
    ("POST", "/api/retraining/triggers/{trigger_id}/fire"): Scope.TRIGGER,
    ("GET", "/api/retraining/triggers/{trigger_id}/evaluations"): Scope.READ,
}
"""Every route of the facade, and the scope that it needs."""
CLOSED = [(method, path) for (method, path), scope in NEEDS.items() if scope is not None]


async def _status(client: httpx.AsyncClient, method: str, path: str, **request: str) -> httpx.Response:
    """The answer, without reading a stream that does not end."""
    path = path.format(job_id=JOB, trigger_id=JOB, model_name="nobody", version="1")
    async with client.stream(method, path, **request) as answer:  # type: ignore[arg-type]
        if "event-stream" not in answer.headers["content-type"]:
            await answer.aread()
        return answer


async def test_every_route_is_listed_here() -> None:
    documented = {
        (method.upper(), path)
        for path, methods in create_app().openapi()["paths"].items()
        for method in methods
    }
    assert documented | {("GET", "/openapi.json")} == set(NEEDS)


@pytest.mark.parametrize(("method", "path"), CLOSED)
async def test_without_a_key_nothing_but_health_and_readiness_answers(
    shared_api: Api, method: str, path: str
) -> None:
    answer = await _status(await shared_api.client(), method, path)
    refused = error_of(answer, 401, "NotAuthenticated")
    assert "no API key" in refused["message"]
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize(("method", "path"), CLOSED)
async def test_a_scope_opens_its_own_routes_and_admin_all(
    shared_api: Api, method: str, path: str, scope: Scope
) -> None:
    answer = await _status(await shared_api.client(scope, name="ci"), method, path)
    needed = NEEDS[method, path]
    if scope in {needed, Scope.ADMIN}:
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
