"""Where a job waits until the harness lets it go on: files in one folder, no clocks.

Used by the stack's own processes (the suite's models, the worker) and by the harness. Standard library only:
the worker imports it before anything else.
"""

import os
import time
from pathlib import Path

FOLDER = "RETRAINING_TESTS_HOLDING"
"""Environment variable of a stack whose jobs can be held."""
RUN_ID = "PREFECT__FLOW_RUN_ID"
LONGEST_SECONDS = 600
"""A harness that died holds nobody for ever."""


class Holding:
    """The folder: who has reached which stage, who may go on, and which trainings have begun."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.worker_gate = folder / "worker-gate"
        """While there is one, the worker starts no process for the job that it names."""
        self.starts = folder / "starts"
        """A line with the job's id for every training that began."""

    @classmethod
    def of_environment(cls) -> "Holding | None":
        folder = os.environ.get(FOLDER)
        return None if folder is None else cls(Path(folder))

    def make(self) -> "Holding":
        for name in ("reached", "go"):
            (self.folder / name).mkdir(parents=True)
        self.starts.touch()
        return self

    def wait(self, run_id: str, stage: str) -> None:
        """Tell that this process, on behalf of the run, is at the stage; return when it may go on."""
        draft = self.folder / f"draft-{run_id}-{stage}"
        draft.write_text(str(os.getpid()))
        draft.replace(self.folder / "reached" / f"{run_id}.{stage}")
        deadline = time.monotonic() + LONGEST_SECONDS
        while not (self.folder / "go" / run_id).exists() and time.monotonic() < deadline:
            time.sleep(0.02)

    def reached(self, run_id: str, stage: str) -> int | None:
        """The process that waits there on behalf of the run."""
        try:
            return int((self.folder / "reached" / f"{run_id}.{stage}").read_text())
        except FileNotFoundError:
            return None

    def let_go(self, run_id: str) -> None:
        (self.folder / "go" / run_id).touch()

    def began(self, run_id: str) -> None:
        """A training begins. One write, so that lines of two jobs never mix."""
        with self.starts.open("ab", buffering=0) as file:
            file.write(f"{run_id}\n".encode())

    def trainings(self) -> list[str]:
        return self.starts.read_text().splitlines()

    def close_worker(self) -> None:
        """From now on the worker waits before it starts a process, until it knows for which job."""
        self.worker_gate.write_text("")

    def hold_in_worker(self, run_id: str) -> None:
        draft = self.worker_gate.with_suffix(".draft")
        draft.write_text(run_id)
        draft.replace(self.worker_gate)

    def open_worker(self) -> None:
        self.worker_gate.unlink(missing_ok=True)

    def at_worker_gate(self, run_id: str) -> None:
        """For the worker: wait here if the process is that of the job that is to be held."""
        deadline = time.monotonic() + LONGEST_SECONDS
        while time.monotonic() < deadline:
            try:
                held = self.worker_gate.read_text()
            except FileNotFoundError:
                return
            if held == run_id:
                self.wait(run_id, "pending")
                return
            if held:
                return
            time.sleep(0.02)
