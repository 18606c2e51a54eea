"""A fleet of small models on the real stack: our workers beside the stock process worker.

    python -m benchmarks.fleet             60 jobs with 2 and 4 at a time, 24 of the stock worker: 15 minutes
    python -m benchmarks.fleet --quick     fewer, in some minutes

Both sides share the servers, the code, the file and the kind of model. The stock side is a work pool and a
worker as `prefect work-pool create` and `prefect worker start` make them, with no setting of its own.
Only one worker runs at a time, apart from the latency, where both are idle in turns.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, Literal
from uuid import uuid4

import numpy as np
import polars as pl

from benchmarks import plain_script
from benchmarks.fleet_models import COSTS, FILE, FOLDER, cpu_seconds
from benchmarks.ratio import Line, at_least, at_most, print_lines
from retraining.orchestrator.worker import worker_command
from retraining.stack.home import Home
from retraining.stack.processes import COMPONENT, members
from tests.stack.running import RunningStack, running_stack, stopped
from tests.stack.waiting import until

Side = Literal["ours", "stock"]
SIDES: tuple[Side, Side] = ("ours", "stock")
POOLS: Mapping[Side, str] = {"ours": "retraining", "stock": "stock"}
ROOT = Path(__file__).parents[1]
FIRST_LINE_SECONDS = 1.0
FIRST_LINE_RATIO = 8.0
JOBS_RATIO = 6.0
AROUND_CPU_SECONDS = 1.0
JOB_SECONDS = 120
STOCK_POLL_SECONDS = 10.0
STOCK_SETTINGS = frozenset({"PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_HOME"})
"""What the stock worker is told of Prefect: where it is. All else is as Prefect sets it."""
AWAIT_SECONDS = 1.0
"""How often it is looked whether all jobs have ended; when they did, their states say."""
ROWS = 5_000
FINAL = ["COMPLETED", "CANCELLED", "FAILED", "CRASHED"]
PREFECT = (sys.executable, "-m", "prefect")


@dataclass(frozen=True)
class Fleet:
    """What one side did with its jobs."""

    side: Side
    limit: int
    seconds: float
    """From the first job's creation to the last job's end."""
    jobs: int
    cpu: Mapping[str, float]
    """CPU seconds per job, by who spent them."""

    @property
    def per_minute(self) -> float:
        """Jobs per minute."""
        return 60 * self.jobs / self.seconds


@dataclass
class Measured:
    """Everything that was measured, for the table and the plot; seconds by side."""

    first_line: dict[str, list[float]] = field(default_factory=lambda: {"ours": [], "stock": []})
    small_job: dict[str, list[float]] = field(default_factory=lambda: {"ours": [], "plain script": []})
    fleets: list[Fleet] = field(default_factory=list)

    def fleet(self, side: Side, limit: int) -> Fleet:
        """The fleet of a side with so many jobs at a time."""
        return next(fleet for fleet in self.fleets if (fleet.side, fleet.limit) == (side, limit))


class Bench:
    """Both sides on one stack, whose own worker sleeps."""

    def __init__(self, stack: RunningStack, folder: Path, models: int) -> None:
        self._stack = stack
        self._folder = folder
        self._models = models
        self._mark = Home(stack.home).mark()
        [worker] = stack.pids.workers
        environ = Path(f"/proc/{worker}/environ").read_bytes().decode()
        self._environment = dict(pair.split("=", 1) for pair in environ.split("\0") if pair)
        self._workers = 0

    def prepare(self) -> None:
        """The stock pool, and the deployments of its models and of the flow that tells its first line."""
        subprocess.run(  # noqa: S603 - Prefect's own command
            [*PREFECT, "work-pool", "create", POOLS["stock"], "--type", "process"],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        for number in range(self._models):
            deployment = self._deployment(f"retrain/stock-{number:02}")
            self._stack.ask_prefect("PATCH", f"/deployments/{deployment}", {"work_pool_name": POOLS["stock"]})
        flow_id = self._stack.ask_prefect("POST", "/flows/", {"name": "first-line"})["id"]
        for side, pool in POOLS.items():
            wanted = {
                "name": side,
                "flow_id": flow_id,
                "entrypoint": "benchmarks.first_line.first_line",
                "work_pool_name": pool,
                "pull_steps": [],
            }
            self._stack.ask_prefect("POST", "/deployments/", wanted)

    @contextmanager
    def worker(self, side: Side, limit: int) -> Iterator[int]:
        """A worker of one side that has done a job already; its process id."""
        self._workers += 1
        name = f"{side}-{self._workers}"
        environment = self._environment | {COMPONENT: name}
        if side == "ours":
            command = worker_command(POOLS[side], name, warm_start=True)
            command[command.index("--limit") + 1] = str(limit)
        else:
            started = ["worker", "start", "--pool", POOLS[side], "--type", "process", "--name", name]
            command = [*PREFECT, *started, "--limit", str(limit)]
            environment = {
                name: value
                for name, value in environment.items()
                if name in STOCK_SETTINGS or not name.startswith(("PREFECT_", "OMP_"))
            }
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - a worker
                command, env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=self._folder
            )
        try:
            self.first_line(side)
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            # What it started for all of its jobs leaves when it is gone.
            until(lambda: not members(self._mark, name), 30)

    def first_line(self, side: Side) -> float:
        """Seconds from creating a run of the flow to its first line; the run has ended then."""
        file = self._folder / f"{uuid4()}.txt"
        created = time.time()
        run = self._create(f"first-line/{side}", {"file": str(file)})
        self._await([run])
        return float(file.read_text()) - created

    def fleet(self, side: Side, limit: int, jobs: int) -> Fleet:
        """Retrain so many models, with so many jobs at a time."""
        costs = self._folder / COSTS
        with self.worker(side, limit) as worker:
            before = self._spent(worker)
            earlier = set(costs.iterdir())
            runs = [self._create(f"retrain/{side}-{number:02}") for number in range(jobs)]
            ended = self._await(runs)
            after = self._spent(worker)
        created = min(datetime.fromisoformat(run["created"]) for run in ended)
        last = max(datetime.fromisoformat(run["end_time"]) for run in ended)
        spent = {who: (after[who] - before[who]) / jobs for who in after}
        told = [json.loads(file.read_text()) for file in set(costs.iterdir()) - earlier]
        fit, own, keeper = (sum(job[what] for job in told) / jobs for what in ("fit", "job", "keeper"))
        # A job of the stock worker is its child; of ours the launcher is, and the job is the warm server's.
        process = spent.pop("jobs") + (own + keeper + spent.pop("warm server") if side == "ours" else 0)
        cpu = {"around training": process - fit, "training": fit, **spent}
        return Fleet(side, limit, (last - created).total_seconds(), jobs, cpu)

    def small_job(self) -> tuple[float, float]:
        """Seconds of our whole job, from its creation to its end, and of a plain script."""
        [ended] = self._await([self._create("retrain/ours-00")])
        took = datetime.fromisoformat(ended["end_time"]) - datetime.fromisoformat(ended["created"])
        began = time.perf_counter()
        script = [sys.executable, plain_script.__file__, str(self._folder / FILE)]
        subprocess.run(script, check=True)  # noqa: S603 - our own script
        return took.total_seconds(), time.perf_counter() - began

    def _spent(self, worker: int) -> dict[str, float]:
        """CPU seconds so far, by who has spent them. No job may be under way."""
        [name] = {
            value.decode()
            for key, _, value in (
                pair.partition(b"=") for pair in Path(f"/proc/{worker}/environ").read_bytes().split(b"\0")
            )
            if key.decode() == COMPONENT
        }
        warm = [process for process in members(self._mark, name) if _is_warm_server(process)]
        servers = {
            server: sum(map(cpu_seconds, members(self._mark, server)))
            for server in ("prefect", "mlflow", "api")
        }
        return {
            "jobs": cpu_seconds(worker, children=True),
            "worker": cpu_seconds(worker),
            "warm server": sum(map(cpu_seconds, warm)),
            **servers,
        }

    def _create(self, deployment: str, parameters: Mapping[str, Any] | None = None) -> str:
        path = f"/deployments/{self._deployment(deployment)}/create_flow_run"
        return str(self._stack.ask_prefect("POST", path, {"parameters": parameters or {}})["id"])

    def _deployment(self, name: str) -> str:
        return str(self._stack.ask_prefect("GET", f"/deployments/name/{name}")["id"])

    def _await(self, runs: Sequence[str]) -> list[dict[str, Any]]:
        """The runs, once all of them have completed."""
        chosen = {"flow_runs": {"id": {"any_": list(runs)}, "state": {"type": {"any_": FINAL}}}}
        deadline = time.monotonic() + JOB_SECONDS * len(runs)
        while self._stack.ask_prefect("POST", "/flow_runs/count", chosen) < len(runs):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(runs)} jobs took too long; see {self._folder}")
            time.sleep(AWAIT_SECONDS)
        ended: list[dict[str, Any]] = self._stack.ask_prefect("POST", "/flow_runs/filter", chosen)
        for run in ended:
            if run["state_type"] != "COMPLETED":
                raise RuntimeError(f"{run['name']}: {run['state']['message']}")
        return ended


def _is_warm_server(process: int) -> bool:
    try:
        return b"retraining.warm" in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


@contextmanager
def _bench(models: int) -> Iterator[Bench]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fleet-bench-")))
        (folder / COSTS).mkdir()
        _write_rows(folder / FILE)
        names = [f"benchmarks.fleet_models:{side}_{number:02}" for side in SIDES for number in range(models)]
        environment = {
            "RETRAINING_MODELS": ",".join(names),
            "RETRAINING_WARM_START": "true",
            "PYTHONPATH": str(ROOT),
            FOLDER: str(folder),
        }
        running = stack.enter_context(running_stack(folder / "stack", env=environment))
        bench = Bench(running, folder, models)
        stack.enter_context(stopped(*running.pids.workers))
        bench.prepare()
        yield bench


def _write_rows(file: Path) -> None:
    random = np.random.default_rng(0)
    features = {name: random.normal(size=ROWS) for name in plain_script.COLUMNS}
    chance = 1 / (1 + np.exp(-sum(features.values()) / 2))
    newest = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    frame = pl.DataFrame(features).with_columns(
        pl.Series("label", (random.random(ROWS) < chance).astype(np.int64)),
        pl.Series("at", [newest - timedelta(minutes=ROWS - row) for row in range(ROWS)]),
    )
    frame.write_parquet(file)


def measure(rounds: int, ours: int, stock: int, limits: Sequence[int]) -> Measured:
    """Measure both sides: latencies in so many rounds, fleets of so many jobs."""
    found = Measured()
    with _bench(max(ours, stock)) as bench:
        with bench.worker("ours", 4), bench.worker("stock", 4):
            for turn in range(rounds):
                for side in SIDES:
                    # At another point of the pause between two polls each time, for each side alike.
                    time.sleep((turn + 0.5) / rounds * STOCK_POLL_SECONDS)
                    found.first_line[side].append(bench.first_line(side))
                _show(f"creation to first line: {_shown(found.first_line)}")
            bench.small_job()  # the model's next versions have a champion to be compared with
            for _ in range(rounds):
                for name, seconds in zip(found.small_job, bench.small_job(), strict=True):
                    found.small_job[name].append(seconds)
            _show(f"one small job: {_shown(found.small_job)}")
        for turn, limit in enumerate(limits):
            for side in SIDES if turn % 2 == 0 else SIDES[::-1]:
                fleet = bench.fleet(side, limit, ours if side == "ours" else stock)
                found.fleets.append(fleet)
                _show(f"{fleet}")
    return found


def _show(text: str) -> None:
    print(text, flush=True)


def _shown(samples: Mapping[Any, Sequence[float]]) -> str:
    return ", ".join(f"{name} {median(seconds):.2f} s" for name, seconds in samples.items())


def table_lines(found: Measured, limits: Sequence[int]) -> Iterator[Line]:
    """What was measured beside what should be."""
    ours, stock = (median(found.first_line[side]) for side in SIDES)
    what = "creation to first line of a flow, MLflow, scikit-learn and pandas imported"
    yield at_most(what, ours, FIRST_LINE_SECONDS, "s", found.first_line)
    yield at_least(f"{what}: stock process worker ({stock:.1f} s) / ours", stock / ours, FIRST_LINE_RATIO)
    for limit in limits:
        own, peer = (found.fleet(side, limit) for side in SIDES)
        yield at_least(
            f"{own.jobs} small jobs, {limit} at a time: jobs per minute, ours ({own.per_minute:.1f}) / "
            f"stock process worker ({peer.per_minute:.1f})",
            own.per_minute / peer.per_minute,
            JOBS_RATIO,
        )
    for limit in limits:
        own, peer = (found.fleet(side, limit) for side in SIDES)
        around = own.cpu["around training"], peer.cpu["around training"]
        yield at_most(
            f"CPU seconds of a small job around its training, {limit} at a time (stock: {around[1]:.2f})",
            around[0],
            AROUND_CPU_SECONDS,
            "s",
        )
        others = {who: seconds for who, seconds in own.cpu.items() if who != "around training"}
        spent = ", ".join(f"{who} {seconds:.2f}" for who, seconds in others.items())
        yield Line(f"CPU seconds per small job elsewhere, {limit} at a time", spent)
    job, script = (median(seconds) for seconds in found.small_job.values())
    yield Line(
        "a small job from its creation to its end / a plain script that reads and fits the same",
        f"{job / script:.2f} x ({job:.2f} s / {script:.2f} s)",
        samples=found.small_job,
    )


def lines(arguments: Sequence[str] = ()) -> Iterator[Line]:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, 24 jobs, 8 of the stock worker")
    chosen = parser.parse_args(arguments)
    limits = (4,) if chosen.quick else (2, 4)
    rounds, ours, stock = (5, 24, 8) if chosen.quick else (9, 60, 24)
    yield from table_lines(measure(rounds, ours, stock, limits), limits)


if __name__ == "__main__":
    print_lines([*lines(sys.argv[1:])])
