"""The drift check beside its peers: speed, memory, false alarms and power.

    python -m benchmarks.drift                     everything, which takes about half an hour
    python -m benchmarks.drift --pairs 100         fewer pairs of samples
    python -m benchmarks.drift --nannyml-python P  also NannyML, installed with statsmodels for interpreter P

Ratios are of medians of the same run, the ways taking turns, for other programs slow all of them alike.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.stats import binom

from benchmarks.ratio import Line, at_least, at_most, print_lines
from retraining.drift.profile import build_profile
from retraining.drift.profile_format import dump_profile
from retraining.drift.scan import scan_window
from retraining.drift.verdict import DriftSettings, check_drift
from tests.drift.samples import mixed_columns

BOUNDED_ROWS = 1_000_000
READING = 3.0
"""How many times the time of merely reading a drift check may take."""
FASTER = {"evidently": 100.0, "nannyml": 30.0}
"""How many times faster than these it should be."""
MEGABYTES = 256.0
POWER = 0.99
WORKER = Path(__file__).with_name("drift_worker.py")
ROOT = WORKER.parents[1]
PART = 1_000_000
QUIET = {"DO_NOT_TRACK": "1", "PYTHONWARNINGS": "ignore", "POLARS_VERBOSE": "0"}


class Measured(NamedTuple):
    """Seconds of each run after the first, and the peak memory."""

    seconds: list[float]
    megabytes: float

    @property
    def median(self) -> float:
        """The median of the runs."""
        return statistics.median(self.seconds)


def twenty_columns(rows: int, seed: int, *, drifted: bool) -> pl.DataFrame:
    """15 numeric and 5 categorical columns, 8 of them moved if `drifted`, in order of time (`at`)."""
    random = np.random.default_rng(seed)
    columns: dict[str, pl.Series] = {}
    for position in range(15):
        by = 0.5 if drifted and position < 6 else 0.0
        values = (
            lambda by: random.normal(by, 1, rows),
            lambda by: random.lognormal(by, 1, rows),
            lambda by: random.exponential(1 + by, rows),
            lambda by: random.uniform(by, 1 + by, rows),
            lambda by: random.poisson(5 + 2 * by, rows),
        )[position % 5](by)
        columns[f"numeric_{position:02}"] = pl.Series(values)
    for position, count in enumerate((3, 5, 10, 30, 100)):
        shares = 1 / np.arange(1, count + 1)
        if drifted and position < 2:
            shares = shares[::-1]
        names = np.array([f"category {number}" for number in range(count)])
        columns[f"categorical_{count}"] = pl.Series(
            names[random.choice(count, rows, p=shares / shares.sum())]
        )
    columns["at"] = pl.Series(np.arange(seed, seed + rows)).cast(pl.Datetime("ms")).cast(pl.Datetime("us"))
    return pl.DataFrame(columns).with_columns(pl.col("at").dt.offset_by("30y"))


def write_columns(file: Path, rows: int, seed: int, row_group: int = 131_072) -> None:
    """A Parquet file of drifted columns, made in parts so that millions of rows fit into memory."""
    parts = [
        twenty_columns(min(PART, rows - start), seed + start, drifted=True).lazy()
        for start in range(0, rows, PART)
    ]
    pl.concat(parts).sink_parquet(file, row_group_size=row_group)


def measure(way: str, files: Sequence[Path], runs: int, python: str = sys.executable) -> Measured:
    """Run a way `runs` times in a process of its own; the first run warms up if there are more."""
    done = subprocess.run(  # noqa: S603 - our own worker
        [python, str(WORKER), way, *map(str, files), str(runs)],
        env=os.environ | QUIET | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    return Measured(answer["seconds"][1:] or answer["seconds"], answer["megabytes"])


def store_profile(reference: pl.DataFrame, file: Path) -> None:
    """What the check starts from: made when the champion was trained, not when it is checked."""
    file.write_bytes(dump_profile(build_profile(reference, reference.drop("at").columns)))


def speed(folder: Path, rows: int, rounds: int, peers: dict[str, str]) -> Iterator[Line]:
    """How long each way takes for `rows`, beside merely reading. `peers` run once, by their Python."""
    files = reference, current, profile = (
        folder / "reference.parquet",
        folder / "current.parquet",
        folder / "profile",
    )
    before = twenty_columns(rows, seed=1, drifted=False)
    before.write_parquet(reference)
    store_profile(before, profile)
    write_columns(current, rows, seed=2)
    turns: dict[str, list[Measured]] = {"read_only": [], "ours": []}
    for _ in range(rounds):
        for way, measured in turns.items():
            measured.append(measure(way, files, runs=4))
    turns |= {way: [measure(way, files, runs=1, python=python)] for way, python in peers.items()}
    seconds = {way: statistics.median(turn.median for turn in measured) for way, measured in turns.items()}
    size = profile.stat().st_size / 1e3
    print(f"\n{rows:,} rows x 20 columns, from Parquet to verdict; the profile has {size:.0f} kB")
    print(f"{'':12}{'seconds':>10}{'x reading':>12}{'x ours':>10}{'peak MB':>10}")
    for way, measured in turns.items():
        own, peak = seconds[way], max(turn.megabytes for turn in measured)
        ratios = f"{own / seconds['read_only']:>12.2f}{own / seconds['ours']:>10.1f}"
        print(f"{way:12}{own:>10.3f}{ratios}{peak:>10.0f}", flush=True)
    of = f"drift check of {rows:,} rows x 20 columns"
    reading = f"{of}: time / time of merely reading them with polars"
    lines = [at_most(reading, seconds["ours"] / seconds["read_only"], READING)]
    lines += [
        at_least(f"{of}: {way}'s time / ours", seconds[way] / seconds["ours"], FASTER[way]) for way in peers
    ]
    # Small files cost what starting costs: the bounds are for large ones.
    yield from lines if rows >= BOUNDED_ROWS else [replace(line, bound="-", kept=None) for line in lines]


def memory(folder: Path, rows: int) -> Iterator[Line]:
    """The peak memory of checking `rows`, in row groups as polars and as pandas write them."""
    profile, current = folder / "profile", folder / "current.parquet"
    store_profile(twenty_columns(100_000, seed=1, drifted=False), profile)
    for writer, row_group in (("polars", 131_072), ("pandas", 1_048_576)):
        write_columns(current, rows, seed=2, row_group=row_group)
        size = current.stat().st_size / 1e6
        print(f"\n{rows:,} rows x 20 columns, {size:.0f} MB in row groups of {row_group:,} ({writer}'s)")
        for way in ("read_only", "ours"):
            measured = measure(way, (current, current, profile), runs=1)
            print(f"{way:12}{measured.median:>10.3f} s{measured.megabytes:>10.0f} MB", flush=True)
        yield at_most(
            f"drift check of {rows:,} rows in {writer}'s row groups: peak memory",
            measured.megabytes,
            MEGABYTES,
            "MB",
        )


def count_alarms(pairs: range, rows: int, shift: float, by_evidently: int) -> dict[str, int]:
    """How many of the pairs fire, by rule. A pair is two samples of 20 mixed columns, the second shifted."""
    fired = dict.fromkeys(("any 0.01", "any 0.05", "half 0.01", "evidently any", "evidently half"), 0)
    for pair in pairs:
        reference, current = mixed_columns(rows, 2 * pair), mixed_columns(rows, 2 * pair + 1, shift)
        profile = build_profile(reference, reference.columns)
        scan = scan_window(profile, current)
        for rate in (0.01, 0.05):
            settings = DriftSettings(false_alarm_rate=rate, drift_share=0.001)
            fired[f"any {rate}"] += check_drift(profile, scan, settings).drifted
        fired["half 0.01"] += check_drift(profile, scan).drifted
        if pair < by_evidently:
            share = _share_by_evidently(reference, current)
            fired["evidently any"] += share > 0
            fired["evidently half"] += share >= 0.5
    return fired


def _share_by_evidently(reference: pl.DataFrame, current: pl.DataFrame) -> float:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    numeric = [name for name in reference.columns if name.startswith("numeric")]
    definition = DataDefinition(
        numerical_columns=numeric,
        categorical_columns=[name for name in reference.columns if name not in numeric],
    )
    datasets = [Dataset.from_pandas(frame.to_pandas(), definition) for frame in (current, reference)]
    count = Report([DataDriftPreset()]).run(*datasets).dict()["metrics"][0]["value"]
    return float(count["share"])


def alarms(pairs: int, by_evidently: int) -> Iterator[Line]:
    """Which share of pairs fires without drift, and with half a standard deviation in half the columns."""
    peers = min(by_evidently, pairs)
    with ProcessPoolExecutor(os.cpu_count() or 1, mp_context=get_context("spawn")) as pool:
        for shift, rows in ((0.0, 500), (0.0, 5_000), (0.0, 50_000), (0.5, 500), (0.5, 5_000)):
            chunks = [range(start, min(start + 10, pairs)) for start in range(0, pairs, 10)]
            answers = [pool.submit(count_alarms, chunk, rows, shift, by_evidently) for chunk in chunks]
            fired = {rule: sum(answer.result()[rule] for answer in answers) for rule in answers[0].result()}
            print(
                f"{rows:,} rows, shift {shift}, {pairs:,} pairs: {fired} (Evidently: of {peers})", flush=True
            )
            yield from _alarm_lines(rows, shift, pairs, fired, peers)


def _alarm_lines(rows: int, shift: float, pairs: int, fired: Mapping[str, int], peers: int) -> Iterator[Line]:
    theirs = f"; Evidently's default {fired['evidently any'] / peers:.0%} of {peers}" if peers else ""
    if not shift:
        for rate in (0.01, 0.05):
            count = fired[f"any {rate}"]
            yield Line(
                f"false alarms of any of 20 columns, {rows:,} rows, false_alarm_rate {rate:g}",
                f"{count / pairs:.2%} of {pairs:,}{theirs}",
                f"<= {rate:.0%}",
                # Within sampling error: so many or more come by chance in one of a hundred such counts.
                kept=bool(binom.sf(count - 1, pairs, rate) > 0.01),
            )
        return
    found = fired["half 0.01"] / pairs
    line = Line(
        f"half a standard deviation in half of 20 columns, {rows:,} rows, found by default",
        f"{found:.2%} of {pairs:,}"
        + (f"; Evidently's default {fired['evidently half'] / peers:.0%}" if peers else ""),
    )
    yield replace(line, bound=">= 99%", kept=found >= POWER) if rows >= 5_000 else line


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="drift-bench-") as name:
        yield Path(name)


def lines(arguments: Sequence[str] = ()) -> Iterator[Line]:
    """What the command line asks for, figure by figure; details are printed on the way."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000_000])
    parser.add_argument(
        "--memory-rows", type=int, default=5_000_000, help="rows of the memory run; 0 for none"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=1_000)
    parser.add_argument("--evidently-pairs", type=int, default=10)
    parser.add_argument("--without-evidently", action="store_true")
    parser.add_argument("--nannyml-python", help="an interpreter with nannyml and statsmodels")
    chosen = parser.parse_args(arguments)
    os.environ.update(QUIET)
    peers = {} if chosen.without_evidently else {"evidently": sys.executable}
    if chosen.nannyml_python:
        peers["nannyml"] = chosen.nannyml_python
    else:
        print("NannyML is not measured: it needs an environment of its own (--nannyml-python)")
    for rows in chosen.rows:
        with _folder() as folder:
            yield from speed(folder, rows, chosen.rounds, peers)
    if chosen.memory_rows:
        with _folder() as folder:
            yield from memory(folder, chosen.memory_rows)
    if chosen.pairs:
        yield from alarms(chosen.pairs, 0 if chosen.without_evidently else chosen.evidently_pairs)


if __name__ == "__main__":
    print_lines([*lines(sys.argv[1:])])
