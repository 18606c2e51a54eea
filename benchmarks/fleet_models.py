"""The fleet: small models that differ in their names alone, attributes like `ours_07` and `stock_07`.

`FOLDER` in the environment names the folder of their file, where each training also leaves what it and its
job have cost.
"""

import atexit
import json
import os
import resource
import sys
import time
from functools import cache
from pathlib import Path

from benchmarks.plain_script import COLUMNS, make_estimator
from retraining.catalog.spec import ModelSpec, TrainingInput
from retraining.sources.parquet import ParquetSource

FOLDER = "BENCHMARK_FLEET_FOLDER"
FILE = "rows.parquet"
COSTS = "costs"
TICKS = os.sysconf("SC_CLK_TCK")


def _train(given: TrainingInput) -> object:
    began = time.process_time()
    fitted = make_estimator().fit(given.features, given.labels)
    _report_at_exit(time.process_time() - began)
    return fitted


def _report_at_exit(fit_seconds: float) -> None:
    """Write down what this job has cost, in CPU seconds, as the last thing that it does.

    A worker can be asked what its children cost once they have ended. A job that started warm is no child of
    its worker: it tells itself, for its keeper too.
    """
    costs = Path(os.environ[FOLDER]) / COSTS
    end = os._exit

    def report() -> None:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        own = sum(usage.ru_utime + usage.ru_stime for usage in used)
        entry = {"fit": fit_seconds, "job": own, "keeper": cpu_seconds(os.getppid())}
        (costs / f"{os.getpid()}-{time.time_ns()}.json").write_text(json.dumps(entry))

    def report_and_end(code: int) -> None:
        report()
        end(code)

    if "retraining.warm.exit" in sys.modules:
        os._exit = report_and_end  # type: ignore[assignment]  # how a warm job ends: after all exit handlers
    else:
        atexit.register(report)


def cpu_seconds(process: int, *, children: bool = False) -> float:
    """What a living process has cost so far, or its children that have ended, as Linux tells in /proc."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[13:15] if children else fields[11:13])) / TICKS


@cache
def _model(attribute: str) -> ModelSpec:
    return ModelSpec(
        name=attribute.replace("_", "-"),
        task="binary",
        source=ParquetSource(f"{os.environ[FOLDER]}/{FILE}"),
        label="label",
        features=COLUMNS,
        time_column="at",
        train=_train,
        metric="roc_auc",
        report=("log_loss",),
    )


def __getattr__(attribute: str) -> ModelSpec:
    if not attribute.startswith(("ours_", "stock_")):
        raise AttributeError(attribute)
    return _model(attribute)
