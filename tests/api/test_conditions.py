"""Conditions that are refused: the field is named, nothing is made anywhere, nothing crashes."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from retraining.triggers.condition import DriftCondition, PerformanceCondition, ScheduledCondition
from tests.api.answers import error_of
from tests.api.conftest import Api

TRIGGERS = "/api/retraining/triggers"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _nothing_was_made(shared_api: Api, shared_admin: httpx.AsyncClient) -> AsyncIterator[None]:
    yield
    assert (await shared_admin.get(TRIGGERS)).json() == []
    assert shared_api.triggers.schedules == {}
    assert shared_api.triggers.automations == {}


async def refused(client: httpx.AsyncClient, kind: str, condition: Any) -> dict[str, Any]:
    wanted = {"model_name": "churn", "trigger_type": kind, "trigger_condition": condition}
    answer = await client.post(TRIGGERS, content=json.dumps(wanted))
    return error_of(answer, 422, "InvalidCondition")


@pytest.mark.parametrize(
    ("kind", "condition", "field"),
    [
        ("scheduled", {}, ""),
        ("scheduled", {"cron": "0 3 * * *", "every": "1d"}, ""),
        ("scheduled", {"cron": "0 3 * *"}, ".cron"),
        ("scheduled", {"cron": "0 3 31 2 *"}, ".cron"),
        ("scheduled", {"cron": "x" * 201}, ".cron"),
        ("scheduled", {"cron": 7}, ".cron"),
        ("scheduled", {"cron": "0 3 * * *", "timezone": "Berlin"}, ".timezone"),
        ("scheduled", {"every": "1d", "timezone": "Europe/Berlin"}, ""),
        ("scheduled", {"every": "1s"}, ".every"),
        ("scheduled", {"every": "99999d"}, ".every"),
        ("scheduled", {"every": True}, ".every"),
        ("scheduled", {"every": "1d", "missed_runs": "some"}, ".missed_runs"),
        ("scheduled", {"every": "1d", "check_every": "1d"}, ".check_every"),
        ("drift", {"check_every": "9s"}, ".check_every"),
        ("drift", {"check_every": 1e300}, ".check_every"),
        ("drift", {"window": "0s"}, ".window"),
        ("drift", {"window": "-1d"}, ".window"),
        ("drift", {"patience": 0}, ".patience"),
        ("drift", {"patience": 1.5}, ".patience"),
        ("drift", {"patience": "2"}, ".patience"),
        ("drift", {"patience": True}, ".patience"),
        ("drift", {"drift_share": "0.5"}, ".drift_share"),
        ("performance", {"estimate": 1}, ".estimate"),
        ("drift", {"patience": 2**70}, ".patience"),
        ("drift", {"cooldown": "-1d"}, ".cooldown"),
        ("drift", {"method": "magic"}, ".method"),
        ("drift", {"threshold": 0}, ".threshold"),
        ("drift", {"threshold": "lots"}, ".threshold"),
        ("drift", {"false_alarm_rate": 0.5}, ".false_alarm_rate"),
        ("drift", {"columns": []}, ".columns"),
        ("drift", {"columns": ["orders", "orders"]}, ".columns"),
        ("drift", {"columns": ["age"]}, ".columns"),
        ("drift", {"columns": "orders"}, ".columns"),
        ("drift", {"drift_share": 1.1}, ".drift_share"),
        ("drift", {"min_rows": 1}, ".min_rows"),
        ("drift", {"metric": "roc_auc"}, ".metric"),
        ("drift", {"trigger_type": "drift"}, ".trigger_type"),
        ("drift", {"\ud800": 1}, None),
        ("performance", {"threshold": 0.8, "max_drop": 0.1}, ""),
        ("performance", {"max_drop": 0}, ".max_drop"),
        ("performance", {"metric": "mae"}, ".metric"),
        ("performance", {"metric": "moon"}, ".metric"),
        ("performance", {"label_delay": "-1s"}, ".label_delay"),
        ("performance", {"min_labels": 1}, ".min_labels"),
        ("performance", {"estimate": "maybe"}, ".estimate"),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else "",
)
async def test_a_refused_condition_names_the_field(
    shared_admin: httpx.AsyncClient, kind: str, condition: Any, field: str | None
) -> None:
    body = await refused(shared_admin, kind, condition)
    if field is not None:
        assert {detail["field"] for detail in body["details"]} == {f"trigger_condition{field}"}


async def test_everything_that_is_wrong_is_named_at_once(shared_admin: httpx.AsyncClient) -> None:
    body = await refused(shared_admin, "drift", {"check_every": "1s", "patience": 0, "wndow": "30d"})
    fields = {detail["field"] for detail in body["details"]}
    assert fields == {f"trigger_condition.{name}" for name in ("check_every", "patience", "wndow")}


@pytest.mark.parametrize(
    ("body", "status", "error", "field"),
    [
        ({"trigger_type": "manual"}, 422, "InvalidCondition", "trigger_type"),
        ({"trigger_type": "moon"}, 422, "ValidationError", "trigger_type"),
        ({"model_name": "chrun"}, 404, "UnknownModel", None),
        ({"model_name": ""}, 422, "ValidationError", "model_name"),
        ({"model_name": 7}, 422, "ValidationError", "model_name"),
        ({"trigger_condition": []}, 422, "ValidationError", "trigger_condition"),
        ({"trigger_condition": None}, 422, "ValidationError", "trigger_condition"),
        ({"enabled": "yes"}, 422, "ValidationError", "enabled"),
        ({"enabled": None}, 422, "ValidationError", "enabled"),
        ({"name": "nightly"}, 422, "ValidationError", "name"),
    ],
)
async def test_a_refused_trigger_names_the_field(
    shared_admin: httpx.AsyncClient, body: dict[str, Any], status: int, error: str, field: str | None
) -> None:
    good = {"model_name": "churn", "trigger_type": "drift", "trigger_condition": {}}
    answer = error_of(await shared_admin.post(TRIGGERS, json={**good, **body}), status, error)
    if field is not None:
        assert [detail["field"] for detail in answer["details"]] == [field]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("offset=-1", "offset"),
        ("trigger_type=moon", "trigger_type"),
        ("model_name=Churn!", "model_name"),
        ("cursor=nonsense", "cursor"),
        ("enabled=true", "enabled"),
    ],
)
async def test_a_refused_query_names_the_field(
    shared_admin: httpx.AsyncClient, query: str, field: str
) -> None:
    answer = await shared_admin.get(f"{TRIGGERS}?{query}")
    error = "InvalidRequest" if field == "cursor" else "ValidationError"
    assert [detail["field"] for detail in error_of(answer, 422, error)["details"]] == [field]


_KEYS = sorted(
    {*ScheduledCondition.model_fields, *DriftCondition.model_fields, *PerformanceCondition.model_fields}
)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        ["1d", "P1D", "0 3 * * *", "auto", "latest", "UTC", "../UTC", "orders", "9" * 400 + "d"]
    )
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(["scheduled", "drift", "performance"]),
    condition=st.dictionaries(st.sampled_from(_KEYS) | st.text(max_size=4), _VALUES, max_size=4),
)
async def test_any_condition_is_taken_or_refused_and_never_crashes(
    shared_admin: httpx.AsyncClient, kind: str, condition: dict[str, Any]
) -> None:
    """What is taken is held as it is shown, and taking what is shown gives the same."""
    wanted = {"model_name": "churn", "trigger_type": kind, "trigger_condition": condition}
    answer = await shared_admin.post(TRIGGERS, content=json.dumps(wanted))
    if answer.status_code == 422:
        assert error_of(answer, 422, "InvalidCondition")["details"]
        return
    assert answer.status_code == 201, answer.text
    made = answer.json()
    try:
        assert (await shared_admin.get(f"{TRIGGERS}/{made['id']}")).json() == made
        change = {"trigger_condition": made["trigger_condition"]}
        again = await shared_admin.patch(f"{TRIGGERS}/{made['id']}", json=change)
        assert again.status_code == 200, again.text
        assert again.json()["trigger_condition"] == made["trigger_condition"]
    finally:
        assert (await shared_admin.delete(f"{TRIGGERS}/{made['id']}")).status_code == 200
