"""A job whose engine and worker are killed at the same moment: nobody is left to say so but the guard."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.running import RunningStack, running_stack
from tests.stack.waiting import until

pytestmark = [pytest.mark.stack, pytest.mark.long, pytest.mark.timeout(900)]

BOUND_SECONDS = 240
"""What the product promises: four minutes."""


@pytest.fixture(scope="module")
def doomed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack with a model whose jobs last as long as a test wants."""
    models = {
        "RETRAINING_MODELS": "tests.flows.doomed:doomed",
        "RETRAINING_MODELS_PATH": str(Path(__file__).parents[1]),
    }
    with running_stack(tmp_path_factory.mktemp("doomed") / "home", env=models) as running:
        yield running


def test_a_job_killed_with_its_worker_has_failed_within_the_bound_and_is_retried_and_others_go_on(
    doomed: RunningStack, tmp_path: Path
) -> None:
    """The model's policy is one retry; its next job had to wait for the dead one, and runs after it."""
    client = doomed.client()
    forever = {"end": False, "until": str(tmp_path / "until")}
    killed = client.start_job("doomed", forever)["job_id"]
    until(lambda: client.job(killed)["stage"] == "training", 120)
    waiting = client.start_job("doomed", {"end": False})["job_id"]
    engine = doomed.ask_prefect("GET", f"/flow_runs/{killed}")["infrastructure_pid"]

    os.kill(doomed.pids.workers[0], signal.SIGSTOP)  # so that it reports nothing before it is killed
    os.killpg(int(engine), signal.SIGKILL)
    os.killpg(doomed.pids.workers[0], signal.SIGKILL)

    until(lambda: client.job(killed)["status"] == "failed", BOUND_SECONDS)
    assert "no sign of life since" in client.job(killed)["error_message"]
    (tmp_path / "until").touch()
    until(lambda: client.job(waiting)["status"] == "completed", 240)
    [retry] = until(lambda: [one for one in client.jobs() if one["id"] not in {killed, waiting}], 60)
    assert retry["triggered_by"] == f"retry of job {killed}"
    assert retry["parameters"] == forever
    until(lambda: client.job(retry["id"])["status"] == "completed", 240)
    assert len(client.jobs()) == 3, "the guard's own runs are no jobs"
