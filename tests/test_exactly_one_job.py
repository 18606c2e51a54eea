"""One job for many causes, on a real stack, whatever dies meanwhile."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4, uuid5

import httpx
import pytest

from tests.stack.running import RunningStack
from tests.stack.waiting import until

pytestmark = pytest.mark.stack

MODEL = "churn"
BREACHES, TRIGGERS = 20, 5
JOB_SECONDS = 120
DRIFTED = "retraining.drift.detected"


class Prefect:
    """What the tests do to Prefect itself, by its API."""

    def __init__(self, stack: RunningStack) -> None:
        self.url = stack.prefect_api_url

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        def answered() -> httpx.Response | None:
            answer = httpx.request(method, f"{self.url}{path}", json=body, timeout=60)
            # On SQLite Prefect undoes a transaction that meets another one, and says so.
            return None if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else answer

        answer = until(answered, JOB_SECONDS)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def deployment(self, model: str) -> str:
        return str(self.ask("GET", f"/deployments/name/retrain/{model}")["id"])

    def runs(self, model: str, since: datetime) -> list[dict[str, Any]]:
        """Runs of the model that are due, in the order in which they came."""
        asked = {
            "deployments": {"id": {"any_": [self.deployment(model)]}},
            "flow_runs": {
                "expected_start_time": {
                    "after_": since.isoformat(),
                    "before_": datetime.now(UTC).isoformat(),
                }
            },
            "sort": "EXPECTED_START_TIME_ASC",
        }
        found: list[dict[str, Any]] = self.ask("POST", "/flow_runs/filter", asked)
        return found


@pytest.fixture
def prefect(stack: RunningStack) -> Prefect:
    return Prefect(stack)


@contextmanager
def automations(prefect: Prefect, trigger_ids: list[UUID]) -> Iterator[None]:
    """For each trigger: a breach of it runs the job, with the breach as its cause."""
    payload = {"__prefect_kind": "jinja", "template": "{{ event.payload | tojson }}"}
    made = [
        prefect.ask(
            "POST",
            "/automations/",
            {
                "name": f"test {trigger_id}",
                "trigger": {
                    "type": "event",
                    "match": {"prefect.resource.id": f"retraining.trigger.{trigger_id}"},
                    "expect": [DRIFTED],
                    "posture": "Reactive",
                    "threshold": 1,
                },
                "actions": [
                    {
                        "type": "run-deployment",
                        "source": "selected",
                        "deployment_id": prefect.deployment(MODEL),
                        "parameters": {
                            "model_name": MODEL,
                            "parameters": {"max_iter": 20},
                            "cause": {"__prefect_kind": "json", "value": payload},
                        },
                    }
                ],
            },
        )["id"]
        for trigger_id in trigger_ids
    ]
    try:
        yield
    finally:
        for automation_id in made:
            prefect.ask("DELETE", f"/automations/{automation_id}")


def breach(trigger_id: UUID, evaluation_id: UUID, at: datetime, event_id: UUID | None = None) -> Any:
    """The event in which a check tells of a breach."""
    return {
        "id": str(event_id or uuid5(evaluation_id, "breach")),
        "occurred": datetime.now(UTC).isoformat(),
        "event": DRIFTED,
        "resource": {"prefect.resource.id": f"retraining.trigger.{trigger_id}"},
        "payload": {
            "type": "drift",
            "trigger_id": str(trigger_id),
            "evaluation_id": str(evaluation_id),
            "at": at.isoformat(),
            "reason": "half of the columns drifted",
            "scores": {"recency": 0.4},
        },
    }


def jobs_since(stack: RunningStack, model: str, since: datetime) -> list[dict[str, Any]]:
    """The model's jobs, newest first; none while the facade is away."""
    try:
        found = stack.client().jobs(model_name=model, limit=500)
    except Exception:  # it has just been killed
        return []
    return [job for job in found if datetime.fromisoformat(job["created_at"]) >= since]


