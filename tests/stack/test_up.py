"""`retraining up` with the real servers, on a stack of its own that the tests ill-treat, in this order."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from retraining.cli.client import FacadeClient
from retraining.stack.processes import alive, send
from tests.stack.running import MORE_MODELS, STOP_SECONDS, RunningStack, mode, running_stack, up
from tests.stack.waiting import until

pytestmark = pytest.mark.stack
ENDLESS = {"max_iter": 20_000}
PATIENT = "test-patient"
WARM = {"RETRAINING_WARM_START": "true"}
JOB_SECONDS = 120


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    # Started in a project that has packages of our packages' names.
    project = tmp_path_factory.mktemp("project")
    for name in ("api", "flows"):
        (project / name).mkdir()
        (project / name / "__init__.py").write_text("raise RuntimeError('another package of this name')\n")
    home = tmp_path_factory.mktemp("own") / "home"
    with running_stack(home, "--workers", "2", cwd=project, env=WARM) as running:
        yield running


@pytest.fixture(scope="module")
def second_life(own_stack: RunningStack) -> Iterator[RunningStack]:
    """The same home again, after the stack was stopped in the middle of a job."""
    with running_stack(own_stack.home, env={**MORE_MODELS, **WARM}) as running:
        yield running


def test_it_says_that_it_is_ready_and_where(own_stack: RunningStack) -> None:
    """The addresses are printed, and written with all process ids for programs to read."""
    until(lambda: "set -a" in own_stack.said.read_text(), 30)  # the file is there first
    said = own_stack.said.read_text()
    assert re.search(r"^ +[\d.]+ s  ready$", said, re.MULTILINE)
    assert "\x1b" not in said
    written = json.loads((own_stack.home / "stack.json").read_text())
    assert set(written) == {"api_url", "prefect_api_url", "prefect_ui_url", "mlflow_url", "pids"}
    assert all(written[name].removesuffix("/api") in said for name in written if name != "pids")
    assert set(written["pids"]) == {"prefect", "mlflow", "api", "workers", "supervisor"}
    assert written["pids"]["supervisor"] == own_stack.process.pid
    assert len(written["pids"]["workers"]) == 2


def test_every_server_answers_and_the_key_opens_the_api(own_stack: RunningStack) -> None:
    """Prefect, MLflow and the facade are up; without the key there is nothing to see."""
    assert httpx.get(f"{own_stack.prefect_api_url}/health").json() is True
    assert httpx.get(f"{own_stack.mlflow_url}/health").text == "OK"
    assert httpx.get(f"{own_stack.api_url}/ready").json()["status"] == "ready"
    assert httpx.get(f"{own_stack.api_url}/api/retraining").status_code == 401
    with own_stack.client() as facade:
        assert [model["name"] for model in facade.models()] == ["churn", "profitability"]


def test_secrets_are_for_their_owner_alone(own_stack: RunningStack) -> None:
    """The key, the servers' password and the variables have mode 0600; no log or command line shows one."""
    for name in ("admin.key", "servers.password", "cli.env"):
        assert mode(own_stack.home / name) == 0o600
    secrets = [own_stack.admin_key.encode(), own_stack.password[1].encode()]
    shown = [path.read_bytes() for path in (own_stack.home / "logs").iterdir()]
    shown += [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    shown.append(own_stack.said.read_bytes())
    assert len(shown) > 10
    assert not [text for text in shown for secret in secrets if secret in text]


@pytest.mark.parametrize("auth", [None, ("retraining", "guess"), ("", "")])
def test_nobody_walks_around_the_facade(own_stack: RunningStack, auth: tuple[str, str] | None) -> None:
    """Prefect's and MLflow's servers answer to the stack's password alone, but for saying that they live."""
    experiments = "/api/2.0/mlflow/experiments/search?max_results=1"
    for address in (
        f"{own_stack.prefect_api_url}/version",
        f"{own_stack.mlflow_url}{experiments}",
        f"{own_stack.mlflow_url}/",
        f"{own_stack.mlflow_url}/health/",
        f"{own_stack.mlflow_url}/api/2.0/mlflow-artifacts/artifacts",
        f"{own_stack.mlflow_url}/ajax-api/3.0/mlflow/server-info",
    ):
        assert httpx.get(address, auth=auth).status_code == 401, address
    assert httpx.get(f"{own_stack.prefect_api_url}/version", auth=own_stack.password).is_success
    assert httpx.get(f"{own_stack.mlflow_url}{experiments}", auth=own_stack.password).is_success
    assert "Basic" in httpx.get(f"{own_stack.mlflow_url}/").headers["WWW-Authenticate"]


def test_the_vendors_commands_work_with_the_written_variables(own_stack: RunningStack) -> None:
    """`prefect` finds the deployments and both workers' pool without any further setting."""
    found = subprocess.run(
        [sys.executable, "-m", "prefect", "deployment", "ls"],
        env=own_stack.client_environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "retrain/churn" in found.stdout
    assert own_stack.client_environment["MLFLOW_TRACKING_URI"] == own_stack.mlflow_url
    assert own_stack.client_environment["DO_NOT_TRACK"] == "1"


def test_nothing_of_the_persons_own_profile_is_touched(own_stack: RunningStack) -> None:
    """Prefect's own files are in the home."""
    assert (own_stack.home / "prefect" / "prefect.db").exists()
    environment = Path(f"/proc/{own_stack.pids.prefect}/environ").read_bytes().split(b"\0")
    assert f"PREFECT_HOME={own_stack.home}/prefect".encode() in environment


def test_a_second_stack_in_the_same_home_is_refused(own_stack: RunningStack) -> None:
    """Exit code 2, the process that has the home is named, and the first stack goes on."""
    second = _up("--home", str(own_stack.home))
    assert second.returncode == 2
    assert f"another stack (process {own_stack.process.pid}) runs in {own_stack.home}" in second.stderr
    assert httpx.get(f"{own_stack.api_url}/health").is_success
    assert own_stack.pids.supervisor == own_stack.process.pid


def test_all_workers_share_a_warm_server_that_is_there_before_any_job(own_stack: RunningStack) -> None:
    """Both have asked for one, and one has started."""
    assert len(_with_command(own_stack, "retraining.warm.worker")) == 2
    until(lambda: _with_command(own_stack, "retraining.warm"))
    until(lambda: not _with_command(own_stack, "retraining.warm.rehearsal"), JOB_SECONDS)
    assert len(_with_command(own_stack, "retraining.warm")) == 1


@pytest.mark.parametrize("name", ["api", "mlflow"])
def test_a_component_that_is_killed_comes_back(own_stack: RunningStack, name: str) -> None:
    """At the same address, under a new process id, which stack.json tells."""
    before = getattr(own_stack.pids, name)
    address = {"api": own_stack.api_url, "mlflow": own_stack.mlflow_url}[name]
    os.kill(before, signal.SIGKILL)
    until(lambda: getattr(own_stack.pids, name) != before, 90)
    assert httpx.get(f"{address}/health").is_success
    assert alive(getattr(own_stack.pids, name))
    assert f"{name} ended with signal SIGKILL, starts again" in own_stack.said.read_text()


def test_sigterm_ends_everything_even_a_running_job(own_stack: RunningStack) -> None:
    """Within 15 s no process is left, jobs and their children included, and the exit code is 0."""
    with own_stack.client() as facade:
        job_id = facade.start_job("profitability", ENDLESS, "1998-04-01T00:00:00Z")["job_id"]
        assert any(event["stage"] == "training" for event in facade.events(job_id))
    processes = own_stack.processes()
    assert len(processes) > len({"prefect", "mlflow", "uvicorn of mlflow", "api", "two", "workers"})
    asked = time.monotonic()
    own_stack.process.send_signal(signal.SIGTERM)
    assert own_stack.process.wait(STOP_SECONDS) == 0
    assert time.monotonic() - asked < STOP_SECONDS
    assert not any(map(alive, processes))
    assert own_stack.processes() == set()
    assert not (own_stack.home / "stack.json").exists()


def test_a_job_that_was_stopped_with_the_stack_says_so(second_life: RunningStack) -> None:
    """Prefect and the facade know its end when the stack comes back in the same home."""
    with second_life.client() as facade:
        (job,) = until(lambda: facade.jobs(status="failed"))
        assert "termination signal" in job["error_message"]


def test_a_job_outlives_its_worker(second_life: RunningStack, tmp_path: Path) -> None:
    """kill -9 of the worker and its process group: the job completes."""
    with second_life.client() as facade:
        job_id = _training(facade, tmp_path)
        os.killpg(second_life.pids.workers[0], signal.SIGKILL)
        (tmp_path / "enough").touch()
        assert until(lambda: _end_of(facade, job_id), JOB_SECONDS) == "completed"


def test_a_stack_that_was_killed_tells_the_truth_when_it_is_back(
    second_life: RunningStack, tmp_path: Path
) -> None:
    """kill -9 of everything in the middle of a job: the job failed, and the next one runs."""
    with second_life.client() as facade:
        lost = _training(facade, tmp_path)
    everything = [second_life.process.pid, *second_life.processes()]
    send(everything, signal.SIGSTOP)  # nobody tells anything any more
    send(everything, signal.SIGKILL)
    second_life.process.wait()
    until(lambda: not second_life.processes(), 30)
    (second_life.home / "stack.json").unlink(missing_ok=True)
    with (
        running_stack(second_life.home, env={**MORE_MODELS, **WARM}) as third_life,
        third_life.client() as facade,
    ):
        assert until(lambda: _end_of(facade, lost), 30) == "failed"
        assert "killed together with its worker" in facade.job(lost)["error_message"]
        following = facade.start_job(PATIENT, {})["job_id"]
        assert until(lambda: _end_of(facade, following), JOB_SECONDS) == "completed"


def test_nothing_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    """kill -9 while the servers start: they, and what they started, are gone soon after."""
    home, said = tmp_path / "home", tmp_path / "said.txt"
    with up(home, said) as process:
        until(lambda: "api ready" in said.read_text() or process.poll() is not None, 90)
        assert process.poll() is None, said.read_text()
        stack = RunningStack(home, process, said, "", "", "")
        processes = stack.processes()
        assert len(processes) >= 3
        process.kill()
        process.wait()
        until(lambda: not any(map(alive, processes)), STOP_SECONDS)


def test_a_port_in_use_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """Exit code 2, with the port, who wanted it and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = _up("--home", str(tmp_path / "home"), "--mlflow-port", str(port))
    assert refused.returncode == 2
    assert f"port {port} on 127.0.0.1 is in use, mlflow cannot listen there" in refused.stderr
    assert "--mlflow-port" in refused.stderr
    assert not list((tmp_path / "home" / "logs").iterdir())


def test_a_home_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """Exit code 2, one line, no traceback."""
    (tmp_path / "file").touch()
    refused = _up("--home", str(tmp_path / "file"))
    assert refused.returncode == 2
    assert f"{tmp_path}/file cannot be the stack's home: File exists" in refused.stderr
    assert "Traceback" not in refused.stderr


def _up(*options: str) -> subprocess.CompletedProcess[str]:
    free = [f"--{name}-port=0" for name in ("api", "prefect", "mlflow") if f"--{name}-port" not in options]
    command = [sys.executable, "-m", "retraining.cli", "up", *free, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def _with_command(stack: RunningStack, part: str) -> set[int]:
    """The stack's processes with this part in their command lines."""
    found = set()
    for pid in stack.processes():
        with suppress(OSError):  # it has just ended
            if part.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.add(pid)
    return found


def _training(facade: FacadeClient, folder: Path) -> str:
    """A job in the middle of its training, which ends once the folder has a file `enough`."""
    job_id: str = facade.start_job(PATIENT, {"until": str(folder / "enough")})["job_id"]
    until(lambda: facade.job(job_id)["stage"] == "training", JOB_SECONDS)
    return job_id


def _end_of(facade: FacadeClient, job_id: str) -> str | None:
    status = str(facade.job(job_id)["status"])
    return status if status in {"completed", "failed", "cancelled"} else None
