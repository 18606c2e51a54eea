"""What server and worker are told, in Prefect's own settings."""

import subprocess
import sys

import pytest
from prefect.settings import Settings

from retraining.orchestrator.server import server_environment
from retraining.orchestrator.worker import worker_environment


@pytest.mark.parametrize(
    "environment", [server_environment(), worker_environment()], ids=["server", "worker"]
)
def test_prefect_knows_every_setting_by_its_name(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that Prefect does not know would be without effect, and nobody would notice."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    understood = Settings().to_environment_variables(exclude_unset=True)

    for_prefect = {name for name in environment if name.startswith("PREFECT_")}
    assert for_prefect
    assert for_prefect <= understood.keys()


def test_leases_outlive_a_restart_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server_environment().items():
        monkeypatch.setenv(name, value)

    server = Settings().server

    assert server.concurrency.lease_storage.endswith(".filesystem")
    assert server.deployments.concurrency_slot_wait_seconds < 10
    assert server.services.cancellation_cleanup.cancelling_timeout_seconds > 33  # SIGTERM, 30 s, SIGKILL


def test_the_server_knows_the_time_zones_without_the_machines() -> None:
    """From the package tzdata; to look through the machine's files takes Prefect ten times as long."""
    ask = "import zoneinfo; print('Europe/Berlin' in zoneinfo.available_timezones(), zoneinfo.TZPATH)"

    said = subprocess.run(
        [sys.executable, "-c", ask], env=server_environment(), capture_output=True, text=True, check=True
    )

    assert said.stdout.strip() == "True ()"
