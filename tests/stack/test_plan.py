"""What the components are told."""

from pathlib import Path

import pytest

from retraining.stack.home import Home
from retraining.stack.password import Credentials, credentials_of
from retraining.stack.plan import Ports, addresses, stack_environment

PORTS = Ports(api=1, prefect=2, mlflow=3)
CREDENTIALS = Credentials("ada", "a:secret")


@pytest.mark.parametrize(
    ("host", "reached"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]"), ("box", "box")],
)
def test_addresses_are_ones_that_clients_can_use(host: str, reached: str) -> None:
    """Listening everywhere is reached on loopback; IPv6 has its brackets."""
    where = addresses(host, PORTS)
    assert where.api_url == f"http://{reached}:1"
    assert (where.prefect_api_url, where.prefect_ui_url) == (f"http://{reached}:2/api", f"http://{reached}:2")
    assert where.mlflow_url == f"http://{reached}:3"


def test_a_persons_own_servers_are_not_the_stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither their Prefect profile nor their MLflow run reaches a component; loopback passes any proxy."""
    for name, value in {
        "PREFECT_PROFILE": "cloud",
        "PREFECT_API_URL": "https://api.prefect.cloud/api",
        "MLFLOW_RUN_ID": "abc",
        "MLFLOW_TRACKING_URI": "databricks",
        "MLFLOW_TRACKING_TOKEN": "theirs",
        "NO_PROXY": "intern",
    }.items():
        monkeypatch.setenv(name, value)
    told = stack_environment(Home(tmp_path), addresses("127.0.0.1", PORTS), CREDENTIALS)
    assert not {"PREFECT_PROFILE", "MLFLOW_RUN_ID", "MLFLOW_TRACKING_TOKEN"} & told.keys()
    assert told["PREFECT_API_AUTH_STRING"] == "ada:a:secret"
    assert (told["MLFLOW_TRACKING_USERNAME"], told["MLFLOW_TRACKING_PASSWORD"]) == ("ada", "a:secret")
    assert told["PREFECT_API_URL"] == "http://127.0.0.1:2/api"
    assert told["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:3"
    assert told["PREFECT_HOME"] == f"{tmp_path}/prefect"
    assert told["NO_PROXY"] == "intern,127.0.0.1,localhost,::1"


def test_relative_paths_keep_their_meaning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Components run in the home, jobs elsewhere: `PYTHONPATH=.` still finds a team's models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", ".:/opt/models")
    monkeypatch.setenv("RETRAINING_DATABASE_URL", "sqlite+aiosqlite:///jobs.db")
    told = stack_environment(Home(tmp_path / "home"), addresses("127.0.0.1", PORTS), CREDENTIALS)
    assert told["PYTHONPATH"] == f"{tmp_path}:/opt/models"
    assert told["RETRAINING_DATABASE_URL"] == f"sqlite+aiosqlite:///{tmp_path}/jobs.db"


def test_the_servers_password_is_made_once_and_a_prefect_of_ones_own_settings_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    made = credentials_of(home)
    assert made.user == "retraining"
    assert len(made.password) >= 32
    assert credentials_of(home) == made
    assert home.servers_password.stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "ada:a:secret")
    assert credentials_of(home) == CREDENTIALS
