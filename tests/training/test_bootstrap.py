import time

import numpy as np
import pytest

from retraining.training import bootstrap
from retraining.training.bootstrap import bootstrap_improvement
from retraining.training.metrics import Metric, find_metric

MAE = find_metric("mae")
AUC = find_metric("roc_auc")


def errors(rng: np.random.Generator, rows: int, gain: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, champion and challenger; the challenger's mean absolute error is `gain` smaller."""
    champion = rng.exponential(2.0, size=rows)
    challenger = rng.exponential(2.0 - gain, size=rows)
    return np.zeros(rows), champion, challenger


@pytest.mark.parametrize("metric", [MAE, find_metric("rmse"), find_metric("median_absolute_error")])
def test_an_interval_holds_the_truth_about_as_often_as_it_says(metric: Metric) -> None:
    """Coverage of 95% intervals over 300 simulated holdouts of 200 rows; 3 standard errors are 3.8%."""
    rng = np.random.default_rng(0)
    gain = 0.3
    truth = gain * {"mae": 1, "rmse": np.sqrt(2), "median_absolute_error": np.log(2)}[metric.name]
    covered = 0
    for trial in range(300):
        labels, champion, challenger = errors(rng, 200, gain)
        drawn = bootstrap_improvement(metric, labels, champion, challenger, resamples=400, seed=trial)
        covered += drawn.interval.low <= truth <= drawn.interval.high
    assert 0.91 <= covered / 300 <= 0.99


def test_pairing_cancels_what_makes_a_row_hard_for_both() -> None:
    """A small gain on every row is sure, though the rows differ a thousand times more than the versions."""
    labels = np.zeros(500)
    champion = 1 + np.random.default_rng(0).exponential(100.0, size=500)
    drawn = bootstrap_improvement(MAE, labels, champion, champion - 0.1)
    assert drawn.interval.low == pytest.approx(0.1)
    assert drawn.interval.high == pytest.approx(0.1)


def test_equal_predictions_improve_by_nothing_for_sure() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 100).astype(float), rng.random(100)
    drawn = bootstrap_improvement(AUC, labels, scores, scores)
    assert (drawn.estimate, drawn.interval.low, drawn.interval.high) == (0, 0, 0)


def test_the_same_seed_gives_the_same_interval() -> None:
    labels, champion, challenger = errors(np.random.default_rng(5), 300, 0.1)
    first, again = (bootstrap_improvement(MAE, labels, champion, challenger).interval for _ in range(2))
    assert first == again


def test_rows_of_one_entity_count_as_one() -> None:
    """Copies of every row make no interval narrower, once they are known to be copies."""
    labels, champion, challenger = errors(np.random.default_rng(2), 300, 0.1)
    once = bootstrap_improvement(MAE, labels, champion, challenger).interval
    copies = [np.repeat(values, 9) for values in (labels, champion, challenger)]
    entities = np.repeat([f"customer {index}" for index in range(300)], 9)
    blind = bootstrap_improvement(MAE, *copies).interval
    aware = bootstrap_improvement(MAE, *copies, entities=entities).interval
    assert blind.high - blind.low == pytest.approx((once.high - once.low) / 3, rel=0.1)
    assert aware.high - aware.low == pytest.approx(once.high - once.low, rel=0.1)


@pytest.mark.parametrize("name", ["roc_auc", "average_precision"])
def test_entities_are_drawn_whole_for_metrics_that_are_no_mean(name: str) -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 400).astype(float)
    champion, challenger = (np.clip(labels * 0.2 + rng.random(400) * 0.8, 0, 1) for _ in range(2))
    once = bootstrap_improvement(find_metric(name), labels, champion, challenger).interval
    copies = [np.repeat(values, 4) for values in (labels, champion, challenger)]
    aware = bootstrap_improvement(find_metric(name), *copies, entities=np.repeat(np.arange(400), 4)).interval
    assert aware.high - aware.low == pytest.approx(once.high - once.low, rel=0.15)


def test_an_entity_per_row_is_the_plain_bootstrap() -> None:
    labels, champion, challenger = errors(np.random.default_rng(2), 300, 0.1)
    plain = bootstrap_improvement(MAE, labels, champion, challenger).interval
    assert bootstrap_improvement(MAE, labels, champion, challenger, entities=np.arange(300)).interval == plain


