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
    """Merely read every column once with polars: what no check can do without."""
    import polars as pl

    def run() -> object:
        rows = pl.scan_parquet(current)
        columns = []
        for name, dtype in rows.collect_schema().items():
            value = pl.col(name)
            columns += [value.min().alias(f"{name} min"), value.max().alias(f"{name} max")]
            if dtype.is_numeric():
                columns.append(value.sum().alias(f"{name} sum"))
        return rows.select(columns).collect(engine="streaming")

    return run


def ours(_reference: str, current: str, profile: str) -> Callable[[], object]:
    """Load the stored profile, scan the file, decide."""
    import polars as pl

    from retraining.drift.profile_format import load_profile
    from retraining.drift.scan import scan_window
    from retraining.drift.verdict import check_drift

    def run() -> object:
        reference = load_profile(Path(profile).read_bytes())
        return check_drift(reference, scan_window(reference, pl.scan_parquet(current)))

    return run


def evidently(reference: str, current: str, _profile: str) -> Callable[[], object]:
    """Evidently's default preset on all rows."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    def run() -> object:
        frames = [pd.read_parquet(file) for file in (current, reference)]
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
        calculator = nml.UnivariateDriftCalculator(column_names=list(before))
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
