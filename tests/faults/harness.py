"""A stack whose jobs are brought to a stage, a component of which is killed, and what became of the jobs."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from retraining.cli.client import FacadeClient
from retraining.stack.processes import send
from retraining.stack.stack_file import Pids
from tests.faults.holding import FOLDER, Holding
from tests.faults.matrix import OWN, Component, Round, Stage
from tests.faults.models import HELD, TICK
from tests.faults.victims import kill, warm_servers, whole_stack
from tests.stack.running import RunningStack, running_stack
from tests.stack.waiting import until

ROOT = Path(__file__).parents[2]
REACH_SECONDS = 240
"""For a job to get where the harness wants it, on a busy machine."""
BOUND_SECONDS = 240
"""What the product promises: so long after a fault, every job has its truthful final status."""
LOOK_SECONDS = 0.1
FINAL = {"completed", "failed", "cancelled"}
PLACES: dict[Stage, tuple[str, ...]] = {
    "running": ("training",),
    "registering": ("before-version", "after-version"),
    "promoting": ("before-alias", "after-alias"),
    "cancelling": ("cancelling",),
}
T = TypeVar("T")


@dataclass
class Subject:
    """A job at its stage, when the fault comes."""

    stage: Stage
    model: str
    place: str
    worse: bool
    job_id: str = ""
    ahead: str | None = None
    """The job for which it waits."""
    final: dict[str, Any] = field(default_factory=dict)
    """As the facade shows it at its end."""
    seconds: float = 0.0
    """From the fault to its final status, its own and that of the job ahead."""

    @property
    def at_hand(self) -> str:
        """The job that has processes."""
        return self.ahead or self.job_id

    @property
    def ids(self) -> list[str]:
        return [self.ahead, self.job_id] if self.ahead else [self.job_id]


class Harness:
    """The stack through all its lives."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.holding = Holding(folder / "holding").make()
        self.chance = random.Random(seed)
        self._home = folder / "home"
        self._life = ExitStack()
        self.stack = self._start()

    def _start(self) -> RunningStack:
        models = (f"tests.faults.models:{name.replace('-', '_')}" for name in [*HELD, TICK])
        environment = {
            "RETRAINING_MODELS": ",".join(models),
            "RETRAINING_MODELS_PATH": str(ROOT),
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent / "interposed"), str(ROOT)]),
            FOLDER: str(self.holding.folder),
        }
        return self._life.enter_context(running_stack(self._home, env=environment))

    def close(self) -> None:
        self._life.close()

    def restart(self) -> None:
        """Start the stack again on the same home."""
        self._life.close()
        self._life = ExitStack()
        (self._home / "stack.json").unlink(
            missing_ok=True
        )  # of the life before, whoever would clear up is dead
        self.stack = self._start()

    def facade(self) -> FacadeClient:
        return FacadeClient(self.stack.api_url, self.stack.admin_key, patience_seconds=BOUND_SECONDS)

    def start_job(self, model: str, place: str = "", worse: bool = False, ballast: int = 0) -> str:
        with self.facade() as facade:
            wanted = {"hold": place, "worse": worse, "ballast": ballast}
            return str(facade.start_job(model, wanted)["job_id"])

    def job(self, job_id: str) -> dict[str, Any]:
        with self.facade() as facade:
            return facade.job(job_id)

    def run(self, run_id: str) -> dict[str, Any]:
        """The run in Prefect, once that answers."""
        return patiently(lambda: dict(self.stack.ask_prefect("GET", f"/flow_runs/{run_id}")))

    def registered(self, model: str) -> dict[str, Any]:
        """The model in MLflow, once that answers."""

        def ask() -> dict[str, Any]:
            answer = httpx.get(
                f"{self.stack.mlflow_url}/api/2.0/mlflow/registered-models/get",
                params={"name": model},
                auth=self.stack.password,
                timeout=60,
                trust_env=False,
            )
            return dict(answer.raise_for_status().json()["registered_model"])

        return patiently(ask)

    @contextmanager
    def held(self, one: Round) -> Iterator[list[Subject]]:
        """A job of a model of its own at each stage of the round; all go on after the block."""
        models = self.chance.sample(HELD, len(one.stages))
        subjects = [self._subject(stage, model) for stage, model in zip(one.stages, models, strict=True)]
        stopped: set[int] = set()
        try:
            for subject in subjects:
                self._send(subject)
            for subject in subjects:
                self._wait_for(subject)
            # What holds up a whole component comes last: others would not get where they belong.
            by_stage = {subject.stage: subject for subject in subjects}
            if "submitting" in by_stage:
                stopped = self._hold_submitting(by_stage["submitting"])
            if "pending" in by_stage:
                self._hold_pending(by_stage["pending"])
            yield subjects
        finally:
            send(stopped, signal.SIGCONT)
            for subject in subjects:
                for job_id in filter(None, subject.ids):
                    self.holding.let_go(job_id)
            self.holding.open_worker()

    def _subject(self, stage: Stage, model: str) -> Subject:
        place = self.chance.choice(PLACES.get(stage, ("",)))
        # One that is worse is not promoted, and so never at that stage.
        worse = stage != "promoting" and self.chance.random() < 0.5
        return Subject(stage, model, place, worse)

    def _send(self, subject: Subject) -> None:
        """Start a job that gets to its stage by itself."""
        if subject.stage == "waiting":
            subject.ahead = self.start_job(subject.model, "training")
        if subject.stage not in {"pending", "submitting"}:
            subject.job_id = self.start_job(subject.model, subject.place, subject.worse)

    def _wait_for(self, subject: Subject) -> None:
        match subject.stage:
            case "waiting":
                assert subject.ahead is not None
                self._reached(subject.ahead, "training")
                until(lambda: self.run(subject.job_id)["state_name"] != "Running", REACH_SECONDS)
            case "cancelling":
                self._reached(subject.job_id, "training")
                with self.facade() as facade:
                    facade.cancel_job(subject.job_id)
                self._reached(subject.job_id, "cancelling")
            case "running" | "registering" | "promoting":
                self._reached(subject.job_id, subject.place)

    def _reached(self, job_id: str, place: str) -> None:
        until(lambda: self.holding.reached(job_id, place), REACH_SECONDS)

    def _hold_submitting(self, subject: Subject) -> set[int]:
        """Its launcher waits for a warm server that does not answer; those that were stopped."""
        stopped: set[int] = set()
        until(lambda: warm_servers(self.stack), REACH_SECONDS)
        while left := warm_servers(self.stack) - stopped:
            for pid in left:
                os.kill(pid, signal.SIGSTOP)
            stopped |= left
        subject.job_id = self.start_job(subject.model, worse=subject.worse)
        until(lambda: self.run(subject.job_id)["infrastructure_pid"], REACH_SECONDS)
        assert self.run(subject.job_id)["state_type"] == "PENDING", "it was not held"
        return stopped

    def _hold_pending(self, subject: Subject) -> None:
        self.holding.close_worker()
        subject.job_id = self.start_job(subject.model, worse=subject.worse)
        self.holding.hold_in_worker(subject.job_id)
        self._reached(subject.job_id, "pending")

    def inject(self, one: Round, subjects: list[Subject]) -> None:
        """Kill the component, with all jobs at their stages."""
        before = self.stack.pids
        match one.component:
            case "engine":
                kill(self._engine(subject) for subject in subjects)
            case "launcher":
                kill(int(self.run(subject.at_hand)["infrastructure_pid"]) for subject in subjects)
            case "warm":
                kill(warm_servers(self.stack))
            case "stack":
                kill(whole_stack(self.stack))
            case component:
                kill([_process(before, component)])

    def _engine(self, subject: Subject) -> int:
        place = "training" if subject.ahead else subject.place
        pid = self.holding.reached(subject.at_hand, place)
        assert pid is not None
        return pid

    def is_whole(self, component: Component, before: Pids) -> bool:
        """Whether a component that was killed is there again."""
        if component in OWN | {"warm", "stack"}:
            return True
        try:
            return _process(self.stack.pids, component) != _process(before, component)
        except Exception:  # the file is being replaced
            return False

    def follow(self, subjects: list[Subject], since: float) -> None:
        """Wait until each job has its final status, or the bound is over."""
        waiting = {job_id: subject for subject in subjects for job_id in subject.ids}
        while waiting and time.monotonic() - since < BOUND_SECONDS:
            for job_id, subject in list(waiting.items()):
                found = self.job(job_id)
                if found["status"] in FINAL:
                    del waiting[job_id]
                    subject.seconds = max(subject.seconds, time.monotonic() - since)
                    if job_id == subject.job_id:
                        subject.final = found
            time.sleep(LOOK_SECONDS)
        for subject in waiting.values():
            subject.seconds = time.monotonic() - since


def _process(pids: Pids, component: str) -> int:
    if component == "worker":
        return pids.workers[0]
    return int(getattr(pids, {"facade": "api"}.get(component, component)))


def patiently(ask: Callable[[], T], seconds: float = BOUND_SECONDS) -> T:
    """The answer of a server that may be starting again."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except (httpx.TransportError, httpx.HTTPStatusError) as problem:
            final = isinstance(problem, httpx.HTTPStatusError) and problem.response.status_code < 500
            if final or time.monotonic() > deadline:
                raise
        time.sleep(LOOK_SECONDS)
