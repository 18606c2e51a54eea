"""Triggers on the whole stack: REST, the command line and Prefect show and hold the same."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.cli.command import retraining
from tests.stack.running import RunningStack
from tests.stack.waiting import until

pytestmark = pytest.mark.stack

JOBS = "/api/retraining"
TRIGGERS = f"{JOBS}/triggers"
SECONDS = 120
"""A run waits for the runs of other tests."""


@pytest.fixture
def api(stack: RunningStack) -> Iterator[httpx.Client]:
    """Plain HTTP; leaves the stack without triggers and waiting jobs."""
    headers = {"Authorization": f"Bearer {stack.admin_key}"}
    with httpx.Client(base_url=stack.api_url, headers=headers, timeout=30, trust_env=False) as client:
        yield client
        for trigger in client.get(TRIGGERS).json():
            client.delete(f"{TRIGGERS}/{trigger['id']}").raise_for_status()
        for status in ("pending", "running"):
            for job in client.get(JOBS, params={"status": status}).json():
                client.delete(f"{JOBS}/{job['id']}")


def create(api: httpx.Client, kind: str, **condition: Any) -> dict[str, Any]:
    wanted = {"model_name": "churn", "trigger_type": kind, "trigger_condition": condition}
    answer = api.post(TRIGGERS, json=wanted)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def slugs(stack: RunningStack, flow: str) -> dict[str, bool]:
    """The schedules of a deployment of churn, and whether they are active."""
    deployment = stack.ask_prefect("GET", f"/deployments/name/{flow}/churn")
    return {one["slug"]: one["active"] for one in deployment["schedules"]}


def automations(stack: RunningStack) -> dict[str, bool]:
    rows = stack.ask_prefect("POST", "/automations/filter", {"limit": 200})
    return {row["name"]: row["enabled"] for row in rows if row["name"].startswith("retraining trigger ")}


def test_triggers_are_created_listed_changed_and_deleted_on_both_sides(
    stack: RunningStack, api: httpx.Client
) -> None:
    """A schedule on `retrain/churn`; of the others one on `monitor/churn`, and an automation."""
    scheduled = create(api, "scheduled", cron="30 2 * * *", timezone="Europe/Berlin")["id"]
    drift = create(api, "drift", check_every="1d", columns=["recency_days"])["id"]
    performance = create(api, "performance", check_every="1d")["id"]
    assert [one["id"] for one in api.get(TRIGGERS).json()] == [performance, drift, scheduled]
    assert [one["id"] for one in api.get(TRIGGERS, params={"trigger_type": "drift"}).json()] == [drift]
    assert slugs(stack, "retrain") == {f"trigger-{scheduled}": True}
    assert slugs(stack, "monitor") == {f"trigger-{drift}": True, f"trigger-{performance}": True}
    assert automations(stack) == {f"retraining trigger {one}": True for one in (drift, performance)}

    off = api.patch(f"{TRIGGERS}/{drift}", json={"enabled": False}).json()
    assert (off["enabled"], off["next_runs"]) == (False, [])
    assert slugs(stack, "monitor")[f"trigger-{drift}"] is False

    for one in (scheduled, drift, performance):
        message = api.delete(f"{TRIGGERS}/{one}").json()["message"]
        assert message == f"trigger {one} is deleted; jobs that are running go on"
    assert api.get(TRIGGERS).json() == []
    assert slugs(stack, "retrain") == slugs(stack, "monitor") == {}
    assert automations(stack) == {}


def test_a_check_by_hand_is_an_evaluation_with_its_reason(stack: RunningStack, api: httpx.Client) -> None:
    trigger = create(api, "drift", check_every="30d")["id"]
    started = retraining("trigger", "check", trigger, "--wait", "--home", str(stack.home))
    assert started.returncode == 0, started.stdout + started.stderr
    [found] = api.get(f"{TRIGGERS}/{trigger}/evaluations").json()
    assert found["id"] in started.stdout
    assert found["reason"] in started.stdout
    assert (found["source"], found["action"] == "fired") == ("request", found["job_id"] is not None)
    shown = retraining("trigger", "show", trigger, "--home", str(stack.home))
    assert found["reason"] in shown.stdout


def test_a_reported_breach_becomes_a_job_with_its_cause(api: httpx.Client) -> None:
    """Once, though it is reported twice."""
    trigger = create(api, "drift", check_every="30d")["id"]
    key = {"Idempotency-Key": uuid4().hex}
    signal = {"reason": "rejections doubled", "scores": {"share": 0.4}}
    fired = api.post(f"{TRIGGERS}/{trigger}/fire", json=signal, headers=key).json()
    assert fired["action"] == "fired", fired
    assert api.post(f"{TRIGGERS}/{trigger}/fire", json=signal, headers=key).json()["id"] == fired["id"]

    def caused() -> dict[str, Any] | None:
        jobs = api.get(JOBS, params={"trigger_type": "drift"}).json()
        return next((job for job in jobs if job["causes"][0]["trigger_id"] == trigger), None)

    job = until(caused, 30)
    assert job is not None
    [cause] = job["causes"]
    assert (cause["type"], cause["evaluation_id"], cause["reason"]) == (
        "drift",
        fired["id"],
        "rejections doubled",
    )
    assert cause["scores"] == {"share": 0.4}
    [evaluation] = api.get(f"{TRIGGERS}/{trigger}/evaluations").json()
    assert evaluation["job_id"] == job["id"]


def test_a_scheduled_trigger_makes_jobs_that_name_it(api: httpx.Client) -> None:
    trigger = create(api, "scheduled", every="10s")["id"]

    def caused() -> dict[str, Any] | None:
        jobs = api.get(JOBS, params={"trigger_type": "scheduled"}).json()
        return next((job for job in jobs if job["causes"][0]["trigger_id"] == trigger), None)

    job = until(caused, SECONDS)
    assert job is not None
    assert (job["model_name"], job["causes"][0]["type"]) == ("churn", "scheduled")


def test_triggers_in_a_file_are_applied_and_again_change_nothing(
    stack: RunningStack, api: httpx.Client, tmp_path: Path
) -> None:
    """What the README shows."""
    file = tmp_path / "triggers.yaml"
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    file.write_text(readme.split("```yaml\n# triggers.yaml")[1].split("```")[0].partition("\n")[2])
    arguments = ("trigger", "apply", "-f", str(file), "--yes", "--home", str(stack.home))
    applied = retraining(*arguments)
    assert applied.returncode == 0, applied.stderr
    assert "3 to create, 0 to change, 0 to delete, 0 unchanged" in applied.stdout
    assert len(slugs(stack, "retrain")) == len(slugs(stack, "monitor")) == 1
    assert retraining(*arguments).stdout == "nothing to change: 3 triggers as declared\n"
    file.write_text(json.dumps({"triggers": []}))
    assert "0 to create, 0 to change, 3 to delete" in retraining(*arguments).stdout
    assert api.get(TRIGGERS).json() == []