def idle(stack: RunningStack, model: str) -> bool:
    found = stack.client().jobs(model_name=model, limit=500)
    return all(job["status"] in {"completed", "failed", "cancelled"} for job in found)


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Processes that do nothing for a while."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_twenty_breaches_at_once_make_one_job_though_the_facade_is_killed(
    stack: RunningStack, prefect: Prefect
) -> None:
    """Of five triggers; with all causes, and none again when the same breaches are told a second time."""
    until(lambda: idle(stack, MODEL), JOB_SECONDS)
    since = datetime.now(UTC)
    triggers = [uuid4() for _ in range(TRIGGERS)]
    breaches = [(triggers[number % TRIGGERS], uuid4(), datetime.now(UTC)) for number in range(BREACHES)]
    with automations(prefect, triggers):
        # Or the job might be over before a busy machine has made the last run.
        with stopped(*stack.pids.workers):
            prefect.ask("POST", "/events", [breach(*one) for one in breaches])
            until(lambda: len(prefect.runs(MODEL, since)) >= BREACHES // 2, JOB_SECONDS)
            os.kill(stack.pids.api, signal.SIGKILL)
            until(lambda: len(prefect.runs(MODEL, since)) == BREACHES, JOB_SECONDS)

        def all_causes() -> dict[str, Any] | None:
            found = jobs_since(stack, MODEL, since)
            return found[0] if len(found) == 1 and len(found[0]["causes"]) == BREACHES else None

        job = until(all_causes, JOB_SECONDS)
        assert job is not None
        until(lambda: stack.client().job(job["id"])["status"] == "completed", JOB_SECONDS)
        # Told again: as the same events, and as others about the same checks.
        prefect.ask("POST", "/events", [breach(*one) for one in breaches])
        prefect.ask("POST", "/events", [breach(*one, event_id=uuid4()) for one in breaches[:5]])
        until(lambda: len(prefect.runs(MODEL, since)) == BREACHES + 5, JOB_SECONDS)
        until(lambda: _ended(prefect, MODEL, since), JOB_SECONDS)

    assert {cause["evaluation_id"] for cause in job["causes"]} == {str(one[1]) for one in breaches}
    assert job["trigger_type"] == "drift"
    assert job["triggered_by"] in {f"trigger:{trigger_id}" for trigger_id in triggers}
    runs = prefect.runs(MODEL, since)
    assert [run["id"] for run in runs if run["state_type"] == "COMPLETED"] == [job["id"]]
    joined = [run["state"] for run in runs if run["id"] != job["id"]]
    assert {state["name"] for state in joined} == {"Joined"}
    assert {state["message"][: len("joined job ") + 36] for state in joined} == {f"joined job {job['id']}"}
    assert [found["id"] for found in jobs_since(stack, MODEL, since)] == [job["id"]]
    assert len(stack.client().job(job["id"])["causes"]) == BREACHES


def test_after_an_outage_a_schedule_catches_up_with_one_run(stack: RunningStack, prefect: Prefect) -> None:
    """A schedule made in Prefect, while neither the worker nor the facade is there; then the worker alone."""
    model = "profitability"
    until(lambda: idle(stack, model), JOB_SECONDS)
    since = datetime.now(UTC)
    schedules = f"/deployments/{prefect.deployment(model)}/schedules"
    every = {"interval": timedelta(seconds=5).total_seconds(), "anchor_date": since.isoformat()}
    with stopped(stack.pids.api):
        with stopped(*stack.pids.workers):
            [schedule] = prefect.ask("POST", schedules, [{"active": True, "schedule": every}])
            # Prefect plans runs of deployments that changed within seconds, of all others within a minute.
            prefect.ask("PATCH", f"/deployments/{prefect.deployment(model)}", {"paused": False})
            until(lambda: len(prefect.runs(model, since)) >= 4, JOB_SECONDS)
            missed = [run["id"] for run in prefect.runs(model, since)]
        until(lambda: "COMPLETED" in [run["state_type"] for run in prefect.runs(model, since)], JOB_SECONDS)
        # With it go the runs that no worker has taken.
        prefect.ask("DELETE", f"{schedules}/{schedule['id']}")
        until(lambda: _ended(prefect, model, since), JOB_SECONDS)
    runs = prefect.runs(model, since)
    first = next(run for run in runs if run["state_type"] == "COMPLETED")
    others = [run for run in runs if run["id"] in missed and run["id"] != first["id"]]
    assert {run["state_name"] for run in others} <= {"Superseded", "Joined"}
    # After so short an outage the run that was taken first may run; then the newest joins it.
    assert [run["state_name"] for run in others].count("Joined") <= 1

    jobs = {run["id"]: run["state_type"].lower() for run in runs if run["state_name"] != "Joined"}
    until(lambda: len(jobs_since(stack, model, since)) == len(jobs) and idle(stack, model), JOB_SECONDS)
    found = {job["id"]: job for job in jobs_since(stack, model, since)}
    assert {job_id: job["status"] for job_id, job in found.items()} == jobs
    assert {job["triggered_by"] for job in found.values()} == {f"trigger:{schedule['id']}"}
    assert {job["trigger_type"] for job in found.values()} == {"scheduled"}
    said = [found[run["id"]]["error_message"] for run in others if run["state_name"] == "Superseded"]
    assert len(said) >= len(missed) - 2
    assert all(message.startswith("superseded by run ") for message in said)


def _ended(prefect: Prefect, model: str, since: datetime) -> bool:
    final = {"COMPLETED", "CANCELLED", "FAILED", "CRASHED"}
    return all(run["state_type"] in final for run in prefect.runs(model, since))
