"""Jobs by way of the launcher, as a worker starts them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from retraining.warm import launcher
from tests.orchestrator.on_worker import SECONDS
from tests.stack import waiting


def until(reached: Callable[[], bool]) -> None:
    waiting.until(reached, SECONDS)


@dataclass
class Launching:
    """One folder of sockets, and one of modules that jobs find."""

    sockets: Path
    modules: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def module(self, name: str, source: str) -> str:
        """Write a module; in a file of another size each time, for clocks that are coarse."""
        path = self.modules / f"{name}.py"
        path.write_text(f"{source}\n# {time.time_ns()}\n")
        return name

    def env(self, **more: str) -> dict[str, str]:
        return {
            # It is another one in each test, and servers serve one environment.
            **{name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
            "PYTHONPATH": os.pathsep.join((str(self.modules), str(Path(__file__).parents[2]))),
            "PYTHONDONTWRITEBYTECODE": "1",
            launcher.SOCKETS: str(self.sockets),
            **self.environment,
            **more,
        }

    def start(
        self,
        module: str,
        *arguments: str,
        env: Mapping[str, str] = {},
        cwd: Path | None = None,
        umask: int = -1,
        pass_fds: tuple[int, ...] = (),
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", launcher.__file__, module, *arguments],
            env=self.env(**env),
            cwd=cwd or self.sockets.parent / "job",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            umask=umask,
            pass_fds=pass_fds,
        )

    def run(self, source: str, *arguments: str, env: Mapping[str, str] = {}) -> "Ended":
        """Run the source as a job that must start warm."""
        ended = self.end(self.start(self.module("job_under_test", source), *arguments, env=env))
        assert "started cold" not in ended.stderr, ended.stderr
        return ended

    def end(self, job: subprocess.Popen[str], said: str = "") -> "Ended":
        output, errors = job.communicate(said, timeout=SECONDS)
        return Ended(job.returncode, output, errors)

    def servers(self) -> set[int]:
        """The process ids of the warm servers; importing ones too, keepers and jobs not."""
        parents = {pid: parent(pid) for pid in self.processes()}
        # A keeper that ended just now has none: it is no server.
        return {pid for pid, started_by in parents.items() if started_by not in {0, *parents}}

    def processes(self) -> set[int]:
        """Servers, keepers, jobs: all that was forked from what the launcher started."""
        mark = f"{launcher.SOCKETS}={self.sockets}".encode()
        found = set()
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0") and b"retraining.warm" in (
                    folder / "cmdline"
                ).read_bytes().split(b"\0"):
                    found.add(int(folder.name))
        return found

    def kill_servers(self) -> None:
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not self.processes())


@dataclass(frozen=True)
class Ended:
    """What a job left."""

    code: int
    stdout: str
    stderr: str


def parent(pid: int) -> int:
    """0 if the process is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
