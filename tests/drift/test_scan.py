import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from retraining.drift.counts import CategoryCounts, NumericCounts
from retraining.drift.profile import build_profile
from retraining.drift.scan import Retyped, Vanished, scan_window
from retraining.errors import MissingColumns
from tests.drift.samples import mixed_columns
from tests.drift.windows import plain


def scan_column(reference: object, current: object) -> object:
    profile = build_profile(pl.DataFrame({"column": reference}), ["column"])
    return scan_window(profile, pl.DataFrame({"column": current})).columns["column"]


def test_a_window_is_counted_the_same_from_memory_file_and_parts(tmp_path: Path) -> None:
    reference, window = mixed_columns(5_000, seed=1), mixed_columns(30_000, seed=2)
    profile = build_profile(reference, reference.columns)
    window.write_parquet(tmp_path / "window.parquet", row_group_size=7_000)
    expected = plain(scan_window(profile, window).columns)
    parts = [window[:1_000].lazy(), window[1_000:]]
    for table in (pl.scan_parquet(tmp_path / "window.parquet"), parts):
        scan = scan_window(profile, table)
        assert scan.rows == 30_000
        assert plain(scan.columns) == expected


def test_only_rows_that_meet_the_condition_are_counted() -> None:
    profile = build_profile(pl.DataFrame({"column": [1, 2, 3]}), ["column"])
    window = pl.DataFrame({"column": [1, 2, 3, 4], "day": [1, 1, 2, 2]})
    scan = scan_window(profile, window.lazy(), where=pl.col("day") == 2)
    counts = scan.columns["column"]
    assert scan.rows == 2
    assert isinstance(counts, NumericCounts)
    assert (counts.minimum, counts.maximum) == (3, 4)


def test_new_values_outside_of_the_reference_are_counted() -> None:
    counts = scan_column([1.0, 2.0, 3.0], [-1e9, 2.0, 1e9, None])
    assert isinstance(counts, NumericCounts)
    assert (counts.present, counts.missing) == (3, 1)
    assert (counts.minimum, counts.maximum) == (-1e9, 1e9)


def test_new_categories_are_counted_and_some_are_named() -> None:
    counts = scan_column(["a", "b"], ["b", "x", "y", None, "x"])
    assert isinstance(counts, CategoryCounts)
    assert counts.counts.tolist() == [0, 1]
    assert (counts.other, counts.missing) == (3, 1)
    assert counts.examples == ("x", "y")


def test_a_column_that_is_gone_has_vanished() -> None:
    profile = build_profile(pl.DataFrame({"here": [1, 2], "gone": ["a", "b"]}), ["here", "gone"])
    scan = scan_window(profile, pl.DataFrame({"here": [1], "new": [2]}))
    assert list(scan.columns) == ["here", "gone"]
    assert scan.columns["gone"] == Vanished()


def test_rows_are_known_even_where_every_column_has_vanished() -> None:
    profile = build_profile(pl.DataFrame({"gone": [1]}), ["gone"])
    assert scan_window(profile, pl.DataFrame({"new": [1, 2, 3]})).rows == 3
    assert scan_window(profile, []).columns == {"gone": Vanished()}


@pytest.mark.parametrize(
    ("reference", "current", "found"),
    [([1, 2], ["1", "2"], "String"), (["1", "2"], [1, 2], "Int64"), ([1, 2], [[1]], "List(Int64)")],
)
def test_a_column_that_cannot_be_counted_any_more_is_retyped(reference, current, found) -> None:
    assert scan_column(reference, current) == Retyped(found)


@pytest.mark.parametrize(
    ("reference", "current"),
    [([True, False], [1.0, None, 0.0]), ([1, 0], [True, None, False]), ([1.5, 2], [None, None, None])],
)
def test_types_that_stand_for_each_other_are_counted(reference: list[object], current: list[object]) -> None:
    counts = scan_column(reference, current)
    assert isinstance(counts, NumericCounts | CategoryCounts)
    assert counts.present + counts.missing == 3


def test_datetimes_need_the_time_column_they_are_measured_from() -> None:
    at = datetime(2024, 3, 1, tzinfo=UTC)
    frame = pl.DataFrame({"at": [at], "since": [at - timedelta(days=1)]})
    profile = build_profile(frame, ["since"], time_column="at")
    with pytest.raises(MissingColumns, match="missing column at"):
        scan_window(profile, frame.drop("at"))


MEASURE = """
import sys
from pathlib import Path
import polars as pl
from retraining.drift.profile import build_profile
from retraining.drift.scan import scan_window

file = pl.scan_parquet(sys.argv[1])
profile = build_profile(file.head(10_000).collect(), file.collect_schema().names())
assert scan_window(profile, file).rows == int(sys.argv[2])
# Not getrusage: its figure starts from the memory of the process that started this one.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(status["VmHWM"].split()[0])
"""


def peak_kilobytes(file: Path, rows: int) -> int:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(file), str(rows)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """Four million rows of ten columns are 320 MB in memory; scanning them costs 50 MB more than a tenth."""
    peaks = {}
    for rows in (400_000, 4_000_000):
        row = pl.int_range(rows, dtype=pl.Int64)
        file = tmp_path / f"{rows}.parquet"
        columns = {f"c{part}": (row * (2 * part + 1) % 1_000_003).cast(pl.Float64) for part in range(10)}
        pl.select(**columns).write_parquet(file, row_group_size=100_000)
        peaks[rows] = peak_kilobytes(file, rows)
    assert peaks[4_000_000] - peaks[400_000] < 60_000
