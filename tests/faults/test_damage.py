"""Damage that is no death: no room on the disk, a database that another process keeps locked."""

import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from retraining.catalog.resources import MIB
from retraining.stack.home import Home
from retraining.stack.processes import members
from tests.faults.harness import BOUND_SECONDS, REACH_SECONDS, Harness
from tests.faults.truth import champion_violations, disagreements, double_trainings
from tests.stack.waiting import until

pytestmark = [pytest.mark.faults, pytest.mark.stack, pytest.mark.timeout(1800)]

MODEL = "held-a"
LOCKED_SECONDS = 30
DATABASES = {"facade": "retraining.db", "prefect": "prefect/prefect.db", "mlflow": "mlflow/mlflow.db"}
HOLD_LOCK = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60) as connection:
    connection.execute("BEGIN IMMEDIATE")
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    harness = Harness(tmp_path_factory.mktemp("damage"), seed=7)
    yield harness
    harness.close()


def final(harness: Harness, job_id: str) -> dict[str, Any]:
    until(lambda: harness.job(job_id)["status"] in {"completed", "failed", "cancelled"}, BOUND_SECONDS)
    return harness.job(job_id)


def assert_true(harness: Harness) -> None:
    found = [*champion_violations(harness, MODEL), *double_trainings(harness)]
    assert not found
    assert not disagreements(harness, [MODEL])


@contextmanager
def no_room(harness: Harness, more: int) -> Iterator[None]:
    """MLflow's server can make no file longer than its database and some bytes more."""
    size = (harness.stack.home / DATABASES["mlflow"]).stat().st_size
    servers = members(Home(harness.stack.home).mark(), "mlflow")
    before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in servers}
    for pid, (_, hard) in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size + more, hard))
    try:
        yield
    finally:
        for pid, limit in before.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)


def test_a_disk_that_is_full_while_a_model_is_logged_fails_the_job_and_leaves_nothing_half_registered(
    harness: Harness,
) -> None:
    """The next job finds room again, and is promoted."""
    first = final(harness, harness.start_job(MODEL))
    assert first["status"] == "completed"
    with harness.facade() as facade:
        before = facade.versions(MODEL)

    job_id = harness.start_job(MODEL, "training", ballast=8 * MIB)
    until(lambda: harness.holding.reached(job_id, "training"), REACH_SECONDS)
    with no_room(harness, 2 * MIB):
        harness.holding.let_go(job_id)
        failed = final(harness, job_id)
    assert failed["status"] == "failed"
    assert "MLflow" in failed["error_message"]
    with harness.facade() as facade:
        assert facade.versions(MODEL) == before
    # Their job has told MLflow so, as far as that could still write.
    assert [run["info"]["status"] for run in runs_of(harness, job_id)] == []

    again = final(harness, harness.start_job(MODEL, ballast=8 * MIB))
    assert (again["status"], again["promoted"]) == ("completed", True)
    assert_true(harness)


def runs_of(harness: Harness, job_id: str) -> list[dict[str, Any]]:
    """MLflow's runs of a job that claim to be finished, or under way."""
    stack = harness.stack
    with httpx.Client(base_url=stack.mlflow_url, auth=stack.password, timeout=60, trust_env=False) as mlflow:
        named = {"experiment_name": f"retrain/{MODEL}"}
        found = mlflow.get("/api/2.0/mlflow/experiments/get-by-name", params=named).raise_for_status().json()
        asked = {
            "experiment_ids": [found["experiment"]["experiment_id"]],
            "filter": f"tags.`retraining.job_id` = '{job_id}' and attributes.status != 'FAILED'",
        }
        runs = mlflow.post("/api/2.0/mlflow/runs/search", json=asked).raise_for_status().json()
    return list(runs.get("runs", []))


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Another process writes to the database, and does not end for half a minute."""
    assert sqlite3.connect(database).execute("PRAGMA journal_mode").fetchone()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"locked\n"
    since = time.monotonic()
    try:
        yield
        until(lambda: time.monotonic() - since > LOCKED_SECONDS, 2 * LOCKED_SECONDS)
    finally:
        holder.communicate()


@pytest.mark.parametrize("whose", DATABASES)
def test_a_database_that_is_locked_for_half_a_minute_loses_no_job_and_doubles_none(
    harness: Harness, whose: str
) -> None:
    """One job is in the middle, another one waits for it; a third is started while nobody can write."""
    running = harness.start_job(MODEL, "training")
    waiting = harness.start_job(MODEL)
    until(lambda: harness.holding.reached(running, "training"), REACH_SECONDS)

    with locked(harness.stack.home / DATABASES[whose]):
        harness.holding.let_go(running)
    started = harness.start_job(MODEL)

    ends = {job_id: final(harness, job_id) for job_id in (running, waiting, started)}
    unexpected = [job for job in ends.values() if job["status"] != "completed"]
    # A lock that outlasts all patience may fail the job that met it, with the reason, and no other.
    assert all(job["id"] == running and job["error_message"] for job in unexpected), unexpected
    assert_true(harness)
