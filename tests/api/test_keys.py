"""API keys over REST."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.api.answers import error_of
from tests.api.conftest import Api

KEYS = "/api/retraining/keys"


async def test_a_key_is_made_used_listed_and_revoked(api: Api, admin: httpx.AsyncClient) -> None:
    """The secret is in the answer that makes it, and in no other."""
    expires = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    wanted = {"name": "nightly", "role": "operator", "scopes": ["promote"], "models": ["churn"]}
    made = await admin.post(KEYS, json={**wanted, "expires_at": expires})
    assert made.status_code == 201, made.text
    assert made.headers["Cache-Control"] == "no-store"
    key = made.json()
    secret = key.pop("secret")
    assert secret.startswith(f"rt_{key['id']}_")
    assert key["scopes"] == ["cancel-any", "promote", "read", "trigger"]
    assert key["models"] == ["churn"]
    client = await api.client(Authorization=f"Bearer {secret}")
    assert (await client.get("/api/retraining")).status_code == 200
    listed = await admin.get(KEYS)
    assert [one["name"] for one in listed.json()] == ["nightly", "ada"]
    assert secret not in listed.text
    revoked = await admin.delete(f"{KEYS}/{key['id']}")
    assert revoked.json() == {"message": f"key {key['id']} (nightly) is revoked"}
    error_of(await client.get("/api/retraining"), 401, "NotAuthenticated")
    assert (await admin.delete(f"{KEYS}/{key['id']}")).status_code == 200


@pytest.mark.parametrize(
    ("wanted", "status", "error"),
    [
        ({"name": "ci"}, 422, "InvalidRequest"),
        ({"name": "ci", "role": "root"}, 422, "ValidationError"),
        ({"name": "ci", "scopes": ["everything"]}, 422, "ValidationError"),
        ({"name": "ci", "role": "viewer", "models": []}, 422, "InvalidRequest"),
        ({"name": "ci", "role": "viewer", "models": ["No Name"]}, 422, "ValidationError"),
        ({"name": "ci", "role": "admin", "models": ["churn"]}, 422, "InvalidRequest"),
        ({"name": "ci", "role": "viewer", "expires_at": "2001-01-01T00:00:00Z"}, 422, "InvalidRequest"),
        ({"name": "ci", "role": "viewer", "expires_at": "2099-01-01T00:00:00"}, 422, "ValidationError"),
        ({"name": "oidc:ada", "role": "viewer"}, 422, "InvalidRequest"),
        ({"name": " ", "role": "viewer"}, 422, "InvalidRequest"),
        ({"name": "a\x00", "role": "viewer"}, 422, "ValidationError"),
        ({"name": "ada", "role": "viewer"}, 409, "KeyNameTaken"),
    ],
    ids=str,
)
async def test_a_key_that_means_nothing_is_refused(
    admin: httpx.AsyncClient, wanted: dict[str, Any], status: int, error: str
) -> None:
    error_of(await admin.post(KEYS, json=wanted), status, error)
    assert len((await admin.get(KEYS)).json()) == 1


async def test_the_last_administrator_is_warned(api: Api, admin: httpx.AsyncClient) -> None:
    [own] = (await admin.get(KEYS)).json()
    second = (await admin.post(KEYS, json={"name": "second", "role": "admin"})).json()
    assert "no administrator" not in (await admin.delete(f"{KEYS}/{second['id']}")).json()["message"]
    message = (await admin.delete(f"{KEYS}/{own['id']}")).json()["message"]
    assert "no administrator's key can be used any more; make one on the server" in message


@pytest.mark.parametrize("key_id", ["0" * 12, "nobody", "rt_000000000000", "0" * 300])
async def test_a_key_that_does_not_exist_is_not_found(admin: httpx.AsyncClient, key_id: str) -> None:
    error_of(await admin.delete(f"{KEYS}/{key_id}"), 404, "KeyNotFound")


async def test_a_secret_in_the_wrong_place_is_not_repeated(api: Api, admin: httpx.AsyncClient) -> None:
    new = await api.keys.create(name="ci", scopes=["read"])
    answer = await admin.delete(f"{KEYS}/{new.secret}")
    assert new.secret[16:] not in answer.text


async def test_pages_of_keys_follow_the_link(admin: httpx.AsyncClient) -> None:
    for number in range(3):
        await admin.post(KEYS, json={"name": f"k{number}", "role": "viewer"})
    first = await admin.get(KEYS, params={"limit": 3})
    second = await admin.get(first.links["next"]["url"])
    assert [key["name"] for key in (*first.json(), *second.json())] == ["k2", "k1", "k0", "ada"]
    assert "Link" not in second.headers
