"""What schedules do about runs that they missed while nobody was there. Takes minutes: `make test-long`."""

from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import httpx
import pytest

from tests.stack.breaches import automations, breach
from tests.stack.running import RunningStack
from tests.stack.runs import ModelRuns
from tests.stack.waiting import until

pytestmark = [pytest.mark.stack, pytest.mark.long, pytest.mark.timeout(900)]

SECONDS = 240
MISSED = 6
"""Runs of a schedule of ten seconds: enough for the run of the slow one to be more than 60 s late."""
BREACHES = 5
TRIGGERS = "/api/retraining/triggers"


def test_after_an_outage_latest_runs_once_skip_not_at_all_and_all_runs_everything(
    stack: RunningStack,
) -> None:
    """Worker and facade are killed, and away for more than a minute; then both come back."""
    latest, skip, every = (ModelRuns(stack, name) for name in ("swift", "swift-skip", "swift-all"))
    headers = {"Authorization": f"Bearer {stack.admin_key}"}
    trigger = {
        "model_name": latest.model,
        "trigger_type": "scheduled",
        "trigger_condition": {"every": "10s"},
    }
    with httpx.Client(base_url=stack.api_url, headers=headers, timeout=60, trust_env=False) as api:
        trigger_id = api.post(TRIGGERS, json=trigger).raise_for_status().json()["id"]
        soon = datetime.now(UTC) + timedelta(seconds=5)
        slow = skip.schedule(3600, soon, missed_runs="skip")
        # It ends: a busy machine would never be done with a job every ten seconds.
        quick = every.schedule(10, soon, times=MISSED, missed_runs="all")
        with stack.outage(*stack.pids.workers, stack.pids.api):
            until(lambda: len(latest.due()) > MISSED and len(every.due()) == MISSED and skip.due(), SECONDS)
            [late] = skip.due()
            due = datetime.fromisoformat(late["expected_start_time"])
            until(lambda: datetime.now(UTC) - due > timedelta(seconds=61), SECONDS)
        until(lambda: latest.in_state("COMPLETED"), SECONDS)
        until(lambda: httpx.get(f"{stack.api_url}/ready").is_success, SECONDS)
        api.delete(f"{TRIGGERS}/{trigger_id}").raise_for_status()
        for runs in (latest, skip, every):
            until(runs.ended, SECONDS)
        skip.unschedule(slow)
        every.unschedule(quick)

    [skipped] = skip.due()
    assert skipped["id"] == late["id"]
    assert (skipped["state_type"], skipped["state_name"]) == ("CANCELLED", "Skipped")
    assert skipped["state"]["message"].startswith("missed: it was due at ")

    assert [run["state_name"] for run in every.due()] == ["Completed"] * MISSED

    began = min(run["start_time"] for run in latest.in_state("COMPLETED"))
    waiting = [run["state_name"] for run in latest.due() if run["expected_start_time"] < began]
    assert len(waiting) > MISSED
    assert waiting.count("Completed") == 1
    # The worker may take a run so late that it stands; then the newest joins it.
    assert waiting.count("Joined") <= 1
    assert waiting.count("Superseded") == len(waiting) - 1 - waiting.count("Joined")

    for runs in (latest, skip, every):
        superseded = {run["id"] for run in runs.due() if run["state_name"] == "Superseded"}
        until(partial(in_step, runs), SECONDS)
        said = [job["error_message"] for job in runs.jobs() if job["id"] in superseded]
        assert len(said) == len(superseded)
        assert all(message.startswith("superseded by run ") for message in said)


def in_step(runs: ModelRuns) -> bool:
    """Whether the facade shows the model's jobs as Prefect does."""
    jobs = {run["id"]: run["state_type"].lower() for run in runs.due() if run["state_name"] != "Joined"}
    return {job["id"]: job["status"] for job in runs.jobs()} == jobs


def test_a_worker_that_dies_between_taking_a_run_and_starting_it_loses_no_cause(
    stack: RunningStack,
) -> None:
    """The run is given back after a minute, with all that joined it meanwhile."""
    runs = ModelRuns(stack, "swift")
    trigger_id = uuid4()
    breaches = [(trigger_id, uuid4(), datetime.now(UTC)) for _ in range(BREACHES)]
    with automations(runs, [trigger_id], {}):
        with stack.outage(*stack.pids.workers):
            stack.ask_prefect("POST", "/events", [breach(*one) for one in breaches])
            [job] = until(runs.jobs, SECONDS)
            # All that such a worker leaves; the moment in which it would have to be killed is a short one.
            taking = {"state": {"type": "PENDING", "message": "taken by a worker that dies now"}}
            taken = stack.ask_prefect("POST", f"/flow_runs/{job['id']}/set_state", taking)
            assert taken["status"] == "ACCEPT"
        until(lambda: len(runs.due()) == BREACHES and runs.ended(), SECONDS)
        until(partial(in_step, runs), SECONDS)
    [ended] = runs.jobs()
    assert (ended["id"], ended["status"]) == (job["id"], "completed")
    assert {cause["evaluation_id"] for cause in ended["causes"]} == {str(one[1]) for one in breaches}
