from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from retraining.drift.profile import build_profile
from retraining.drift.scan import scan_window
from retraining.drift.verdict import DriftSettings, check_drift
from retraining.errors import MissingColumns
from tests.drift.windows import check, check_column

RANDOM = np.random.default_rng(1)


def columns(rows: int, **shifts: float) -> pl.DataFrame:
    """Normal columns by name, each with its shift."""
    return pl.DataFrame({name: RANDOM.normal(shift, 1, rows) for name, shift in shifts.items()})


REFERENCE = columns(5_000, a=0, b=0, c=0, d=0)


def test_nothing_moved() -> None:
    verdict = check(REFERENCE, columns(5_000, a=0, b=0, c=0, d=0))
    assert not verdict.drifted
    assert verdict.share == 0
    assert verdict.rows == 5_000
    assert verdict.reason == "none of 4 columns drifted"
    assert [column.column for column in verdict.columns] == ["a", "b", "c", "d"]


def test_half_of_the_columns_are_enough_by_default() -> None:
    verdict = check(REFERENCE, columns(5_000, a=1, b=0, c=-1, d=0))
    assert verdict.drifted
    assert verdict.share == 0.5
    assert verdict.reason == "2 of 4 columns drifted (50%, needs 50%): a, c"


def test_fewer_than_half_are_not() -> None:
    verdict = check(REFERENCE, columns(5_000, a=1, b=0, c=0, d=0))
    assert not verdict.drifted
    assert verdict.reason == "1 of 4 columns drifted (25%, needs 50%): a"


@pytest.mark.parametrize(
    ("settings", "drifted"),
    [
        ({"columns": ("a",)}, True),
        ({"columns": ("a", "b", "c")}, True),  # one of the chosen ones is enough
        ({"columns": ("b", "c")}, False),
        ({"columns": ("a", "b", "c"), "drift_share": 0.5}, False),
        ({"drift_share": 0.25}, True),
        ({"drift_share": 0.26}, False),
        ({"drift_share": 0.01}, True),
    ],
)
def test_the_share_and_the_chosen_columns_decide(settings: dict[str, object], drifted: bool) -> None:
    verdict = check(REFERENCE, columns(5_000, a=1, b=0, c=0, d=0), **settings)
    assert verdict.drifted is drifted


def test_only_chosen_columns_are_judged() -> None:
    verdict = check(REFERENCE, columns(5_000, a=1, b=1, c=1, d=0), columns=("d", "a"))
    assert [column.column for column in verdict.columns] == ["d", "a"]
    assert verdict.reason == "1 of 2 columns drifted (50%, one is enough): a"


def test_a_column_that_the_profile_lacks_is_named() -> None:
    with pytest.raises(MissingColumns, match="the reference profile: missing column nowhere"):
        check(REFERENCE, REFERENCE, columns=("a", "nowhere"))


def test_a_small_window_is_not_judged() -> None:
    verdict = check(REFERENCE, columns(99, a=9, b=9, c=9, d=9))
    assert not verdict.drifted
    assert verdict.reason == "not judged: 99 rows, needs 100"
    assert check(REFERENCE, columns(99, a=9, b=9, c=9, d=9), min_rows=50).drifted


