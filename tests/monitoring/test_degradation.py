"""The rule alone: plain values in, a verdict with its reason out."""

from functools import partial

import numpy as np
import pytest

from retraining.monitoring.degradation import Baseline, decide_degradation, limit_for
from retraining.training.bootstrap import BootstrappedScore, Interval, bootstrap_score, score_once
from retraining.training.metrics import Metric, find_metric
from retraining.training.weighted import Vector

AUC, MAE, R2 = find_metric("roc_auc"), find_metric("mae"), find_metric("r2")


def score(estimate: float, spread: float) -> BootstrappedScore:
    """A score with a normal bootstrap distribution of this standard deviation."""
    drawn = estimate + spread * np.random.default_rng(1).normal(size=2_000)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return BootstrappedScore(estimate, Interval(float(low), float(high), 0.95), drawn)


def baseline(value: float, spread: float = 0.0, rows: int = 900) -> Baseline:
    return Baseline(value, lambda: value + spread * np.random.default_rng(2).normal(size=2_000), rows)


@pytest.mark.parametrize(
    ("metric", "value", "drop", "limit"),
    [
        (AUC, 0.8, 0.05, 0.76),
        (MAE, 20.0, 0.05, 21.0),
        (R2, -0.2, 0.05, -0.21),
        (R2, 0.0, 0.05, 0.0),
        (MAE, 0.0, 0.5, 0.0),
    ],
)
def test_a_drop_is_a_share_of_the_baselines_size_in_the_worse_direction(
    metric: Metric, value: float, drop: float, limit: float
) -> None:
    found = limit_for(metric, Baseline(value), threshold=None, allowed_drop=drop)
    assert found == pytest.approx(limit)


def test_a_threshold_is_the_limit_and_a_drop_without_baseline_has_none() -> None:
    assert limit_for(AUC, Baseline(0.9), threshold=0.7, allowed_drop=None) == 0.7
    assert limit_for(AUC, None, threshold=0.7, allowed_drop=None) == 0.7
    assert limit_for(AUC, None, threshold=None, allowed_drop=0.05) is None


@pytest.mark.parametrize(
    ("metric", "before", "now", "limit", "breached"),
    [
        (AUC, 0.80, 0.70, 0.76, True),
        (AUC, 0.80, 0.77, 0.76, False),  # worse for sure, and allowed
        (AUC, 0.80, 0.90, 0.76, False),
        (MAE, 20.0, 24.3, 21.0, True),
        (MAE, 20.0, 20.5, 21.0, False),
        (MAE, 20.0, 2.0, 21.0, False),  # a falling MAE is an improvement
        (R2, 0.0, -0.1, 0.0, True),  # a share of nothing is nothing
        (R2, -0.2, -0.1, -0.21, False),
        (R2, -0.2, -0.4, -0.21, True),
    ],
)
def test_a_sure_score_breaches_beyond_its_limit_alone(
    metric: Metric, before: float, now: float, limit: float, breached: bool
) -> None:
    spread = 0.001 * max(abs(before), abs(now))
    verdict = decide_degradation(
        metric,
        score(now, spread),
        limit=limit,
        baseline=baseline(before, spread),
        labels=5_000,
    )
    assert verdict.breached is breached


def test_a_score_beyond_the_limit_that_chance_explains_is_quiet() -> None:
    verdict = decide_degradation(AUC, score(0.74, 0.05), limit=0.76, baseline=baseline(0.8), labels=60)
    assert not verdict.breached
    assert "so few labels and 900 held-out rows may differ by chance" in verdict.reason


def test_the_holdouts_own_sampling_error_counts() -> None:
    """The current score is exact and below the baseline, but the baseline comes from a handful of rows."""
    current = score(0.74, 0.001)
    sure = decide_degradation(AUC, current, limit=0.76, baseline=baseline(0.8, 0.01), labels=90_000)
    unsure = decide_degradation(AUC, current, limit=0.76, baseline=baseline(0.8, 0.05, 80), labels=90_000)
    assert (sure.breached, unsure.breached) == (True, False)
    assert "80 held-out rows" in unsure.reason


