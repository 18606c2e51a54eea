import numpy as np
import polars as pl
import pytest

from tests.drift.windows import check_column


def with_missing(rows: int, missing: int) -> pl.Series:
    values = np.random.default_rng(rows + missing).normal(size=rows)
    return pl.Series(values).scatter(np.arange(missing), None)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ((10_000, 1_000), (10_000, 2_200), "missing values rose from 10.0% to 22.0%"),
        ((10_000, 0), (10_000, 100), "missing values rose from 0.0% to 1.0%"),
        ((10_000, 100), (10_000, 195), "missing values rose from 1.0% to 1.9%"),
        ((10_000, 4_000), (10_000, 6_000), "missing values rose from 40.0% to 60.0%"),
        ((10_000, 2_000), (10_000, 0), "missing values fell from 20.0% to 0.0%"),
        ((500, 25), (500, 100), "missing values rose from 5.0% to 20.0%"),
        ((500, 25), (500, 500), "no values are left: missing went from 5.0% to 100%"),
        ((500, 500), (500, 25), "missing values fell from 100.0% to 5.0%"),
    ],
)
def test_a_changed_share_of_missing_values_is_drift(before, after, reason) -> None:
    verdict = check_column(with_missing(*before), with_missing(*after))
    assert verdict.drifted
    assert verdict.reason.startswith(reason)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((10_000, 1_000), (10_000, 1_400)),  # certain, but neither double nor far
        ((100_000, 10), (100_000, 100)),  # tenfold, but next to nothing
        ((500, 5), (500, 12)),  # double, but chance does that
        ((10_000, 1_000), (10_000, 700)),
        ((10_000, 10_000), (500, 500)),
    ],
)
def test_what_is_small_or_chance_is_no_drift(before, after) -> None:
    assert not check_column(with_missing(*before), with_missing(*after)).drifted


def test_a_share_that_truly_doubled_is_found_nearly_always() -> None:
    """From 10 % to 20 % in 2,000 rows: the observed ratio is below two in every second window."""
    random = np.random.default_rng(1)
    found = [
        check_column(
            with_missing(50_000, 5_000), with_missing(2_000, int(random.binomial(2_000, 0.2)))
        ).drifted
        for _ in range(50)
    ]
    assert sum(found) >= 45


@pytest.mark.parametrize(
    ("reference", "value", "reason"),
    [
        (np.random.default_rng(1).normal(5, 1, 1_000), 5.0, "constant: every value is 5, where 9"),
        (["a", "b", "c", "c"] * 250, "c", "constant: every value is 'c', where 50.0% of the reference's"),
        ([True, False] * 500, False, "constant: every value is 'false', where 50.0% of"),
        ([1, 2] * 500, 7, "constant: every value is 7, where 100.0% of"),
    ],
)
def test_a_column_that_became_constant_is_drift(reference, value, reason) -> None:
    verdict = check_column(reference, [value] * 200)
    assert verdict.drifted
    assert verdict.reason.startswith(reason)


@pytest.mark.parametrize(
    ("reference", "value", "rows"),
    [
        ([0] * 996 + [1] * 4, 0, 100_000),  # what varied was next to nothing
        ([0] * 990 + [1] * 10, 0, 100),  # a hundred rows without a one are nothing special
        ([7] * 1_000, 7, 1_000),  # it always was
        (["a"] * 1_000, "a", 1_000),
    ],
)
def test_a_constant_that_is_chance_or_no_news_is_no_drift(reference, value, rows) -> None:
    assert not check_column(reference, [value] * rows).drifted


def test_another_constant_is_drift() -> None:
    assert check_column([2014] * 1_000, [2015] * 1_000).drifted
    assert check_column(["2014"] * 1_000, ["2015"] * 1_000).drifted


def test_a_category_that_was_never_seen_is_drift() -> None:
    verdict = check_column(["a", "b"] * 5_000, ["a", "b"] * 4_900 + ["new"] * 200)
    assert verdict.drifted
    assert verdict.reason.startswith("categories never seen before ('new') in 2.0% of the values")


def test_a_new_category_in_few_rows_is_mentioned_only() -> None:
    verdict = check_column(["a", "b"] * 5_000, ["a", "b"] * 4_960 + ["new"] * 80)
    assert not verdict.drifted
    assert verdict.reason.endswith("categories never seen before ('new') in 0.8% of the values")


@pytest.mark.parametrize("rows", [500, 5_000, 50_000])
def test_rare_categories_that_come_by_chance_are_no_drift(rows: int) -> None:
    """Of 5,000 categories a sample has many that the other lacks: 40 % of its rows at 500, 11 % at 50,000."""
    random = np.random.default_rng(1)
    shares = 1 / np.arange(1, 5_001)
    reference, current = (
        pl.Series(random.choice(5_000, rows, p=shares / shares.sum())).cast(pl.String) for _ in range(2)
    )
    assert not check_column(reference, current).drifted


def test_identifiers_are_not_compared() -> None:
    verdict = check_column(
        [f"id {row}" for row in range(1_000)], [f"id {row}" for row in range(5_000, 6_000)]
    )
    assert not verdict.drifted
    assert verdict.reason == "not compared: 1,000 categories in 1,000 values, as identifiers have"
    assert verdict.score is None
