"""The real stack, run by the real command."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx

from retraining.cli.client import FacadeClient
from retraining.stack.home import Home
from retraining.stack.processes import members
from retraining.stack.stack_file import Pids, read_stack_file
from tests.stack.waiting import until

START_SECONDS = 120
STOP_SECONDS = 15
"""What the product promises."""
UNHURRIED = {
    f"RETRAINING_RATE_LIMIT_{kind}": "1000000" for kind in ("READS", "WRITES", "ADDRESS", "FAILURES")
}
"""The environment of a stack whose tests ask more often than anybody may."""
MORE_MODELS = {
    "RETRAINING_MODELS": ",".join(
        f"tests.stack.models:{model}" for model in ("patient", "swift", "swift_all", "swift_skip")
    ),
    "RETRAINING_MODELS_PATH": str(Path(__file__).parents[2]),
}
"""The environment of a stack that is to have the models of `tests.stack.models` too."""


@dataclass(frozen=True)
class RunningStack:
    """A stack that is ready, and where to find it."""

    home: Path
    process: subprocess.Popen[bytes]
    said: Path
    """What the command printed."""
    api_url: str
    prefect_api_url: str
    mlflow_url: str

    @property
    def admin_key(self) -> str:
        return (self.home / "admin.key").read_text().strip()

    @property
    def password(self) -> tuple[str, str]:
        """User and password of Prefect's and MLflow's servers."""
        user, _, password = (self.home / "servers.password").read_text().strip().partition(":")
        return user, password

    @property
    def pids(self) -> Pids:
        """As `stack.json` says now."""
        return read_stack_file(self.home).pids

    @property
    def client_environment(self) -> dict[str, str]:
        """What a person has after `set -a; . cli.env`."""
        lines = (self.home / "cli.env").read_text().splitlines()
        return {**os.environ, **dict(line.split("=", 1) for line in lines)}

    def client(self) -> FacadeClient:
        return FacadeClient(self.api_url, self.admin_key)

    def ask_prefect(self, method: str, path: str, body: Any = None) -> Any:
        """What the Prefect UI does: its API. Asks again while the server is busy, as Prefect's clients do."""

        def answer() -> httpx.Response | None:
            answer = httpx.request(
                method, f"{self.prefect_api_url}{path}", json=body, auth=self.password, timeout=60
            )
            return None if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else answer

        answered = cast("httpx.Response", until(answer, 60))
        answered.raise_for_status()
        return answered.json() if answered.content else None

    @contextmanager
    def outage(self, *pids: int) -> Iterator[None]:
        """Components that are killed with their process groups, and started again when the block is over."""
        with stopped(self.pids.supervisor):
            for pid in pids:
                os.killpg(pid, signal.SIGKILL)
            yield

    def processes(self) -> set[int]:
        """Everything that belongs to the stack, beside its supervisor and the watchdog."""
        return members(Home(self.home).mark())


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Processes that do nothing for a while."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def up(
    home: Path, said: Path, *options: str, cwd: Path | None = None, env: Mapping[str, str] = {}
) -> Iterator[subprocess.Popen[bytes]]:
    """`retraining up` on free ports; no process is left after the block."""
    ports = ("--api-port", "0", "--prefect-port", "0", "--mlflow-port", "0")
    with said.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "retraining.cli", "up", "--home", str(home), *ports, *options],
            cwd=cwd,
            env={**os.environ, **UNHURRIED, **env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        if home.exists():
            until(lambda: not members(Home(home).mark()), STOP_SECONDS)


@contextmanager
def running_stack(
    home: Path, *options: str, cwd: Path | None = None, env: Mapping[str, str] = {}
) -> Iterator[RunningStack]:
    """A stack that is ready."""
    home.parent.mkdir(parents=True, exist_ok=True)
    said = home.parent / f"{home.name}-said.txt"
    with up(home, said, *options, cwd=cwd, env=env) as process:
        until(lambda: (home / "stack.json").exists() or process.poll() is not None, START_SECONDS)
        assert process.poll() is None, said.read_text()
        where = read_stack_file(home).addresses
        yield RunningStack(home, process, said, where.api_url, where.prefect_api_url, where.mlflow_url)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
