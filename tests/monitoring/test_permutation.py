"""Shuffling which rows are the holdout's and which are today's."""

import numpy as np
import pytest

from retraining.monitoring.permutation import MAX_ROWS, ScoredRows, chance_of_drop
from retraining.training.metrics import Metric, find_metric


def heavy(rng: np.random.Generator, rows: int, worse: float = 1.0) -> ScoredRows:
    """A regression whose few largest errors make its rmse."""
    return ScoredRows(np.zeros(rows), worse * np.exp(1.5 * rng.normal(size=rows)))


@pytest.mark.parametrize("metric", ["rmse", "mae"])
def test_its_chances_are_chances_however_heavy_the_tails(metric: str) -> None:
    """At most 5% of the chances lie under 5%, within three standard errors of 300 trials."""
    drawn = []
    for trial in range(300):
        rng = np.random.default_rng(trial)
        drawn.append(
            chance_of_drop(find_metric(metric), heavy(rng, 100), heavy(rng, 300), shuffles=99, seed=trial)
        )
    assert np.mean(np.array(drawn) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)
    assert 0.4 < np.mean(drawn) < 0.6


@pytest.mark.parametrize("name", ["roc_auc", "accuracy", "log_loss", "f1"])
def test_a_real_drop_is_hardly_ever_chance(name: str) -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((2, 400))
    labels = (rng.random((2, 400)) < scores).astype(np.float64)
    before, good = (ScoredRows(labels[side], scores[side]) for side in (0, 1))
    bad = ScoredRows(rng.permutation(labels[1]), scores[1])
    metric = find_metric(name)
    assert chance_of_drop(metric, before, bad) < 0.003
    assert chance_of_drop(metric, before, good) > 0.025


def test_entities_are_shuffled_whole() -> None:
    """Copies of every row make no drop less likely to be chance."""
    rng = np.random.default_rng(4)
    before, after = heavy(rng, 60), heavy(rng, 60, worse=1.6)
    copied = [
        ScoredRows(np.repeat(side.labels, 8), np.repeat(side.scores, 8), np.repeat(np.arange(60), 8))
        for side in (before, after)
    ]
    blind = [ScoredRows(side.labels, side.scores) for side in copied]
    mae = find_metric("mae")
    once = chance_of_drop(mae, before, after)
    assert chance_of_drop(mae, *copied) == pytest.approx(once, abs=0.03)
    assert chance_of_drop(mae, *blind) < once / 2


def test_a_class_that_one_side_lacks_is_impossible_there() -> None:
    rng = np.random.default_rng(5)
    three = ScoredRows(rng.integers(0, 3, 200).astype(float), rng.dirichlet(np.ones(3), 200))
    four = ScoredRows(np.full(200, 3.0), np.hstack([three.scores, np.zeros((200, 1))]))
    assert chance_of_drop(find_metric("accuracy_multiclass"), three, four) < 0.003


def test_a_metric_with_nothing_but_its_computation_is_shuffled_too() -> None:
    own = Metric("own", "minimize", ("regression",), lambda labels, scores: float(np.abs(scores).mean()))
    before = ScoredRows(np.zeros(50), np.linspace(0, 1, 50))
    after = ScoredRows(np.zeros(50), np.linspace(1, 2, 50))
    assert chance_of_drop(own, before, before, shuffles=50) > 0.2
    assert chance_of_drop(own, before, after, shuffles=50) == pytest.approx(1 / 51)


def test_many_rows_are_judged_by_a_part_of_them() -> None:
    rng = np.random.default_rng(6)
    rows = 3 * MAX_ROWS
    chance = chance_of_drop(find_metric("mae"), heavy(rng, rows), heavy(rng, rows, worse=1.3), shuffles=99)
    assert chance == 0.01
