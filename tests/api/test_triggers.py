"""The routes of triggers."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from retraining.jobs.job import TriggerType
from retraining.triggers.cause import Cause
from retraining.triggers.condition import parse_condition
from retraining.triggers.evaluation import Action, Evaluation, Outcome
from tests.api.answers import error_of
from tests.api.conftest import Api
from tests.api.waiting import until

TRIGGERS = "/api/retraining/triggers"
CONDITIONS: dict[str, dict[str, Any]] = {
    "scheduled": {"cron": "30 2 * * *", "timezone": "Europe/Berlin"},
    "drift": {"window": "30d", "check_every": "12h", "patience": 2, "cooldown": "7d", "columns": ["orders"]},
    "performance": {"metric": "roc_auc", "max_drop": 0.1, "min_labels": 50},
}


async def create(
    client: httpx.AsyncClient, kind: str = "drift", model: str = "churn", **condition: object
) -> dict[str, Any]:
    wanted = {"model_name": model, "trigger_type": kind, "trigger_condition": condition or CONDITIONS[kind]}
    answer = await client.post(TRIGGERS, json=wanted)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def evaluation_of(trigger: dict[str, Any], **changed: Any) -> Evaluation:
    """What the monitor keeps of a check that breached."""
    at = datetime.now(UTC)
    facts: dict[str, Any] = {
        "id": uuid4(),
        "trigger_id": UUID(trigger["id"]),
        "model_name": trigger["model_name"],
        "trigger_type": trigger["trigger_type"],
        "source": "schedule",
        "at": at,
        "as_of": at,
        "outcome": Outcome.BREACHED,
        "reason": "1 of 1 columns drifted: orders",
        "score": 1.0,
        "threshold": 0.5,
        "patience": 2,
        "patience_count": 1,
        "in_cooldown": False,
        "action": Action.HELD_BY_PATIENCE,
    }
    return Evaluation.model_validate({**facts, **changed})


@pytest.mark.parametrize("kind", CONDITIONS)
async def test_a_trigger_is_created_shown_and_held_by_prefect(
    api: Api, admin: httpx.AsyncClient, kind: str
) -> None:
    wanted = {"model_name": "churn", "trigger_type": kind, "trigger_condition": CONDITIONS[kind]}
    answer = await admin.post(TRIGGERS, json=wanted)
    made = answer.json()
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"{TRIGGERS}/{made['id']}"
    assert list(made)[:5] == ["id", "model_name", "trigger_type", "trigger_condition", "enabled"]
    assert (made["model_name"], made["trigger_type"], made["enabled"]) == ("churn", kind, True)
    assert made["trigger_condition"].items() >= CONDITIONS[kind].items()
    assert (made["created_by"], made["origin"]) == ("ada", "api")
    assert made["created_at"] == made["updated_at"]
    assert len(made["next_runs"]) == 5
    assert (await admin.get(answer.headers["Location"])).json() == made
    order = api.triggers.orders[UUID(made["id"])]
    assert (order.model_name, order.enabled) == ("churn", True)
    assert order.condition == parse_condition(TriggerType(kind), CONDITIONS[kind])


async def test_the_next_runs_are_in_the_schedules_own_time_zone(admin: httpx.AsyncClient) -> None:
    made = await create(admin, "scheduled", cron="30 2 * * *", timezone="Asia/Kolkata")
    due = [datetime.fromisoformat(text) for text in made["next_runs"]]
    assert {(moment.hour, moment.minute) for moment in due} == {(21, 0)}
    assert {later - sooner for sooner, later in pairwise(due)} == {timedelta(days=1)}


async def test_a_trigger_may_begin_disabled_and_is_due_at_no_time(api: Api, admin: httpx.AsyncClient) -> None:
    wanted = {"model_name": "churn", "trigger_type": "drift", "trigger_condition": {}, "enabled": False}
    made = (await admin.post(TRIGGERS, json=wanted)).json()
    assert (made["enabled"], made["next_runs"]) == (False, [])
    assert api.triggers.automations == {UUID(made["id"]): False}


async def test_triggers_are_listed_newest_first_by_model_and_type(admin: httpx.AsyncClient) -> None:
    first = (await create(admin, "drift"))["id"]
    second = (await create(admin, "scheduled", "profitability"))["id"]
    third = (await create(admin, "scheduled"))["id"]

    async def listed(**query: str | int) -> list[str]:
        return [one["id"] for one in (await admin.get(TRIGGERS, params=query)).json()]

    assert await listed() == [third, second, first]
    assert await listed(model_name="churn") == [third, first]
    assert await listed(trigger_type="scheduled") == [third, second]
    assert await listed(model_name="churn", trigger_type="scheduled") == [third]
    assert await listed(trigger_type="performance") == []
    assert await listed(limit=1, offset=1) == [second]
    assert await listed(limit=1_000) == [third, second, first]


async def test_pages_are_linked_by_cursor(admin: httpx.AsyncClient) -> None:
    made = [(await create(admin))["id"] for _ in range(5)]
    await create(admin, "scheduled", "profitability")
    answer = await admin.get(TRIGGERS, params={"limit": 2, "model_name": "churn"})
    found = [one["id"] for one in answer.json()]
    while "next" in answer.links:
        answer = await admin.get(answer.links["next"]["url"])
        assert answer.status_code == 200, answer.text
        found += [one["id"] for one in answer.json()]
    assert found == made[::-1]


async def test_a_trigger_is_switched_off_and_on_and_keeps_its_condition(
    api: Api, admin: httpx.AsyncClient
) -> None:
    made = await create(admin, "scheduled")
    off = (await admin.patch(f"{TRIGGERS}/{made['id']}", json={"enabled": False})).json()
    assert (off["enabled"], off["next_runs"]) == (False, [])
    assert off["trigger_condition"] == made["trigger_condition"]
    assert not api.triggers.orders[UUID(made["id"])].enabled
    on = (await admin.patch(f"{TRIGGERS}/{made['id']}", json={"enabled": True})).json()
    assert (on["enabled"], on["next_runs"]) == (True, made["next_runs"])


async def test_a_condition_is_changed_whole(api: Api, admin: httpx.AsyncClient) -> None:
    made = await create(admin)
    change = {"trigger_condition": {"patience": 3}}
    answer = await admin.patch(f"{TRIGGERS}/{made['id']}", json=change)
    assert answer.status_code == 200, answer.text
    changed = answer.json()
    assert changed["trigger_condition"]["patience"] == 3
    assert changed["trigger_condition"]["window"] is None
    assert changed["id"] == made["id"]
    assert changed["updated_at"] > made["updated_at"]
    order = api.triggers.orders[UUID(made["id"])]
    assert order.condition == parse_condition(TriggerType.DRIFT, {"patience": 3})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"trigger_condition": {"patience": 0}}, "trigger_condition.patience"),
        ({"trigger_condition": {"cron": "* * * * *"}}, "trigger_condition.cron"),
        ({"trigger_condition": {"columns": ["age"]}}, "trigger_condition.columns"),
        ({"trigger_type": "scheduled"}, "trigger_type"),
        ({"enabled": "no"}, "enabled"),
        ({"enabled": 0}, "enabled"),
        ({"trigger_condition": []}, "trigger_condition"),
    ],
)
async def test_a_refused_change_names_the_field_and_changes_nothing(
    admin: httpx.AsyncClient, change: dict[str, Any], field: str
) -> None:
    made = await create(admin)
    answer = await admin.patch(f"{TRIGGERS}/{made['id']}", json=change)
    error = "InvalidCondition" if "." in field else "ValidationError"
    assert [detail["field"] for detail in error_of(answer, 422, error)["details"]] == [field]
    assert (await admin.get(f"{TRIGGERS}/{made['id']}")).json() == made


async def test_a_deleted_trigger_is_gone_and_its_history_stays(api: Api, admin: httpx.AsyncClient) -> None:
    made = await create(admin)
    path = f"{TRIGGERS}/{made['id']}"
    await api.triggers.keep_evaluation(evaluation_of(made))
    await until(lambda: _count(admin, f"{path}/evaluations"), 1)
    answer = await admin.delete(path)
    assert answer.json() == {"message": f"trigger {made['id']} is deleted; jobs that are running go on"}
    assert api.triggers.schedules == {}
    assert api.triggers.automations == {}
    for again in (await admin.get(path), await admin.delete(path), await admin.patch(path, json={})):
        assert made["id"] in error_of(again, 404, "TriggerNotFound")["message"]
    assert (await admin.get(TRIGGERS)).json() == []
    assert await _count(admin, f"{path}/evaluations") == 1


async def test_a_report_is_linked_where_mlflow_is_today(api: Api, admin: httpx.AsyncClient) -> None:
    made = await create(admin)
    path = f"{TRIGGERS}/{made['id']}/evaluations"
    kept = "http://127.0.0.1:5000/#/experiments/2/runs/0f5c/artifacts/report.html"
    await api.triggers.keep_evaluation(evaluation_of(made, report_url=kept))
    await until(lambda: _count(admin, path), 1)
    [shown] = (await admin.get(path)).json()
    assert shown["report_url"] == "http://mlflow.test/#/experiments/2/runs/0f5c/artifacts/report.html"


async def test_the_report_of_a_breach_is_linked_from_its_job(api: Api, admin: httpx.AsyncClient) -> None:
    made = await create(admin)
    breach = evaluation_of(made, report_url="http://127.0.0.1:5000/#/experiments/2/runs/0f5c")
    await api.triggers.keep_evaluation(breach)
    await until(lambda: _count(admin, f"{TRIGGERS}/{made['id']}/evaluations"), 1)
    cause = Cause(type=TriggerType.DRIFT, trigger_id=UUID(made["id"]), evaluation_id=breach.id)
    run = api.prefect.trigger(made["model_name"], cause)
    await until(lambda: _count(admin, "/api/retraining"), 1)
    [shown] = (await admin.get(f"/api/retraining/{run.id}")).json()["causes"]
    assert shown["report_url"] == "http://mlflow.test/#/experiments/2/runs/0f5c"


async def test_evaluations_are_listed_newest_first_with_all_that_was_found(
    api: Api, admin: httpx.AsyncClient
) -> None:
    made = await create(admin)
    path = f"{TRIGGERS}/{made['id']}/evaluations"
    assert (await admin.get(path)).json() == []
    start = datetime(2026, 5, 4, tzinfo=UTC)
    kept = [evaluation_of(made, at=start + timedelta(hours=hour)) for hour in range(5)]
    for one in kept:
        await api.triggers.keep_evaluation(one)
    await until(lambda: _count(admin, path), 5)
    answer = await admin.get(path, params={"limit": 2})
    shown = answer.json()
    assert shown[0]["reason"] == "1 of 1 columns drifted: orders"
    assert (shown[0]["action"], shown[0]["patience_count"], shown[0]["patience"]) == (
        "held_by_patience",
        1,
        2,
    )
    assert shown[0]["job_id"] is None
    while "next" in answer.links:
        answer = await admin.get(answer.links["next"]["url"])
        assert answer.status_code == 200, answer.text
        shown += answer.json()
    assert [one["id"] for one in shown] == [str(one.id) for one in reversed(kept)]


async def test_a_check_is_accepted_with_its_links(api: Api, admin: httpx.AsyncClient) -> None:
    made = await create(admin)
    path = f"{TRIGGERS}/{made['id']}"
    answer = await admin.post(
        f"{path}/check",
        json={"as_of": "1998-04-01", "report": True},
        headers={"X-Correlation-ID": "req-7"},
    )
    assert answer.status_code == 202, answer.text
    [check] = api.triggers.checks
    assert answer.json() == {
        "check_id": str(check.run_id),
        "message": f"check of trigger {made['id']} accepted",
        "links": {
            "trigger": path,
            "evaluations": f"{path}/evaluations",
            "prefect": f"http://prefect.test/runs/flow-run/{check.run_id}",
        },
    }
    assert (check.as_of, check.report) == (datetime(1998, 4, 1, tzinfo=UTC), True)
    assert (check.by, check.correlation_id) == ("ada", "req-7")
    assert str(check.order.trigger_id) == made["id"]


@pytest.mark.parametrize("body", [b"", b"{}", b"null"])
async def test_a_check_needs_no_body(api: Api, admin: httpx.AsyncClient, body: bytes) -> None:
    made = await create(admin, "performance")
    answer = await admin.post(f"{TRIGGERS}/{made['id']}/check", content=body)
    assert answer.status_code == 202, answer.text
    [check] = api.triggers.checks
    assert (check.as_of, check.report) == (None, False)


async def test_a_disabled_trigger_is_checked_by_hand(api: Api, admin: httpx.AsyncClient) -> None:
    made = await create(admin)
    await admin.patch(f"{TRIGGERS}/{made['id']}", json={"enabled": False})
    assert (await admin.post(f"{TRIGGERS}/{made['id']}/check")).status_code == 202
    assert len(api.triggers.checks) == 1


async def test_a_schedule_has_nothing_to_check_or_breach(api: Api, admin: httpx.AsyncClient) -> None:
    made = await create(admin, "scheduled")
    for order in ("check", "fire"):
        refused = error_of(await admin.post(f"{TRIGGERS}/{made['id']}/{order}"), 409, "NothingToCheck")
        assert "POST /api/retraining" in refused["message"]
    assert not api.triggers.checks
    assert not api.triggers.breaches


@pytest.mark.parametrize(
    ("order", "body", "field"),
    [
        ("check", {"as_of": "soon"}, "as_of"),
        ("check", {"as_of": 7}, "as_of"),
        ("check", {"report": "yes"}, "report"),
        ("check", {"asof": None}, "asof"),
        ("fire", {"reason": "x" * 501}, "reason"),
        ("fire", {"reason": "\x00"}, "reason"),
        ("fire", {"scores": {"psi": "high"}}, "scores.psi"),
        ("fire", {"scores": {str(number): number for number in range(51)}}, "scores"),
        ("fire", {"payload": {"log": "x" * 17_000}}, "payload"),
        ("fire", {"at": "0001-01-01"}, "at"),
        ("fire", {"why": "because"}, "why"),
    ],
)
async def test_a_refused_order_names_the_field(
    api: Api, admin: httpx.AsyncClient, order: str, body: dict[str, Any], field: str
) -> None:
    made = await create(admin)
    refused = error_of(
        await admin.post(f"{TRIGGERS}/{made['id']}/{order}", json=body), 422, "ValidationError"
    )
    assert [detail["field"] for detail in refused["details"]] == [field]
    assert not api.triggers.checks
    assert not api.triggers.breaches


async def test_a_reported_breach_fires_through_patience_and_cooldown(
    api: Api, admin: httpx.AsyncClient
) -> None:
    made = await create(admin, patience=2, cooldown="1d")
    path = f"{TRIGGERS}/{made['id']}"
    signal = {"reason": "rejections doubled", "scores": {"share": 0.4}, "payload": {"alert": [1, "x"]}}
    actions = []
    for _ in range(4):
        answer = await admin.post(f"{path}/fire", json=signal)
        assert answer.status_code == 202, answer.text
        actions.append(answer.json()["action"])
    assert actions == ["held_by_patience", "fired", "held_by_patience", "held_by_cooldown"]
    shown = (await admin.get(f"{path}/evaluations")).json()
    assert [one["action"] for one in shown] == actions[::-1]
    assert (shown[0]["source"], shown[0]["by"], shown[0]["payload"]) == ("external", "ada", signal["payload"])
    [breach] = api.triggers.breaches
    assert str(breach.id) == shown[2]["id"]


@pytest.mark.parametrize("body", [b"", b"{}"])
async def test_a_breach_is_reported_without_a_word(api: Api, admin: httpx.AsyncClient, body: bytes) -> None:
    made = await create(admin, "performance")
    answer = await admin.post(f"{TRIGGERS}/{made['id']}/fire", content=body)
    assert answer.status_code == 202, answer.text
    assert answer.json()["reason"] == "breach reported by an external monitor"
    assert len(api.triggers.breaches) == 1


async def test_the_same_idempotency_key_reports_one_breach(api: Api, admin: httpx.AsyncClient) -> None:
    made = await create(admin, patience=1)
    path = f"{TRIGGERS}/{made['id']}"
    key = {"Idempotency-Key": "alert-7"}
    first = await admin.post(f"{path}/fire", json={"reason": "rejections doubled"}, headers=key)
    again = await admin.post(f"{path}/fire", json={"reason": "rejections doubled"}, headers=key)
    assert again.status_code == 202
    assert again.json() == first.json()
    assert len(api.triggers.breaches) == 1
    assert await _count(admin, f"{path}/evaluations") == 1
    other = await admin.post(f"{path}/fire", json={"reason": "something else"}, headers=key)
    assert "alert-7" in error_of(other, 422, "IdempotencyKeyReused")["message"]


@pytest.mark.parametrize("trigger_id", [str(UUID(int=4)), "nonsense", "7", "%00"])
@pytest.mark.parametrize(
    ("method", "suffix"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/check"),
        ("POST", "/fire"),
        ("GET", "/evaluations"),
    ],
)
async def test_an_unknown_trigger_is_not_found(
    admin: httpx.AsyncClient, method: str, suffix: str, trigger_id: str
) -> None:
    body = {"enabled": True} if method == "PATCH" else None
    answer = await admin.request(method, f"{TRIGGERS}/{trigger_id}{suffix}", json=body)
    error_of(answer, 404, "TriggerNotFound")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "", "GET, POST"),
        ("PATCH", "", "GET, POST"),
        ("POST", f"/{UUID(int=4)}", "DELETE, GET, PATCH"),
        ("GET", f"/{UUID(int=4)}/check", "POST"),
        ("DELETE", f"/{UUID(int=4)}/evaluations", "GET"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(
    admin: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await admin.request(method, f"{TRIGGERS}{path}")
    error_of(answer, 405, "MethodNotAllowed")
    assert answer.headers["Allow"] == allowed


async def test_a_creation_that_prefect_fails_leaves_nothing_on_either_side(
    api: Api, admin: httpx.AsyncClient
) -> None:
    wanted = {"model_name": "churn", "trigger_type": "drift", "trigger_condition": {}}
    api.triggers.break_put()
    error_of(await admin.post(TRIGGERS, json=wanted), 503, "OrchestratorUnavailable")
    assert api.triggers.schedules == {}
    assert (await admin.get(TRIGGERS)).json() == []
    api.triggers.go_down()
    error_of(await admin.post(TRIGGERS, json=wanted), 503, "OrchestratorUnavailable")
    assert (await admin.get(TRIGGERS)).json() == []
    api.triggers.come_back()
    assert len((await create(admin))["id"]) == 36


async def test_with_prefect_down_triggers_are_still_listed(api: Api, admin: httpx.AsyncClient) -> None:
    made = await create(admin)
    api.triggers.go_down()
    path = f"{TRIGGERS}/{made['id']}"
    assert (await admin.get(TRIGGERS)).json() == [made]
    assert (await admin.get(f"{path}/evaluations")).json() == []
    error_of(await admin.post(f"{path}/check"), 503, "OrchestratorUnavailable")


async def test_a_model_without_monitor_is_told_to_be_deployed(api: Api, admin: httpx.AsyncClient) -> None:
    del api.triggers.deployed_at["monitor/churn"]
    wanted = {"model_name": "churn", "trigger_type": "drift", "trigger_condition": {}}
    refused = error_of(await admin.post(TRIGGERS, json=wanted), 503, "NotDeployed")
    assert "retraining deploy" in refused["message"]
    assert (await admin.get(TRIGGERS)).json() == []


async def test_a_schedule_made_in_prefect_is_listed_and_can_be_deleted(
    api: Api, admin: httpx.AsyncClient
) -> None:
    schedule = api.triggers.add_schedule("churn", {"rrule": "FREQ=DAILY", "timezone": "UTC"})
    await until(lambda: _count(admin, TRIGGERS), 1, seconds=10)
    [shown] = (await admin.get(TRIGGERS, params={"trigger_type": "scheduled"})).json()
    assert (shown["id"], shown["origin"], shown["created_by"]) == (
        str(schedule.schedule_id),
        "prefect",
        "prefect",
    )
    path = f"{TRIGGERS}/{shown['id']}"
    assert (await admin.patch(path, json={"enabled": False})).json()["enabled"] is False
    assert not api.triggers.schedules[schedule.schedule_id].active
    refused = await admin.patch(path, json={"trigger_condition": {"every": "1d"}})
    assert "change its times there" in error_of(refused, 422, "InvalidRequest")["message"]
    assert (await admin.delete(path)).status_code == 200
    assert api.triggers.schedules == {}


async def test_a_job_shows_its_causes(admin: httpx.AsyncClient) -> None:
    job_id = (await admin.post("/api/retraining", json={"model_name": "churn"})).json()["job_id"]
    [cause] = (await admin.get(f"/api/retraining/{job_id}")).json()["causes"]
    assert (cause["type"], cause["by"]) == ("manual", "ada")


async def _count(client: httpx.AsyncClient, path: str) -> int:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return len(json.loads(answer.text))
