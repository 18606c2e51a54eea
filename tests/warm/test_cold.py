"""What a job that could not start warm says, and where."""

import logging
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun, Log

from retraining.warm import launcher
from tests.warm.launching import Launching


def test_the_log_of_the_run_says_why_it_started_cold(
    warm: Launching, prefect_api: str, tmp_path: Path
) -> None:
    """A worker throws away what a job prints; people read Prefect's log."""
    tmp_path.chmod(0o755)
    run = create_run(prefect_api)
    env = {
        launcher.SOCKETS: str(tmp_path),
        "PREFECT_API_URL": prefect_api,
        "PREFECT__FLOW_RUN_ID": str(run.id),
    }
    name = warm.module(
        "cold_job", "import os, sys; print(sys.argv[1:], 'RETRAINING_COLD_START' in os.environ)"
    )
    ended = warm.end(warm.start(name, "argument", env=env))

    assert (ended.code, ended.stdout) == (0, "['argument'] False\n")
    (entry,) = read_logs(prefect_api, run.id)
    assert entry.level == logging.WARNING
    assert entry.message.startswith(f"started cold: {tmp_path} is open to others")


def test_a_job_starts_although_its_reason_cannot_be_logged(warm: Launching, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    env = {
        launcher.SOCKETS: str(tmp_path),
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "PREFECT__FLOW_RUN_ID": "00000000-0000-0000-0000-000000000001",
        "PREFECT_CLIENT_MAX_RETRIES": "0",
    }
    ended = warm.end(warm.start(warm.module("unlogged", "raise SystemExit(6)"), env=env))
    assert ended.code == 6


def create_run(prefect_api: str) -> FlowRun:
    from prefect import flow

    @flow(name="never-run")
    def nothing() -> None: ...

    with SyncPrefectClient(prefect_api) as client:
        return client.create_flow_run(nothing)


def read_logs(prefect_api: str, run_id: UUID) -> list[Log]:
    with SyncPrefectClient(prefect_api) as client:
        return client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id])))
