"""A key that is limited to models: what concerns others does not exist for it."""

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api.answers import error_of
from tests.api.conftest import Api

JOBS = "/api/retraining"
DRIFT = {"trigger_type": "drift", "trigger_condition": {"check_every": "1d"}}
OURS, THEIRS = "churn", "profitability"


class Limited:
    """Two models' jobs and triggers, and who may see one of them."""

    def __init__(self, client: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
        self.client = client
        self.admin = admin
        self.jobs: dict[str, str] = {}
        self.triggers: dict[str, str] = {}


@pytest.fixture
async def limited(api: Api) -> Limited:
    admin = await api.client("admin", name="ada")
    scopes = ["read", "trigger", "promote", "cancel-any"]
    new = await api.keys.create(name="limited", scopes=scopes, models=[OURS])
    limited = Limited(await api.client(Authorization=f"Bearer {new.secret}"), admin)
    for name in (OURS, THEIRS):
        job = await admin.post(JOBS, json={"model_name": name})
        trigger = await admin.post(f"{JOBS}/triggers", json={"model_name": name, **DRIFT})
        assert trigger.status_code == 201, trigger.text
        limited.jobs[name], limited.triggers[name] = job.json()["job_id"], trigger.json()["id"]
    return limited


async def test_lists_hold_their_models_alone_whatever_is_asked_for(limited: Limited) -> None:
    for query in ({}, {"limit": 1}, {"offset": 0}, {"status": "pending"}, {"trigger_type": "manual"}):
        jobs = (await limited.client.get(JOBS, params=query)).json()
        assert [job["id"] for job in jobs] == [limited.jobs[OURS]], query
    page = await limited.client.get(JOBS, params={"limit": 1})
    assert "Link" not in page.headers
    triggers = (await limited.client.get(f"{JOBS}/triggers")).json()
    assert [trigger["id"] for trigger in triggers] == [limited.triggers[OURS]]
    models = (await limited.client.get(f"{JOBS}/models")).json()
    assert [model["name"] for model in models] == [OURS]
    for path in (JOBS, f"{JOBS}/triggers"):
        for name in (THEIRS, "nobody"):
            assert (await limited.client.get(path, params={"model_name": name})).json() == []
    assert len((await limited.admin.get(JOBS)).json()) == 2


async def test_their_own_models_are_as_for_everybody(limited: Limited) -> None:
    job, trigger = limited.jobs[OURS], limited.triggers[OURS]
    for path in (
        f"{JOBS}/{job}",
        f"{JOBS}/{job}/logs",
        f"{JOBS}/triggers/{trigger}",
        f"{JOBS}/triggers/{trigger}/evaluations",
        f"{JOBS}/models/{OURS}",
        f"{JOBS}/models/{OURS}/versions",
        f"{JOBS}/models/{OURS}/promotions",
    ):
        assert (await limited.client.get(path)).status_code == 200, path
    assert (await limited.client.post(JOBS, json={"model_name": OURS})).status_code == 202
    fired = await limited.client.post(f"{JOBS}/triggers/{trigger}/fire", json={"reason": "ours"})
    assert fired.status_code == 202
    assert (await limited.client.delete(f"{JOBS}/{job}")).status_code == 200


def _same(answer: httpx.Response, name: str) -> dict[str, Any]:
    """An error without what names the request itself."""
    body = answer.json()
    body.pop("correlation_id")
    return {key: value.replace(name, "?") if isinstance(value, str) else value for key, value in body.items()}


async def test_others_answer_like_what_nobody_has(limited: Limited) -> None:
    """Word for word: neither an id nor a message tells a hidden thing from none."""
    nobody = str(uuid4())
    asked = [
        *(("GET", f"{JOBS}/{{}}{rest}", None, "job") for rest in ("", "/logs", "/events")),
        ("DELETE", f"{JOBS}/{{}}", None, "job"),
        ("GET", f"{JOBS}/triggers/{{}}", None, "trigger"),
        ("GET", f"{JOBS}/triggers/{{}}/evaluations", None, "trigger"),
        ("PATCH", f"{JOBS}/triggers/{{}}", {"enabled": False}, "trigger"),
        ("DELETE", f"{JOBS}/triggers/{{}}", None, "trigger"),
        ("POST", f"{JOBS}/triggers/{{}}/check", None, "trigger"),
        ("POST", f"{JOBS}/triggers/{{}}/fire", None, "trigger"),
        *(("GET", f"{JOBS}/models/{{}}{rest}", None, "model") for rest in ("", "/versions", "/promotions")),
        ("POST", f"{JOBS}/models/{{}}/rollback", None, "model"),
        ("POST", f"{JOBS}/models/{{}}/versions/1/promote", None, "model"),
    ]
    hidden = {"job": limited.jobs[THEIRS], "trigger": limited.triggers[THEIRS], "model": THEIRS}
    for method, path, body, kind in asked:
        none = "nobody" if kind == "model" else nobody
        theirs = await limited.client.request(method, path.format(hidden[kind]), json=body)
        missing = await limited.client.request(method, path.format(none), json=body)
        assert theirs.status_code == 404, (method, path, theirs.text)
        assert _same(theirs, hidden[kind]) == _same(missing, none), (method, path)
    for path, wanted in ((JOBS, {}), (f"{JOBS}/triggers", DRIFT)):
        answers = [
            await limited.client.post(path, json={"model_name": name, **wanted})
            for name in (THEIRS, "nobody")
        ]
        assert _same(answers[0], THEIRS) == _same(answers[1], "nobody")
        assert error_of(answers[0], 404, "UnknownModel")["message"].split("; ")[1] == "known models: churn"
    still = (await limited.admin.get(f"{JOBS}/triggers/{limited.triggers[THEIRS]}")).json()
    assert still["enabled"]


async def test_live_events_are_of_their_models_alone(limited: Limited) -> None:
    seen = []
    async with limited.client.stream("GET", f"{JOBS}/events", headers={"Last-Event-ID": "0"}) as answer:
        assert (await limited.admin.post(JOBS, json={"model_name": THEIRS})).status_code == 202
        last = (await limited.admin.post(JOBS, json={"model_name": OURS})).json()["job_id"]
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                seen.append(json.loads(line.removeprefix("data: ")))
                if seen[-1]["job_id"] == last:
                    break
    assert {event["model_name"] for event in seen} == {OURS}
    assert {event["job_id"] for event in seen} == {limited.jobs[OURS], last}


async def test_nobody_limited_reads_keys_or_the_audit_log(limited: Limited) -> None:
    for path in (f"{JOBS}/keys", f"{JOBS}/audit"):
        error_of(await limited.client.get(path), 403, "MissingScope")


async def test_an_attempt_is_in_the_audit_log(api: Api, limited: Limited) -> None:
    await limited.client.get(f"{JOBS}/{limited.jobs[THEIRS]}")
    query = {"outcome": "refused", "actor": "limited"}
    while not (entries := (await limited.admin.get(f"{JOBS}/audit", params=query)).json()):
        pass
    assert entries[0]["details"]["reason"] == "it concerns another model than the caller's"
    assert entries[0]["target"] == "operation get_retraining_job"
