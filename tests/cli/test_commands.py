"""The commands against the real stack."""

import json
import re
from collections.abc import Iterator

import pytest

from tests.cli.command import retraining
from tests.stack.running import RunningStack

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def first_version(stack: RunningStack) -> Iterator[str]:
    """What `job start --wait` printed for churn's first version here."""
    done = retraining(
        *("job", "start", "churn", "--param", "max_iter=20", "--as-of", "1997-07-01", "--wait"),
        *("--home", str(stack.home)),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_job_is_followed_to_its_end(first_version: str) -> None:
    """Stages as they happen, then how it ended and what was decided."""
    assert [word for word in ("loading", "training", "registering", "deciding") if word in first_version] == [
        *("loading", "training", "registering", "deciding")
    ]
    assert re.search(r"^completed in [\d.]+ s: \S", first_version, re.MULTILINE)
    assert "\x1b" not in first_version


def test_jobs_are_listed_shown_and_their_logs_printed(stack: RunningStack, first_version: str) -> None:
    """By the id that `start` printed; the list filters."""
    home = ("--home", str(stack.home))
    job_id = first_version.split()[1]
    assert job_id in retraining("job", "list", "--model", "churn", "--status", "completed", *home).stdout
    assert job_id not in retraining("job", "list", "--status", "failed", *home).stdout
    shown = retraining("job", "show", job_id, *home).stdout
    assert re.search(r"^status +completed *$", shown, re.MULTILINE)
    as_json = json.loads(retraining("job", "show", job_id, "--json", *home).stdout)
    assert (as_json["id"], as_json["parameters"]) == (job_id, {"max_iter": 20})
    assert "churn: training" in retraining("job", "logs", job_id, *home).stdout


def test_a_failed_job_has_exit_code_1_and_its_reason(stack: RunningStack) -> None:
    """`--wait` is for scripts: they stop where the job failed."""
    failed = retraining(
        *("job", "start", "profitability", "--as-of", "1997-02-01", "--wait", "--home", str(stack.home))
    )
    assert failed.returncode == 1
    assert re.search(r"^failed in [\d.]+ s: .*no rows", failed.stdout, re.MULTILINE)


def test_a_job_is_cancelled(stack: RunningStack) -> None:
    """A second time is harmless, and says so."""
    home = ("--home", str(stack.home))
    started = retraining("job", "start", "profitability", "-p", "max_iter=20000", *home).stdout
    job_id = started.split()[1]
    cancelled = retraining("job", "cancel", job_id, "--wait", *home)
    assert cancelled.returncode == 0
    assert cancelled.stdout.endswith(f"job {job_id} is cancelled\n")
    again = retraining("job", "cancel", job_id, *home)
    assert (again.returncode, again.stdout) == (0, f"job {job_id} is cancelled\n")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("job", "start", "chrun"), "known models: churn, profitability"),
        (("job", "start", "churn", "-p", "max_iter=0"), "max_iter"),
        (("job", "show", "00000000-0000-0000-0000-000000000000"), "does not exist"),
        (("model", "promote", "churn", "99"), "no version 99"),
    ],
)
def test_what_the_api_refuses_is_one_line(
    stack: RunningStack, arguments: tuple[str, ...], reason: str
) -> None:
    """The facade's own message, exit code 1."""
    refused = retraining(*arguments, "--home", str(stack.home))
    assert refused.returncode == 1
    assert refused.stderr.startswith("retraining: ")
    assert reason in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.usefixtures("first_version")
def test_models_and_versions_are_listed_and_promoted(stack: RunningStack) -> None:
    """The champion is shown, and promoting it again changes nothing."""
    home = ("--home", str(stack.home))
    models = {
        line.split()[0]: line.split() for line in retraining("model", "list", *home).stdout.splitlines()
    }
    champion = models["churn"][3]
    versions = retraining("model", "versions", "churn", *home).stdout
    assert re.search(rf"^{champion} +champion", versions, re.MULTILINE)
    promoted = retraining("model", "promote", "churn", champion, "--reason", "again", *home).stdout
    assert promoted == f"version {champion} already is champion of churn\n"


def test_the_key_in_the_environment_counts(stack: RunningStack) -> None:
    """A person with a key that may only read starts nothing."""
    reader = retraining("key", "create", "reader", "--home", str(stack.home)).stdout.strip()
    env = {**stack.client_environment, "RETRAINING_API_KEY": reader}
    assert retraining("job", "list", env=env).returncode == 0
    refused = retraining("job", "start", "churn", env=env)
    assert refused.returncode == 1
    assert "trigger" in refused.stderr


def test_deploying_again_changes_nothing(stack: RunningStack) -> None:
    """The address comes from the stack in the home."""
    again = retraining("deploy", "--home", str(stack.home))
    assert again.stdout.splitlines() == [
        *(
            f"{flow}/{model} unchanged"
            for model in ("churn", "profitability")
            for flow in ("retrain", "monitor")
        ),
        "guard/retraining unchanged",
        "retraining dead jobs of retraining unchanged",
    ]


def test_the_doctor_finds_a_healthy_stack_healthy(stack: RunningStack) -> None:
    """Exit code 0, every part is named."""
    found = retraining("doctor", "--home", str(stack.home))
    assert found.returncode == 0, found.stdout
    for part in (
        "packages",
        "models",
        "disk space",
        "database",
        "Prefect",
        "deployments",
        "workers",
        "start of jobs",
        "MLflow",
    ):
        assert f"ok     {part}: " in found.stdout


def test_the_doctor_says_what_is_wrong_and_what_to_do(stack: RunningStack) -> None:
    """A broken catalog entry and servers that do not answer; exit code 1."""
    env = {
        **stack.client_environment,
        "RETRAINING_MODELS": "no_such_module:model",
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
    }
    found = retraining("doctor", env=env)
    assert found.returncode == 1
    assert "WRONG  model no_such_module:model (setting RETRAINING_MODELS): cannot be loaded" in found.stdout
    assert "WRONG  Prefect: http://127.0.0.1:9/api: " in found.stdout
    assert "WRONG  MLflow: no answer at http://127.0.0.1:9" in found.stdout
    assert found.stdout.endswith("3 things to mend\n")
    assert found.stdout.count("→") == 3


def test_the_doctor_says_that_a_server_asks_for_another_password(stack: RunningStack) -> None:
    env = {
        **stack.client_environment,
        "MLFLOW_TRACKING_PASSWORD": "guess",
        "PREFECT_API_AUTH_STRING": "retraining:guess",
    }
    found = retraining("doctor", env=env)
    assert found.returncode == 1
    assert f"WRONG  MLflow: {stack.mlflow_url} refuses our credentials" in found.stdout
    assert "it refuses our credentials, check PREFECT_API_AUTH_STRING" in found.stdout
