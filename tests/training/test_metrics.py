import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retraining.training.metrics import METRICS, Metric, find_metric

SEEDS = st.integers(0, 10_000)


def sample(task: str, seed: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels with every class in them, and scores with ties."""
    rng = np.random.default_rng(seed)
    if task == "regression":
        labels = rng.normal(20, 5, size=rows)
        return labels, labels + rng.normal(0, 3, size=rows).round(1)
    if task == "binary":
        labels = np.r_[0.0, 1.0, rng.integers(0, 2, size=rows - 2)]
        return labels, np.clip(0.3 * labels + rng.random(rows) * 0.7, 0, 1).round(2)
    labels = np.r_[0.0, 1.0, 2.0, rng.integers(0, 3, size=rows - 3)]
    scores = rng.random((rows, 3)).round(1) + 0.1
    return labels, scores / scores.sum(axis=1, keepdims=True)


def every_metric() -> list[Metric]:
    return list(METRICS.values())


@pytest.mark.parametrize("metric", every_metric(), ids=lambda metric: metric.name)
@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, rows=st.integers(10, 200))
def test_resampling_agrees_with_scikit_learn_on_every_resample(metric: Metric, seed: int, rows: int) -> None:
    """Row losses and weighted scores are the metric itself on the repeated rows."""
    labels, scores = sample(metric.tasks[0], seed, rows)
    weights = np.random.default_rng(seed).multinomial(rows, np.full(rows, 1 / rows), size=2).astype(float)
    weights[:, :3] += 1  # every class stays
    for line in weights:
        repeated = np.repeat(np.arange(rows), line.astype(int))
        expected = metric.compute(labels[repeated], scores[repeated])
        if metric.per_row is not None:
            found = metric.per_row(labels, scores) @ line / line.sum()
        else:
            assert metric.weighted is not None
            found = metric.weighted(labels, scores, line[None, :])[0]
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_weighted_area_is_undefined_where_a_resample_has_one_class() -> None:
    weighted = METRICS["roc_auc"].weighted
    assert weighted is not None
    labels, scores = np.array([0.0, 1.0, 1.0]), np.array([0.1, 0.2, 0.3])
    areas = weighted(labels, scores, np.array([[0.0, 2.0, 1.0], [1.0, 1.0, 1.0]]))
    assert np.isnan(areas[0])
    assert areas[1] == 1.0


def test_a_multiclass_area_leaves_out_classes_that_no_row_has() -> None:
    labels = np.array([0.0, 1.0, 0.0, 1.0])
    scores = np.array([[0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]])
    assert METRICS["roc_auc_ovr"].compute(labels, scores) == 1.0
    assert np.isnan(METRICS["roc_auc_ovr"].compute(np.zeros(4), scores))


@pytest.mark.parametrize(
    ("name", "champion", "challenger", "improvement"),
    [
        ("roc_auc", 0.7, 0.8, 0.1),
        ("roc_auc", 0.8, 0.7, -0.1),
        ("mae", 20.0, 15.0, 5.0),
        ("mae", 15.0, 20.0, -5.0),
    ],
)
def test_an_improvement_is_positive_whichever_way_the_metric_runs(
    name: str, champion: float, challenger: float, improvement: float
) -> None:
    assert find_metric(name).improvement(champion, challenger) == pytest.approx(improvement)


def test_a_metric_of_a_team_passes_through() -> None:
    own = Metric("profit", "maximize", ("binary",), lambda labels, scores: 1.0)
    assert find_metric(own) is own


def test_an_unknown_metric_is_refused_with_the_known_names() -> None:
    with pytest.raises(ValueError, match=r"unknown metric 'auc'.*average_precision.*roc_auc, roc_auc_ovr"):
        find_metric("auc")


def test_every_metric_survives_a_trip_to_another_process() -> None:
    """Specifications with these metrics can be pickled."""
    assert pickle.loads(pickle.dumps(METRICS["f1_macro"])).name == "f1_macro"