def test_a_baseline_without_its_rows_counts_as_exact() -> None:
    verdict = decide_degradation(AUC, score(0.74, 0.01), limit=0.76, baseline=Baseline(0.8), labels=900)
    assert verdict.breached


@pytest.mark.parametrize("before", [None, Baseline(0.65)])
@pytest.mark.parametrize(("spread", "breached"), [(0.005, True), (0.05, False)])
def test_without_a_better_baseline_the_whole_interval_must_be_beyond_the_threshold(
    before: Baseline | None, spread: float, breached: bool
) -> None:
    verdict = decide_degradation(AUC, score(0.68, spread), limit=0.7, baseline=before, labels=500)
    assert verdict.breached is breached
    assert "baseline is not known" in verdict.reason or "beyond it already" in verdict.reason


def test_a_score_on_the_limit_is_within_it() -> None:
    assert not decide_degradation(
        AUC, score(0.76, 1e-6), limit=0.76, baseline=baseline(0.8, 1e-6), labels=500
    ).breached


def test_the_reason_names_score_labels_baseline_and_limit() -> None:
    verdict = decide_degradation(
        MAE, score(24.3, 0.4), limit=21.42, baseline=baseline(20.4, 0.4), labels=11_785
    )
    assert verdict.reason.startswith("mae is 24.30 on 11,785 labels (95% interval 23.5")
    assert verdict.reason.endswith(
        "19.1% worse than the champion's 20.40 on its holdout, beyond the limit of 21.42"
    )


def drawn_rows(rng: np.random.Generator, rows: int, noise: float = 0.0) -> tuple[Vector, Vector]:
    """Labels and scores of a binary model whose features got `noise` since."""
    x = rng.normal(size=rows)
    labels = (rng.random(rows) < 1 / (1 + np.exp(-1.5 * x))).astype(np.float64)
    return labels, 1 / (1 + np.exp(-1.5 * (x + noise * rng.normal(size=rows))))


def resamples_of(metric: Metric, labels: Vector, scores: Vector) -> Vector:
    return bootstrap_score(metric, labels, scores, resamples=200, seed=1).resamples


def fired(metric_name: str, rows: int, trials: int, *, drop: float, noise: float = 0.0) -> float:
    """The share of windows that breach, each with a holdout of 1,000 rows of its own."""
    metric = find_metric(metric_name)
    breaches = 0
    for trial in range(trials):
        rng = np.random.default_rng([trial, rows])
        held, now = drawn_rows(rng, 1_000), drawn_rows(rng, rows, noise)
        known = Baseline(score_once(metric, *held), partial(resamples_of, metric, *held), 1_000)
        limit = limit_for(metric, known, threshold=None, allowed_drop=drop)
        assert limit is not None
        current = bootstrap_score(metric, *now, resamples=200)
        breaches += decide_degradation(metric, current, limit=limit, baseline=known, labels=rows).breached
    return breaches / trials


@pytest.mark.parametrize(
    ("metric", "rows"), [("accuracy", 50), ("log_loss", 50), ("roc_auc", 200), ("accuracy", 2_000)]
)
def test_a_champion_as_good_as_ever_hardly_ever_breaches_even_where_no_drop_is_allowed(
    metric: str, rows: int
) -> None:
    """2.5% are promised; three standard errors of 200 trials are 3.3%."""
    assert fired(metric, rows, 200, drop=1e-9) <= 0.058


def test_a_worse_champion_is_found_with_enough_labels() -> None:
    """Noise in its feature costs it 10% of its AUC, which the labels of 1,000 rows show."""
    assert fired("roc_auc", 1_000, 40, drop=0.05, noise=1.0) >= 0.9
