"""The model of the benchmark of large data, and the same as a plain script: `training_model.py FILE`.

The script is what one writes for a single time: read the file, set the newest fifth apart, fit. The job reads
the same file, fits the same estimator on the same rows, and does all that a job does besides.
"""

import os
import sys
from typing import Any

FILE = "RETRAINING_BENCHMARK_FILE"
NUMBERS = (*(f"x{number}" for number in range(14)), "n0", "n1")
CATEGORIES = {"c0": 5, "c1": 12, "c2": 50, "c3": 200}
FEATURES = (*NUMBERS, *CATEGORIES)
HOLDOUT = 0.2
BASE_BYTES = 700 * 1024 * 1024
ROW_BYTES = 450


def memory_bound(rows: int) -> int:
    """Bytes that a job on so many rows may hold: for an interpreter with all imports, and for each row."""
    return BASE_BYTES + ROW_BYTES * rows


def make_estimator() -> Any:
    """The estimator of both sides, not fitted."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(early_stopping=False, random_state=0)


def peak_bytes() -> int:
    """The most memory that this process has held."""
    with open("/proc/self/status") as status:  # noqa: PTH123 - the script has no imports to spare
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def main() -> None:
    """Read and fit."""
    import pandas as pd

    frame = pd.read_parquet(sys.argv[1])
    train = frame[frame["at"] < frame["at"].quantile(1 - HOLDOUT)]
    make_estimator().fit(train[list(FEATURES)], train["label"])
    print(peak_bytes())


def __getattr__(name: str) -> Any:
    """`large`: made when it is asked for, so that the script imports nothing of ours."""
    if name != "large":
        raise AttributeError(name)
    import polars as pl

    from retraining import ModelSpec
    from retraining.catalog.policy import TimeHoldout
    from retraining.catalog.resources import Resources
    from retraining.sources.parquet import ParquetSource

    file = os.environ[FILE]
    rows = pl.scan_parquet(file).select(pl.len()).collect().item()
    return ModelSpec(
        name="large",
        task="binary",
        source=ParquetSource(file),
        label="label",
        features=FEATURES,
        time_column="at",
        holdout=TimeHoldout(fraction=HOLDOUT),
        estimator=lambda _: make_estimator(),
        metric="roc_auc",
        compact_features=True,
        resources=Resources(memory=memory_bound(rows)),
    )


if __name__ == "__main__":
    main()