@pytest.mark.parametrize(
    "wrong",
    [{"false_alarm_rate": 0}, {"drift_share": 1.5}, {"threshold": 0}, {"columns": ()}],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DriftSettings(**wrong)  # type: ignore[arg-type]


def test_a_shift_is_reported_with_its_figures() -> None:
    verdict = check_column(RANDOM.normal(100, 10, 5_000), RANDOM.normal(105, 10, 5_000))
    assert verdict.drifted
    assert (verdict.kind, verdict.method, verdict.threshold) == ("numeric", "wasserstein", 0.1)
    assert verdict.score == pytest.approx(0.5, abs=0.06)
    assert verdict.p_value is not None
    assert verdict.p_value < 1e-12
    assert verdict.reason.startswith("wasserstein 0.")
    assert "reaches 0.1, beyond chance (p < 1e-12): mean went from 99." in verdict.reason


def test_a_category_is_reported_with_its_share() -> None:
    verdict = check_column(["a", "b"] * 1_000, ["a", "b", "b", "b"] * 500)
    assert verdict.drifted
    assert verdict.method == "jensen_shannon"
    assert verdict.reason.endswith("'a' went from 50.0% to 25.0%")


def test_the_smaller_the_window_the_higher_the_threshold() -> None:
    reference = RANDOM.normal(size=50_000)
    thresholds = [
        check_column(reference, RANDOM.normal(size=rows)).threshold for rows in (100, 1_000, 50_000)
    ]
    assert thresholds == sorted(thresholds, key=float, reverse=True)
    assert thresholds[-1] == 0.1


def test_a_negligible_difference_is_no_drift_however_certain_it_is() -> None:
    """Half a tenth of a standard deviation in 300,000 rows."""
    verdict = check_column(RANDOM.normal(0, 1, 300_000), RANDOM.normal(0.05, 1, 300_000))
    assert not verdict.drifted
    assert verdict.p_value is not None
    assert verdict.p_value < 1e-12
    assert verdict.reason.endswith("is below 0.1")


def test_what_chance_may_do_is_no_drift_however_large_it_is() -> None:
    """0.2 standard deviations are an effect, but not one that 100 rows can show."""
    verdict = check_column(RANDOM.normal(0, 1, 5_000), RANDOM.normal(0.2, 1, 100))
    assert not verdict.drifted
    assert verdict.score is not None
    assert verdict.score > 0.1
    assert "which chance alone may reach with 100 values" in verdict.reason


def test_a_number_as_the_threshold_is_taken_at_its_word() -> None:
    reference, current = RANDOM.normal(0, 1, 5_000), RANDOM.normal(0.2, 1, 5_000)
    assert check_column(reference, current, threshold=0.15).drifted
    verdict = check_column(reference, current, threshold=0.3)
    assert not verdict.drifted
    assert verdict.threshold == 0.3
    assert verdict.reason.endswith("is below 0.3")


@pytest.mark.parametrize(
    "method", ["psi", "jensen_shannon", "wasserstein", "kolmogorov_smirnov", "chi_square"]
)
def test_every_method_finds_a_shift_in_numbers_and_categories(method: str) -> None:
    reference = pl.DataFrame({"n": RANDOM.normal(0, 1, 5_000), "c": RANDOM.integers(0, 4, 5_000)})
    current = pl.DataFrame({"n": RANDOM.normal(1, 1, 5_000), "c": RANDOM.integers(2, 6, 5_000)})
    reference, current = (frame.cast({"c": pl.String}) for frame in (reference, current))
    verdict = check(reference, current, method=method)
    assert [column.drifted for column in verdict.columns] == [True, True]
    assert verdict.columns[0].method == method
    assert not check(reference, reference.sample(2_000, seed=1), method=method, drift_share=0.1).drifted


def test_vanished_and_retyped_columns_are_drift() -> None:
    verdict = check(REFERENCE.select("a", "b"), REFERENCE.select(pl.col("a").cast(pl.String)))
    assert [column.reason for column in verdict.columns] == [
        "changed its type: numeric in the reference, now String",
        "vanished: the window has no such column",
    ]
    assert verdict.drifted


def test_a_column_without_values_on_both_sides_is_no_drift() -> None:
    verdict = check_column(pl.Series([None] * 500, dtype=pl.Float64), pl.Series([None] * 500, dtype=pl.Null))
    assert not verdict.drifted
    assert verdict.reason == "no values, as in the reference"


def test_a_handful_of_values_is_not_compared() -> None:
    reference = pl.Series([None] * 990 + [1.0] * 10)
    verdict = check_column(reference, pl.Series([None] * 990 + [9.0] * 10))
    assert not verdict.drifted
    assert verdict.reason == "not compared: 10 values in the reference and 10 now, needs 20"


def test_columns_that_cannot_be_compared_do_not_count_in_the_share() -> None:
    """An empty column and identifiers would make two of four columns out of two of two."""
    rows = 5_000
    others = pl.DataFrame({"empty": pl.Series([None] * rows, dtype=pl.Float64)}).with_columns(
        pl.int_range(rows).cast(pl.String).alias("id")
    )
    reference = REFERENCE.select("a", "b", "c").hstack(others)

    verdict = check(reference, columns(rows, a=1, b=1, c=0).hstack(others))

    assert verdict.drifted
    assert (verdict.share, verdict.needed) == (pytest.approx(2 / 3), 0.5)
    assert verdict.reason == "2 of 3 columns drifted (67%, needs 50%): a, b"
    assert [column.counts for column in verdict.columns] == [True, True, True, False, False]
    chosen = check(reference, columns(rows, a=1, b=1, c=0).hstack(others), columns=("a", "empty"))
    assert (chosen.share, chosen.needed) == (1, 1)


def test_a_column_that_lost_all_its_values_counts_as_drifted() -> None:
    empty = pl.Series("b", [None] * 5_000, dtype=pl.Float64)
    verdict = check(REFERENCE, columns(5_000, a=0, c=0, d=0).with_columns(empty))
    assert verdict.reason == "1 of 4 columns drifted (25%, needs 50%): b"


def test_nothing_drifted_where_nothing_can_be_compared() -> None:
    empty = pl.DataFrame({"a": pl.Series([None] * 500, dtype=pl.Float64)})
    verdict = check(empty, empty, columns=("a",))
    assert not verdict.drifted
    assert verdict.reason == "no column can be compared: a: no values, as in the reference"
    assert (verdict.share, verdict.needed) == (0, None)


def test_dates_that_move_on_with_time_are_no_drift() -> None:
    """Accounts of the last year, seen from two moments a year apart; then accounts of the last month."""

    def window(at: datetime, days: int) -> pl.DataFrame:
        ages = RANDOM.uniform(0, days, 5_000)
        return pl.DataFrame({"at": [at] * 5_000, "opened": [at - timedelta(days=float(age)) for age in ages]})

    reference = window(datetime(2023, 5, 1, tzinfo=UTC), days=365)
    profile = build_profile(reference, ["opened"], time_column="at")
    later = check_drift(profile, scan_window(profile, window(datetime(2024, 5, 1, tzinfo=UTC), days=365)))
    younger = check_drift(profile, scan_window(profile, window(datetime(2024, 5, 1, tzinfo=UTC), days=30)))
    assert not later.drifted
    assert younger.drifted
    assert younger.columns[0].kind == "datetime"
    assert "mean went from 18" in younger.columns[0].reason
    assert younger.columns[0].reason.endswith("days")
