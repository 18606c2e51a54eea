"""One job for many causes, on a real stack, whatever dies meanwhile."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.stack.breaches import automations, breach
from tests.stack.running import RunningStack, stopped
from tests.stack.runs import ModelRuns
from tests.stack.waiting import until

pytestmark = pytest.mark.stack

BREACHES, TRIGGERS = 20, 5
JOB_SECONDS = 120


def test_twenty_breaches_at_once_make_one_job_though_worker_and_facade_are_killed(
    stack: RunningStack, tmp_path: Path
) -> None:
    """Of five triggers; with all causes, and none again when the same breaches are told a second time."""
    runs = ModelRuns(stack, "test-patient")
    triggers = [uuid4() for _ in range(TRIGGERS)]
    breaches = [(triggers[number % TRIGGERS], uuid4(), datetime.now(UTC)) for number in range(BREACHES)]
    enough = tmp_path / "enough"
    with automations(runs, triggers, {"until": str(enough)}):
        stack.ask_prefect("POST", "/events", [breach(*one) for one in breaches])
        until(lambda: runs.in_state("RUNNING"), JOB_SECONDS)
        with stack.outage(*stack.pids.workers, stack.pids.api):
            until(lambda: len(runs.due()) >= BREACHES * 3 // 4, JOB_SECONDS)
        until(lambda: len(runs.due()) == BREACHES, JOB_SECONDS)
        # Or the job might be over before a busy machine has made the last run.
        enough.touch()

        def all_causes() -> dict[str, Any] | None:
            found = runs.jobs()
            return found[0] if len(found) == 1 and len(found[0]["causes"]) == BREACHES else None

        job = until(all_causes, JOB_SECONDS)
        assert job is not None
        until(lambda: stack.client().job(job["id"])["status"] == "completed", JOB_SECONDS)
        # Told again: as the same events, and as others about the same checks.
        stack.ask_prefect("POST", "/events", [breach(*one) for one in breaches])
        stack.ask_prefect("POST", "/events", [breach(*one, event_id=uuid4()) for one in breaches[:5]])
        until(lambda: len(runs.due()) == BREACHES + 5, JOB_SECONDS)
        until(runs.ended, JOB_SECONDS)

    assert {cause["evaluation_id"] for cause in job["causes"]} == {str(one[1]) for one in breaches}
    assert job["trigger_type"] == "drift"
    assert job["triggered_by"] in {f"trigger:{trigger_id}" for trigger_id in triggers}
    assert [run["id"] for run in runs.in_state("COMPLETED")] == [job["id"]]
    joined = [run["state"] for run in runs.due() if run["id"] != job["id"]]
    assert {state["name"] for state in joined} == {"Joined"}
    assert {state["message"][: len("joined job ") + 36] for state in joined} == {f"joined job {job['id']}"}
    assert [found["id"] for found in runs.jobs()] == [job["id"]]
    assert len(stack.client().job(job["id"])["causes"]) == BREACHES


def test_after_an_outage_a_schedule_catches_up_with_one_run(stack: RunningStack) -> None:
    """A schedule made in Prefect, while neither the worker nor the facade is there; then the worker alone."""
    runs = ModelRuns(stack, "swift")
    with stopped(stack.pids.api):
        with stack.outage(*stack.pids.workers):
            schedule = runs.schedule(2, runs.since)
            until(lambda: len(runs.due()) >= 4, JOB_SECONDS)
            missed = [run["id"] for run in runs.due()]
        until(lambda: runs.in_state("COMPLETED"), JOB_SECONDS)
        runs.unschedule(schedule)
        until(runs.ended, JOB_SECONDS)
    due = runs.due()
    first = next(run for run in due if run["state_type"] == "COMPLETED")
    others = [run for run in due if run["id"] in missed and run["id"] != first["id"]]
    assert {run["state_name"] for run in others} <= {"Superseded", "Joined"}
    # After so short an outage the run that was taken first may run; then the newest joins it.
    assert [run["state_name"] for run in others].count("Joined") <= 1

    def in_step() -> dict[str, dict[str, Any]] | None:
        found = {job["id"]: job for job in runs.jobs()}
        jobs = {run["id"]: run["state_type"].lower() for run in due if run["state_name"] != "Joined"}
        return found if {job_id: job["status"] for job_id, job in found.items()} == jobs else None

    found = until(in_step, JOB_SECONDS)
    assert found is not None
    assert {job["triggered_by"] for job in found.values()} == {f"trigger:{schedule}"}
    assert {job["trigger_type"] for job in found.values()} == {"scheduled"}
    said = [found[run["id"]]["error_message"] for run in others if run["state_name"] == "Superseded"]
    assert len(said) >= len(missed) - 2
    assert all(message.startswith("superseded by run ") for message in said)
