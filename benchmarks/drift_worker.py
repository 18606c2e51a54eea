"""One way of checking one file for drift, measured in a process of its own.

`python benchmarks/drift_worker.py WAY REFERENCE CURRENT PROFILE RUNS` prints the seconds from Parquet to
verdict, imports apart, and the peak memory. Each way imports only what it needs, so that another interpreter
can run it.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path


def read_only(_reference: str, current: str, _profile: str) -> Callable[[], object]:
    """Merely read every feature once with polars: what no check can do without."""
    import polars as pl

    def run() -> object:
        rows = pl.scan_parquet(current)
        columns = []
        for name, dtype in rows.drop("at").collect_schema().items():
            value = pl.col(name)
            columns += [value.min().alias(f"{name} min"), value.max().alias(f"{name} max")]
            if dtype.is_numeric():
                columns.append(value.sum().alias(f"{name} sum"))
        return rows.select(columns).collect(engine="streaming")

    return run


def ours(_reference: str, current: str, profile: str) -> Callable[[], object]:
    """What the monitor does, from source to finding: load the profile, find the window, scan, decide."""
    from datetime import UTC, datetime, timedelta
    from typing import Any, cast

    import polars as pl

    from retraining.catalog.spec import ModelSpec
    from retraining.drift.profile_format import FILE_NAME, load_profile
    from retraining.monitoring.drift_check import check_drift
    from retraining.monitoring.reference import FACTS_FILE
    from retraining.registry.values import ModelVersion, Registry
    from retraining.sources.parquet import ParquetSource
    from retraining.triggers.condition import DriftCondition

    rows = pl.scan_parquet(current).select(pl.len()).collect().item()
    start = datetime(2000, 1, 1, tzinfo=UTC)
    end = start + timedelta(milliseconds=rows + 2)  # one row a millisecond
    champion = ModelVersion(
        *("benchmark", "1", start, None, None, None, None),
        {},
        {},
        fingerprint=None,
        holdout=None,
        decision=None,
    )
    facts = f'{{"start": "{start.isoformat()}", "end": "{start.isoformat()}", "rows": 1}}'

    class Stored:
        """A registry that has answered."""

        def find_champion(self, _model_name: str) -> ModelVersion:
            return champion

        def read_file(self, _version: ModelVersion, path: str) -> bytes:
            return {FILE_NAME: Path(profile).read_bytes(), FACTS_FILE: facts.encode()}[path]

    def unused(_parameters: Any) -> Any:
        raise AssertionError("a check trains nothing")

    spec = ModelSpec(
        name="benchmark",
        task="regression",
        source=ParquetSource(current),
        label="label",
        features=tuple(load_profile(Path(profile).read_bytes()).columns),
        time_column="at",
        metric="mae",
        estimator=unused,
    )

    def run() -> object:
        found = check_drift(spec, DriftCondition(), cast("Registry", Stored()), end)
        if found.rows != rows:
            raise RuntimeError(f"{found.rows} of {rows} rows: {found.reason}")
        return found

    return run


def evidently(reference: str, current: str, _profile: str) -> Callable[[], object]:
    """Evidently's default preset on all rows."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    def run() -> object:
        frames = [pd.read_parquet(file).drop(columns="at") for file in (current, reference)]
        numeric = list(frames[0].select_dtypes("number"))
        definition = DataDefinition(
            numerical_columns=numeric,
            categorical_columns=[column for column in frames[0] if column not in numeric],
        )
        datasets = [Dataset.from_pandas(frame, definition) for frame in frames]
        return Report([DataDriftPreset()]).run(*datasets).dict()

    return run


def nannyml(reference: str, current: str, _profile: str) -> Callable[[], object]:
    """NannyML's univariate calculator with its default methods and chunks."""
    import nannyml as nml  # type: ignore[import-not-found]  # lives in an environment of its own
    import pandas as pd

    def run() -> object:
        before, after = pd.read_parquet(reference), pd.read_parquet(current)
        calculator = nml.UnivariateDriftCalculator(column_names=list(before.columns.drop("at")))
        return calculator.fit(before).calculate(after).to_df()

    return run


WAYS = {way.__name__: way for way in (read_only, ours, evidently, nannyml)}


def peak_megabytes() -> float:
    """The largest resident memory of this process."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage starts from the memory of the process that started this one
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1024 * (1024 if sys.platform == "darwin" else 1)
    )


def main() -> None:
    """Run the way that the command line names."""
    way, reference, current, profile, runs = sys.argv[1:]
    run = WAYS[way](reference, current, profile)
    seconds = []
    for _ in range(int(runs)):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds, "megabytes": peak_megabytes()}))


if __name__ == "__main__":
    main()
