"""A stack on its worst day: its worker killed, then all of it at once, in the middle of a job."""

import os
import signal
from pathlib import Path

import pytest

from retraining.cli.client import FacadeClient
from retraining.stack.home import Home
from retraining.stack.processes import members
from tests.stack.running import running_stack
from tests.stack.waiting import until

JOB_SECONDS = 120
ENDLESS = {"max_iter": 20_000, "learning_rate": 0.001}


def training(client: FacadeClient, job_id: str) -> bool:
    return client.job(job_id)["stage"] == "training"


def final(client: FacadeClient, job_id: str) -> str | None:
    status = str(client.job(job_id)["status"])
    return status if status in {"completed", "failed", "cancelled"} else None


@pytest.mark.timeout(420)
def test_jobs_outlive_their_worker_and_a_killed_stack_tells_the_truth_when_it_is_back(tmp_path: Path) -> None:
    """kill -9 of the worker: the job completes; of everything: the job failed, and the next one runs."""
    home = tmp_path / "home"
    with running_stack(home) as stack:
        client = stack.client()
        survivor = client.start_job("churn", {"max_iter": 1_500})["job_id"]
        until(lambda: training(client, survivor), JOB_SECONDS)
        os.kill(stack.pids.workers[0], signal.SIGKILL)
        assert until(lambda: final(client, survivor), JOB_SECONDS) == "completed"

        lost = client.start_job("profitability", ENDLESS)["job_id"]
        until(lambda: training(client, lost), JOB_SECONDS)
        stack.process.kill()
        stack.process.wait()
        until(lambda: not members(Home(home).mark()), 30)
    (home / "stack.json").unlink(missing_ok=True)
    with running_stack(home) as stack:
        client = stack.client()
        assert until(lambda: final(client, lost), 30) == "failed"
        assert "killed together with its worker" in client.job(lost)["error_message"]
        following = client.start_job("profitability", {"max_iter": 20})["job_id"]
        assert until(lambda: final(client, following), JOB_SECONDS) == "completed"
