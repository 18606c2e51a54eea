"""REST, the Prefect UI and the `prefect` command see the same jobs, versions and schedules."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.stack.running import RunningStack
from tests.stack.waiting import until

pytestmark = pytest.mark.stack

JOB_SECONDS = 120


@pytest.fixture(scope="module", autouse=True)
def schedule_id(stack: RunningStack) -> Iterator[str]:
    """A schedule made in Prefect, before the tests here: they run until Prefect looks, once a minute."""
    schedules = f"/deployments/{deployment_id(stack, 'swift')}/schedules"
    every = {"interval": timedelta(seconds=20).total_seconds()}
    triggers = list(stack.client().triggers())
    [schedule] = stack.ask_prefect("POST", schedules, [{"active": True, "schedule": every}])
    yield schedule["id"]
    stack.ask_prefect("DELETE", f"{schedules}/{schedule['id']}")
    for waiting in stack.client().jobs(trigger_type="scheduled", status="pending"):
        stack.client().cancel_job(waiting["id"])
    until(lambda: list(stack.client().triggers()) == triggers, 60)  # it was a trigger for the others, too


def prefect(stack: RunningStack, *arguments: str, cwd: Path | None = None) -> str:
    """Run the `prefect` command as a person who sourced `cli.env`."""
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        env=stack.client_environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def deployment_id(stack: RunningStack, model: str) -> str:
    return str(stack.ask_prefect("GET", f"/deployments/name/retrain/{model}")["id"])


def job(stack: RunningStack, job_id: str) -> dict[str, Any] | None:
    return next((found for found in stack.client().jobs() if found["id"] == job_id), None)


def finished(stack: RunningStack, job_id: str) -> dict[str, Any]:
    def final() -> dict[str, Any] | None:
        found = stack.client().job(job_id)
        return found if found["status"] in {"completed", "failed", "cancelled"} else None

    return until(final, JOB_SECONDS)


def test_a_job_started_with_the_prefect_command_is_a_job_like_all_others(stack: RunningStack) -> None:
    """`prefect deployment run` shows in GET /api/retraining, and ends there too."""
    parameters = json.dumps({"max_iter": 20})
    said = prefect(stack, "deployment", "run", "retrain/churn", "--param", f"parameters={parameters}")
    job_id = re.findall(r"UUID: ([0-9a-f-]{36})", said)[0]
    found = until(lambda: job(stack, job_id))
    assert found["model_name"] == "churn"
    assert found["trigger_type"] == "manual"
    assert found["parameters"] == {"max_iter": 20}
    ended = finished(stack, job_id)
    assert ended["status"] == "completed", ended
    assert ended["challenger_version"] is not None
    assert ended["decision"]


def test_a_run_cancelled_in_the_prefect_ui_is_a_cancelled_job(stack: RunningStack) -> None:
    """A run that waits is cancelled at once; the REST API says so and keeps it so."""
    run = stack.ask_prefect(
        "POST",
        f"/deployments/{deployment_id(stack, 'churn')}/create_flow_run",
        {"parameters": {"model_name": "churn", "parameters": {"max_iter": 20_000}}},
    )
    until(lambda: job(stack, run["id"]))
    stack.ask_prefect(
        "POST",
        f"/flow_runs/{run['id']}/set_state",
        {"state": {"type": "CANCELLED", "message": "not today"}, "force": True},
    )
    ended = until(lambda: (found := job(stack, run["id"])) and found["status"] == "cancelled" and found)
    assert ended["error_message"] == "not today"


def test_a_running_job_is_cancelled_within_the_bound_and_its_process_is_gone(stack: RunningStack) -> None:
    """DELETE on a running job: gracefully, then by force; a second DELETE does no harm."""
    client = stack.client()
    job_id = client.start_job("churn", {"max_iter": 20_000, "learning_rate": 0.01})["job_id"]
    until(lambda: client.job(job_id)["stage"] == "training", JOB_SECONDS)
    began = time.monotonic()
    client.cancel_job(job_id)
    client.cancel_job(job_id)
    ended = finished(stack, job_id)
    assert ended["status"] == "cancelled", ended
    assert time.monotonic() - began < 30
    assert ended["cancel_requested_at"] is not None


def test_live_events_tell_a_job_to_its_end(stack: RunningStack) -> None:
    """Each status and stage reaches a follower in its order, and the last status ends the stream."""
    client = stack.client()
    job_id = client.start_job("churn", {"max_iter": 20})["job_id"]
    statuses: list[str] = []
    stages: list[str] = []
    for event in client.events(job_id):
        if event["kind"] == "progress":
            stages.append(event["stage"])
            continue
        statuses.append(event["status"])
    assert statuses[-1] == "completed"
    assert [status for status in ("pending", "running", "completed") if status in statuses] == list(
        dict.fromkeys(statuses)
    )
    assert list(dict.fromkeys(stages))[:5] == ["loading", "training", "evaluating", "registering", "deciding"]


def test_prefect_deploy_finds_the_deployments_as_they_are(stack: RunningStack) -> None:
    """`prefect deploy --all` in a checkout gives what `retraining deploy` gave."""
    before = stack.ask_prefect("GET", "/deployments/name/retrain/churn")
    prefect(stack, "--no-prompt", "deploy", "--all", cwd=Path(__file__).parents[1])
    after = stack.ask_prefect("GET", "/deployments/name/retrain/churn")
    for field in ("id", "entrypoint", "path", "pull_steps", "parameters", "tags", "version", "description"):
        assert after[field] == before[field], field


def test_a_schedule_made_in_prefect_really_makes_jobs(stack: RunningStack, schedule_id: str) -> None:
    """Schedules exist and runs are made: the trap of SQLAlchemy 2.1, where the second never happens."""
    [running] = until(lambda: stack.client().jobs(trigger_type="scheduled", status="running"), 120)
    assert schedule_id in running["triggered_by"]
    ahead = [found for found in stack.client().jobs(limit=500) if found["created_at"] > _in_ten_seconds()]
    assert ahead == [], "a run scheduled for the future is not a job yet"
    assert finished(stack, running["id"])["status"] == "completed"


def _in_ten_seconds() -> str:
    return (datetime.now(UTC) + timedelta(seconds=10)).isoformat()