def test_blocks_keep_the_width_of_a_mean_of_many_rows() -> None:
    """Beyond MAX_BLOCKS rows the interval is as wide as theory says a mean's is."""
    rows = 10 * bootstrap.MAX_BLOCKS
    labels, champion, challenger = errors(np.random.default_rng(4), rows, 0.1)
    drawn = bootstrap_improvement(MAE, labels, champion, challenger, resamples=2_000)
    width = 2 * 1.96 * np.std(champion - challenger) / np.sqrt(rows)
    assert drawn.interval.high - drawn.interval.low == pytest.approx(width, rel=0.08)


def test_a_large_holdout_is_judged_on_a_part_and_centred_on_the_whole() -> None:
    """The interval of an area under the curve is wider than it need be, and around the whole's estimate."""
    rows = 3 * bootstrap.MAX_ROWS
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, rows).astype(float)
    champion, challenger = (labels * gain + rng.normal(size=rows) for gain in (1.0, 1.05))
    drawn = bootstrap_improvement(AUC, labels, champion, challenger, resamples=100)
    assert drawn.estimate == AUC.compute(labels, challenger) - AUC.compute(labels, champion)
    assert drawn.interval.low < drawn.estimate < drawn.interval.high
    assert np.mean(drawn.resamples) == pytest.approx(drawn.estimate, abs=0.001)


def test_a_large_part_keeps_entities_whole() -> None:
    """Copies of a row stay together when a part is drawn, so the interval knows how few there are."""
    customers = bootstrap.MAX_ROWS // 25
    rng = np.random.default_rng(4)
    labels = np.repeat(rng.integers(0, 2, customers).astype(float), 50)
    champion = labels + np.repeat(rng.normal(size=customers), 50)
    challenger = labels + np.repeat(rng.normal(size=customers), 50)
    entities = np.repeat(np.arange(customers), 50)
    aware = bootstrap_improvement(
        AUC, labels, champion, challenger, entities=entities, resamples=200
    ).interval
    blind = bootstrap_improvement(AUC, labels, champion, challenger, resamples=200).interval
    assert (aware.high - aware.low) > 4 * (blind.high - blind.low)


def test_a_metric_of_a_team_is_computed_once_a_resample() -> None:
    calls = []

    def compute(labels: np.ndarray, scores: np.ndarray) -> float:
        calls.append(len(labels))
        return float(np.abs(labels - scores).mean())

    own = Metric("own", "minimize", ("regression",), compute)
    labels, champion, challenger = errors(np.random.default_rng(2), 300, 0.1)
    drawn = bootstrap_improvement(own, labels, champion, challenger, resamples=200)
    reference = bootstrap_improvement(MAE, labels, champion, challenger, resamples=200)
    assert calls == [300] * 402  # both versions: once on the holdout, then once a resample
    assert drawn.estimate == pytest.approx(reference.estimate)
    assert drawn.interval.low == pytest.approx(reference.interval.low, abs=0.05)


def test_an_interval_is_infinite_where_most_resamples_lack_a_class() -> None:
    labels = np.r_[1.0, np.zeros(19)]  # 36% of the resamples do not draw the one positive
    scores = np.linspace(0, 1, 20)
    interval = bootstrap_improvement(AUC, labels, scores, scores[::-1].copy()).interval
    assert (interval.low, interval.high) == (-np.inf, np.inf)


def test_a_resample_on_which_a_metric_fails_is_left_out() -> None:
    """Scikit-learn refuses a resample with one class; a handful of those does not spoil the interval."""
    own = Metric("own", "maximize", ("binary",), AUC.compute)
    labels = np.r_[np.ones(5), np.zeros(35)]
    rng = np.random.default_rng(0)
    drawn = bootstrap_improvement(own, labels, rng.random(40), rng.random(40), resamples=300)
    assert 270 < len(drawn.resamples) < 300
    assert np.isfinite([drawn.interval.low, drawn.interval.high]).all()


def test_a_thousand_resamples_of_twelve_thousand_rows_take_seconds() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 12_000).astype(float)
    champion, challenger = (labels + rng.normal(size=12_000) for _ in range(2))
    start = time.process_time()
    bootstrap_improvement(AUC, labels, champion, challenger)
    assert time.process_time() - start < 10
