"""Default settings on real and published tables, whose verdicts are known from elsewhere."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from retraining.builtin.cdnow import FEATURES, TIME_COLUMN, CdnowSnapshots
from retraining.drift.profile import build_profile
from retraining.drift.scan import scan_window
from retraining.drift.verdict import DriftVerdict, check_drift
from retraining.sources.window import Window

DATA = Path(__file__).parents[1] / "data"
CAR_LOAN = json.loads((DATA / "car_loan" / "expected.json").read_text())
MISSING = json.loads((DATA / "car_loan_missing" / "expected.json").read_text())


def check_file(case: str, features: list[str], window: str) -> DriftVerdict:
    profile = build_profile(pl.scan_parquet(DATA / case / "reference.parquet"), features)
    return check_drift(
        profile, scan_window(profile, pl.scan_parquet(DATA / case / f"current_{window}.parquet"))
    )


def flagged(verdict: DriftVerdict) -> set[str]:
    return {column.column for column in verdict.columns if column.drifted}


@pytest.mark.parametrize("window", ["before", "after"])
def test_car_loan_is_judged_as_expected(window: str) -> None:
    expected = CAR_LOAN["windows"][window]
    verdict = check_file("car_loan", CAR_LOAN["features"], window)
    assert verdict.drifted is (expected["drift_trigger"] == "fire")
    assert flagged(verdict) == set(expected["columns_must_be_flagged"])
    assert verdict.rows == expected["rows"]


@pytest.mark.parametrize("window", ["before", "after"])
def test_the_scores_of_car_loan_are_evidentlys(window: str) -> None:
    by_evidently = CAR_LOAN["windows"][window]["evidently_0_7_23"]["default"]
    expected = by_evidently["drifted"] | by_evidently["not_drifted"]
    verdict = check_file("car_loan", CAR_LOAN["features"], window)
    assert {column.column: column.score for column in verdict.columns} == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("how", ["halves", "random halves"])
def test_halves_of_the_car_loan_reference_do_not_drift(how: str) -> None:
    rows = pl.read_parquet(DATA / "car_loan" / "reference.parquet", columns=CAR_LOAN["features"])
    order = np.arange(rows.height)
    if how == "random halves":
        order = np.random.RandomState(0).permutation(rows.height)
    first, second = rows[order[: rows.height // 2]], rows[order[rows.height // 2 :]]
    profile = build_profile(first, rows.columns)
    verdict = check_drift(profile, scan_window(profile, second))
    assert not verdict.drifted
    assert flagged(verdict) == set()


@pytest.mark.parametrize("window", ["before", "after"])
def test_car_loan_with_missing_values_is_judged_as_expected(window: str) -> None:
    features = ["salary_range", "driver_tenure", "size_of_downpayment"]
    verdict = check_file("car_loan_missing", features, window)
    reasons = {column.column: column.reason for column in verdict.columns}
    assert verdict.drifted is (MISSING["missing_share"][window] == "fire")
    assert "categories never seen before ('50%')" in reasons["size_of_downpayment"]
    if window == "after":
        for column in MISSING["columns_must_be_flagged_after"]:
            assert reasons[column].startswith("missing values rose from 10.0% to 22.0%")
        assert flagged(verdict) == set(features)
    else:
        assert flagged(verdict) == set()


def snapshot(year: int, month: int) -> pl.DataFrame:
    at = datetime(year, month, 1, tzinfo=UTC)
    window = Window(at - timedelta(days=1), at)
    return CdnowSnapshots().read(window, time_column=TIME_COLUMN, columns=FEATURES)


def test_ten_of_the_twelve_features_of_cdnow_drift_in_a_quarter() -> None:
    profile = build_profile(snapshot(1997, 4), FEATURES)
    verdict = check_drift(profile, scan_window(profile, snapshot(1997, 7)))
    assert verdict.drifted
    assert set(FEATURES) - flagged(verdict) == {"average_order", "maximum_order"}


@pytest.mark.parametrize("rows", [500, 2_000, 11_785])
def test_random_parts_of_one_snapshot_of_cdnow_do_not_drift(rows: int) -> None:
    customers = snapshot(1997, 4)
    random = np.random.default_rng(1)
    for _ in range(5):
        order = random.permutation(customers.height)
        profile = build_profile(customers[order[:rows]], FEATURES)
        verdict = check_drift(profile, scan_window(profile, customers[order[rows : 2 * rows]]))
        assert flagged(verdict) == set()
