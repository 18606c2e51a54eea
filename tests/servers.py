"""Real servers for the tests: Prefect and MLflow on loopback, in a throw-away home."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    command: list[str], ready_url: str, log: Path, env: Mapping[str, str] = {}, seconds: float = 90
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; its whole process group goes with it."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **QUIET, **env},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + seconds
        while not _answers(ready_url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[:4]} did not become ready:\n{log.read_text()[-4000:]}")
            time.sleep(0.1)
        yield process
    finally:
        for sig in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, sig)
            except ProcessLookupError:
                break
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                continue


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code < 500
    except httpx.HTTPError:
        return False


@contextmanager
def prefect_server(home: Path, port: int | None = None) -> Iterator[str]:
    """A Prefect server on SQLite in `home`; yields the address of its API."""
    home.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    api = f"http://127.0.0.1:{port}/api"
    command = [
        *(sys.executable, "-m", "retraining.stack.prefect_server", "start"),
        *("--host", "127.0.0.1", "--port", str(port)),
    ]
    env = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": api,
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
    }
    with running(command, f"{api}/health", home / "server.log", env):
        yield api


@contextmanager
def mlflow_server(home: Path, port: int | None = None) -> Iterator[str]:
    """An MLflow server on SQLite in `home`; yields its address."""
    home.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}"),
        *("--artifacts-destination", str(home / "artifacts"), "--workers", "1"),
    ]
    # Its job execution is for evaluating language models: eight more processes.
    env = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with running(command, f"http://127.0.0.1:{port}/health", home / "mlflow.log", env):
        yield f"http://127.0.0.1:{port}"
