"""Large data: a job beside a plain script that reads the same file and fits the same estimator.

    python -m benchmarks.training             10,000,000 rows x 20 features, about half an hour
    python -m benchmarks.training --quick     1,000,000 rows, in some minutes

Each run of either side is a fresh interpreter, from its start to its end. Ours is the real `retrain` flow
with a real Prefect server and a real MLflow: loading, fingerprint, drift reference, training, evaluation,
registration and promotion, with the model's memory bound on.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from benchmarks import training_model
from benchmarks.ratio import Line, at_most, print_lines
from benchmarks.training_model import CATEGORIES, memory_bound
from tests.servers import mlflow_server, prefect_server

ROWS = 10_000_000
QUICK_ROWS = 1_000_000
TIME_RATIO = 1.2
GIB = 1024**3
ROOT = Path(__file__).parents[1]
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
ROWS_AT_ONCE = 500_000
JOB = """
from flows.retrain import retrain
from benchmarks.training_model import peak_bytes
state = retrain("large", return_state=True)
assert state.is_completed(), state.message
print(peak_bytes())
"""


def write_file(path: Path, rows: int) -> None:
    """A year of rows in order of time: 16 numbers, 4 categories, and a label that depends on some."""
    rng = np.random.default_rng(0)
    step = timedelta(days=365) // rows
    writer: pq.ParquetWriter | None = None
    for start in range(0, rows, ROWS_AT_ONCE):
        table = _rows(rng, start, min(ROWS_AT_ONCE, rows - start), step).to_arrow(
            compat_level=pl.CompatLevel.oldest()
        )
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table.cast(writer.schema), row_group_size=100_000)
    assert writer is not None
    writer.close()


def _rows(rng: np.random.Generator, start: int, rows: int, step: timedelta) -> pl.DataFrame:
    columns: dict[str, pl.Series] = {
        f"x{number}": pl.Series(rng.normal(size=rows).astype(np.float32)) for number in range(14)
    }
    columns["n0"] = pl.Series(rng.integers(0, 100, rows).astype(np.int16))
    columns["n1"] = pl.Series(rng.integers(0, 1_000, rows).astype(np.int16))
    codes = {name: rng.integers(0, count, rows) for name, count in CATEGORIES.items()}
    for name, count in CATEGORIES.items():
        names = np.array([f"value-{code:03}" for code in range(count)])
        columns[name] = pl.Series(names[codes[name]]).cast(pl.Categorical)
    x = [columns[f"x{number}"].to_numpy() for number in range(3)]
    odds = x[0] + x[1] * x[2] + 0.02 * (columns["n0"].to_numpy() - 50.0) + (codes["c0"] == 2)
    microseconds = np.arange(start, start + rows) * (step // timedelta(microseconds=1))
    at = pl.Series(microseconds).cast(pl.Duration("us")) + BEGIN
    return pl.DataFrame({"at": at, **columns, "label": rng.random(rows) < 1 / (1 + np.exp(-odds))})


def _run(command: Sequence[str], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds of a fresh interpreter, and the GiB that it says it has held."""
    began = time.perf_counter()
    said = subprocess.run(  # noqa: S603 - our own scripts
        [sys.executable, *command], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    return time.perf_counter() - began, int(said.stdout.splitlines()[-1]) / GIB


def lines(arguments: Sequence[str] = ()) -> Iterator[Line]:
    """Wall time and memory, both sides in turns."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,000,000 rows, three rounds")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--rounds", type=int)
    chosen = parser.parse_args(arguments)
    rows = chosen.rows or (QUICK_ROWS if chosen.quick else ROWS)
    rounds = chosen.rounds or (3 if chosen.quick else 5)
    with (
        TemporaryDirectory() as folder,
        prefect_server(Path(folder) / "prefect") as prefect_api,
        mlflow_server(Path(folder) / "mlflow") as mlflow_url,
    ):
        file = Path(folder) / "large.parquet"
        write_file(file, rows)
        environment = {
            **os.environ,
            training_model.FILE: str(file),
            "PREFECT_API_URL": prefect_api,
            "PREFECT_LOGGING_TO_CONSOLE_LEVEL": "ERROR",
            "RETRAINING_MLFLOW_URL": mlflow_url,
            "RETRAINING_MODELS": "benchmarks.training_model:large",
        }
        ours, plain = [], []
        for number in range(rounds):
            plain.append(_run((training_model.__file__, str(file)), environment))
            ours.append(_run(("-c", JOB), environment))
            print(
                f"round {number + 1}: script {plain[-1][0]:.1f} s, {plain[-1][1]:.2f} GiB; "
                f"job {ours[-1][0]:.1f} s, {ours[-1][1]:.2f} GiB",
                flush=True,
            )
    what = f"{rows / 1e6:g} million rows x 20 features"
    seconds = {"job": [run[0] for run in ours], "plain script": [run[0] for run in plain]}
    ratio = median(own[0] / other[0] for own, other in zip(ours, plain, strict=True))
    name = f"{what}, job / plain script, wall time"
    if rows >= ROWS:
        yield at_most(name, ratio, TIME_RATIO, samples=seconds)
    else:  # of so few rows the imports are a part, which a warm start has done before
        yield Line(name, f"{ratio:.2f} x", samples=seconds)
    held = median(run[1] for run in ours)
    yield at_most(f"{what}, memory of the job", held, round(memory_bound(rows) / GIB, 2), "GiB")
    yield Line(f"{what}, memory, job / plain script", f"{held / median(run[1] for run in plain):.2f} x")


if __name__ == "__main__":
    print_lines(list(lines(sys.argv[1:])))
