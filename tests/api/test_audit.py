"""The audit log: what requests leave in it, and who reads it."""

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.correlation import HEADER
from retraining.auth.caller import Scope
from tests.api.answers import error_of
from tests.api.conftest import Api, served

JOBS = "/api/retraining"
AUDIT = f"{JOBS}/audit"
DRIFT = {"model_name": "churn", "trigger_type": "drift", "trigger_condition": {"check_every": "1d"}}


async def entries(admin: httpx.AsyncClient, **query: str) -> list[dict[str, Any]]:
    answer = await admin.get(AUDIT, params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


async def refusals(admin: httpx.AsyncClient, number: int, **query: str) -> list[dict[str, Any]]:
    """As soon as there are so many: they are written beside the requests."""
    until = datetime.now(UTC) + timedelta(seconds=20)
    while len(found := await entries(admin, outcome="refused", **query)) < number:
        assert datetime.now(UTC) < until, found
        await asyncio.sleep(0.01)
    return found


async def test_every_action_on_jobs_and_triggers_leaves_who_did_it_to_what(
    api: Api, admin: httpx.AsyncClient
) -> None:
    ops = await api.client("operator", name="ops", **{HEADER: "req-7"})
    job = (await ops.post(JOBS, json={"model_name": "churn"})).json()["job_id"]
    await ops.delete(f"{JOBS}/{job}")
    trigger = (await ops.post(f"{JOBS}/triggers", json=DRIFT)).json()["id"]
    path = f"{JOBS}/triggers/{trigger}"
    await ops.patch(path, json={"enabled": False})
    assert (await ops.post(f"{path}/check")).status_code == 202
    assert (await ops.post(f"{path}/fire")).status_code == 202
    assert (await ops.delete(path)).status_code == 200
    found = await entries(admin, actor="ops")
    assert [(one["action"], one["outcome"], one["target"]) for one in reversed(found)] == [
        ("job.start", "asked", None),
        ("job.start", "done", f"job {job}"),
        ("job.cancel", "asked", f"job {job}"),
        ("job.cancel", "done", f"job {job}"),
        ("trigger.create", "asked", None),
        *(
            (f"trigger.{step}", outcome, f"trigger {trigger}")
            for step in ("create", "change", "check", "fire", "delete")
            for outcome in ("asked", "done")
            if (step, outcome) != ("create", "asked")
        ),
    ]
    for one in found:
        assert one["correlation_id"] == "req-7"
        assert one["address"] == "127.0.0.1"
        assert one["credential"].startswith("key ")
        assert one["outcome"] == "asked" or one["model_name"] == "churn"


async def test_promotions_and_roll_backs_are_logged_when_they_fail_too(admin: httpx.AsyncClient) -> None:
    error_of(await admin.post(f"{JOBS}/models/churn/rollback", json={"reason": "bad"}), 409, "NoChampion")
    error_of(await admin.post(f"{JOBS}/models/churn/versions/9/promote"), 404, "VersionNotFound")
    promoted, asked, rolled, *_ = await entries(admin)
    assert (promoted["action"], promoted["outcome"], promoted["target"]) == (
        "version.promote",
        "failed",
        "version 9",
    )
    assert promoted["asked_id"] == asked["id"]
    assert promoted["details"]["error"] == "VersionNotFound"
    assert (rolled["action"], rolled["outcome"], rolled["details"]["error"]) == (
        "model.roll-back",
        "failed",
        "NoChampion",
    )


async def test_keys_made_and_revoked_are_logged_without_the_secret(admin: httpx.AsyncClient) -> None:
    key = (await admin.post(f"{JOBS}/keys", json={"name": "ci", "role": "viewer"})).json()
    await admin.delete(f"{JOBS}/keys/{key['id']}")
    found = await entries(admin, target=f"key {key['id']}")
    assert [(one["action"], one["outcome"], one["actor"]) for one in found] == [
        ("key.revoke", "done", "ada"),
        ("key.create", "done", "ada"),
    ]
    assert key["secret"][16:] not in str(found)


async def test_refused_requests_are_counted_and_not_each_written(api: Api, admin: httpx.AsyncClient) -> None:
    anonymous, viewer = await api.client(), await api.client("viewer", name="eve")
    for _ in range(20):
        await anonymous.get(JOBS, headers={"X-API-Key": "guess"})
        await viewer.delete(f"{JOBS}/00000000-0000-4000-8000-000000000000")
    found = await refusals(admin, 2)
    assert {(one["action"], one["actor"], one["target"]) for one in found} == {
        ("authenticate", "", "operation list_retraining_jobs"),
        ("authorize", "eve", "operation cancel_retraining_job"),
    }
    assert len(found) == 2
    assert "guess" not in str(found)


async def test_only_administrators_read_it(api: Api) -> None:
    for scope in ("read", "trigger", "promote", "cancel-any"):
        error_of(await (await api.client(scope)).get(AUDIT), 403, "MissingScope")


async def test_pages_follow_the_link(admin: httpx.AsyncClient) -> None:
    for name in ("a", "b", "c"):
        await admin.post(f"{JOBS}/keys", json={"name": name, "role": "viewer"})
    first = await admin.get(AUDIT, params={"limit": 2, "action": "key.create"})
    second = await admin.get(first.links["next"]["url"])
    names = [one["details"]["name"] for one in (*first.json(), *second.json())]
    assert names == ["c", "b", "a", "ada"]
    assert "Link" not in second.headers


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"cursor": "forged"},
        {"since": "yesterday"},
        {"since": "2026-05-04T08:00:00"},
        {"action": "anything"},
        {"actor": "a\x00"},
        {"surplus": "1"},
    ],
    ids=str,
)
async def test_a_wrong_question_is_refused(admin: httpx.AsyncClient, query: dict[str, str]) -> None:
    assert (await admin.get(AUDIT, params=query)).status_code == 422


async def test_nothing_is_done_that_cannot_be_written_down(tmp_path: Path) -> None:
    """The promotion itself needs no database of ours."""
    async with served(tmp_path, database_busy_seconds=0.5) as api:
        admin = await api.client(Scope.ADMIN)
        path = api.settings.home / "retraining.db"
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # In a thread: the facade, which may be writing, runs in this one.
        await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
        try:
            answer = await admin.post(f"{JOBS}/models/churn/rollback")
            error_of(answer, 503, "StoreUnavailable")
        finally:
            other.rollback()
            other.close()
