"""How often the check fires where nothing has changed, and where something has (more in the benchmarks)."""

import pytest
from scipy import stats

from retraining.drift.profile import build_profile
from retraining.drift.scan import scan_window
from retraining.drift.verdict import DriftSettings, check_drift
from tests.drift.samples import mixed_columns


@pytest.mark.parametrize(
    ("rows", "current_rows", "pairs"),
    [(500, 500, 100), (5_000, 500, 60), (500, 5_000, 60), (5_000, 5_000, 60)],
)
def test_no_column_is_flagged_more_often_than_announced(rows: int, current_rows: int, pairs: int) -> None:
    """20 mixed columns of equal distributions; any flagged column counts, not only half of them."""
    rates = (0.01, 0.05)
    alarms = dict.fromkeys(rates, 0)
    for pair in range(pairs):
        reference, current = (
            mixed_columns(rows, seed=2 * pair),
            mixed_columns(current_rows, seed=2 * pair + 1),
        )
        profile = build_profile(reference, reference.columns)
        scan = scan_window(profile, current)
        for rate in rates:
            verdict = check_drift(profile, scan, DriftSettings(false_alarm_rate=rate, drift_share=0.01))
            alarms[rate] += verdict.drifted
    for rate in rates:
        # A check that keeps its rate has more alarms than this in one of 10,000 runs.
        assert alarms[rate] <= stats.binom.isf(1e-4, pairs, rate)


def test_half_a_standard_deviation_in_half_of_the_columns_is_found() -> None:
    """In all of 40 pairs at 5,000 rows: a power of 83 % would come this far in one of 1,700 runs."""
    for pair in range(40):
        reference = mixed_columns(5_000, seed=2 * pair)
        profile = build_profile(reference, reference.columns)
        scan = scan_window(profile, mixed_columns(5_000, seed=2 * pair + 1, shift=0.5))
        verdict = check_drift(profile, scan)
        assert verdict.drifted, verdict.reason
        assert {column.column for column in verdict.columns if column.drifted} == set(reference.columns[:10])
