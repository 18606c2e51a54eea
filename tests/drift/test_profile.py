from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from retraining.drift import profile as profiles
from retraining.drift.bins import MAX_CATEGORIES, CategoryBins, NumericBins
from retraining.drift.counts import CategoryCounts, NumericCounts
from retraining.drift.profile import build_profile
from retraining.errors import DataProblem, MissingColumns, WrongColumnType
from tests.drift.samples import mixed_columns
from tests.drift.windows import plain


def numeric(values: object) -> NumericCounts:
    counts = build_profile(pl.DataFrame({"column": values}), ["column"]).columns["column"].counts
    assert isinstance(counts, NumericCounts)
    return counts


def test_numbers_are_counted_with_their_moments() -> None:
    values = np.random.default_rng(1).normal(1e6, 3, 10_000)
    counts = numeric(values)
    assert counts.present == counts.counts.sum() == 10_000
    assert (counts.minimum, counts.maximum) == (values.min(), values.max())
    assert counts.mean == pytest.approx(values.mean(), rel=1e-12)
    assert counts.std == pytest.approx(values.std(), rel=1e-9)
    assert not counts.integers
    assert numeric([1, 2, 3]).integers


def test_moments_are_those_of_all_batches_together() -> None:
    parts = [pl.DataFrame({"column": values}) for values in ([1.0, 2.0], [1e6, 1e6 + 1, 1e6 + 2], [None])]
    counts = build_profile(parts, ["column"]).columns["column"].counts
    together = np.array([1.0, 2.0, 1e6, 1e6 + 1, 1e6 + 2])
    assert isinstance(counts, NumericCounts)
    assert counts.mean == pytest.approx(together.mean())
    assert counts.std == pytest.approx(together.std())
    assert counts.missing == 1


@pytest.mark.parametrize("nothing", [None, float("nan"), float("inf"), -float("inf"), 1.7976931348623157e308])
def test_what_is_no_number_is_missing(nothing: float | None) -> None:
    counts = numeric([1.0, nothing, 2.0, nothing])
    assert counts.missing == 2
    assert counts.present == 2
    assert (counts.minimum, counts.maximum, counts.mean) == (1.0, 2.0, 1.5)


@pytest.mark.parametrize("dtype", [pl.Float64, pl.Int64, pl.String, pl.Boolean, pl.Datetime, pl.Null])
def test_a_column_without_values_is_all_missing(dtype: pl.DataType) -> None:
    column = build_profile(pl.DataFrame({"column": pl.Series([None] * 50, dtype=dtype)}), ["column"]).columns[
        "column"
    ]
    assert column.counts.missing == 50
    assert column.counts.present == 0


def test_few_values_are_known_even_where_most_are_missing() -> None:
    column = build_profile(pl.DataFrame({"column": [None] * 1_000 + [3, 5]}), ["column"]).columns["column"]
    assert isinstance(column.bins, NumericBins)
    assert column.bins.values == (3.0, 5.0)


def test_categories_are_counted_the_most_frequent_first() -> None:
    frame = pl.DataFrame({"column": ["b", "a", None, "b", "c", "a", "b"]})
    column = build_profile(frame, ["column"]).columns["column"]
    assert column.bins == CategoryBins(("b", "a", "c"), 3)
    assert isinstance(column.counts, CategoryCounts)
    assert column.counts.counts.tolist() == [3, 2, 1]
    assert (column.counts.other, column.counts.missing) == (0, 1)


def test_rare_categories_beyond_the_limit_are_counted_together() -> None:
    many = [f"rare {position}" for position in range(2 * MAX_CATEGORIES)]
    column = build_profile(pl.DataFrame({"column": ["often"] * 50 + many}), ["column"]).columns["column"]
    assert isinstance(column.bins, CategoryBins)
    assert isinstance(column.counts, CategoryCounts)
    assert len(column.bins.categories) == MAX_CATEGORIES
    assert column.bins.categories[0] == "often"
    assert column.bins.distinct == 2 * MAX_CATEGORIES + 1
    assert not column.bins.complete
    assert column.counts.other == MAX_CATEGORIES + 1


def test_frequent_categories_survive_more_candidates_than_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Identifiers pass by in great number; what is frequent all along is found, and counted exactly."""
    monkeypatch.setattr(profiles, "MAX_CANDIDATES", 100)
    parts = [
        pl.DataFrame({"column": [f"id {part}-{row}" for row in range(90)] + ["often"] * 10})
        for part in range(20)
    ]
    column = build_profile(parts, ["column"]).columns["column"]
    assert isinstance(column.bins, CategoryBins)
    assert isinstance(column.counts, CategoryCounts)
    assert column.bins.categories[0] == "often"
    assert column.counts.counts[0] == 200
    assert column.bins.distinct == pytest.approx(1_801, abs=5)


def test_both_booleans_are_known_whether_they_occur_or_not() -> None:
    column = build_profile(pl.DataFrame({"column": [True, True, None]}), ["column"]).columns["column"]
    assert isinstance(column.counts, CategoryCounts)
    assert column.bins == CategoryBins(("false", "true"), 2)
    assert column.counts.counts.tolist() == [0, 2]


def test_datetimes_are_counted_as_seconds_before_the_rows_own_time() -> None:
    at = [datetime(2024, 3, day, tzinfo=UTC) for day in (1, 2, 3)]
    frame = pl.DataFrame({"at": at, "since": [moment - timedelta(days=10) for moment in at]})
    built = build_profile(frame, ["since"], time_column="at")
    counts = built.columns["since"].counts
    assert isinstance(counts, NumericCounts)
    assert counts.minimum == counts.maximum == 864_000
    assert built.columns["since"].kind == "datetime"


@pytest.mark.parametrize("rows", [500, 300_000])
def test_the_same_rows_make_the_same_profile_from_memory_and_from_a_file(rows: int, tmp_path: Path) -> None:
    """300,000 rows are more than one batch, and than the sample from which bins are laid out."""
    frame = mixed_columns(rows, seed=1)
    frame.write_parquet(tmp_path / "rows.parquet")
    from_file = build_profile(pl.scan_parquet(tmp_path / "rows.parquet"), frame.columns)
    from_memory = build_profile(frame, frame.columns)
    for name, column in from_memory.columns.items():
        assert from_file.columns[name].bins == column.bins
    from_both = (
        {name: column.counts for name, column in p.columns.items()} for p in (from_file, from_memory)
    )
    assert plain(next(from_both)) == plain(next(from_both))


def test_only_rows_that_meet_the_condition_are_counted() -> None:
    frame = pl.DataFrame({"column": [1, 2, 3, 4], "day": [date(2024, 1, day) for day in (1, 2, 3, 4)]})
    built = build_profile(frame, ["column"], where=pl.col("day") > date(2024, 1, 1))
    assert built.rows == 3
    assert built.columns["column"].counts.present == 3


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(MissingColumns, match="orders: missing columns age, at; the source has size"):
        build_profile(pl.DataFrame({"size": [1]}), ["size", "age"], time_column="at", source="orders")


def test_a_type_without_a_distribution_is_refused() -> None:
    with pytest.raises(WrongColumnType, match=r"column tags is List\(Int64\), needs a number, a text"):
        build_profile(pl.DataFrame({"tags": [[1]]}), ["tags"])


@pytest.mark.parametrize("table", [pl.DataFrame({"column": []}), [pl.DataFrame({"column": [1]})[:0]]])
def test_a_reference_without_rows_is_refused(table: object) -> None:
    with pytest.raises(DataProblem, match="no rows"):
        build_profile(table, ["column"])  # type: ignore[arg-type]
