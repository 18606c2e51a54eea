import numpy as np
import pytest

from retraining import Guard, Metric, PromotionPolicy
from retraining.errors import TrainingFailed
from retraining.training.evaluation import evaluate
from tests.training.specs import spec_for

LABELS = np.array([0.0, 1.0, 1.0, 0.0])
SCORES = np.array([0.1, 0.9, 0.4, 0.6])


def test_all_metrics_of_the_specification_are_computed_the_primary_one_first() -> None:
    spec = spec_for(
        report=("brier", "log_loss"),
        promotion=PromotionPolicy(guards=(Guard(metric="accuracy", minimum=0.1),)),
    )
    scores = evaluate(spec, LABELS, SCORES)
    assert list(scores) == ["roc_auc", "brier", "log_loss", "accuracy"]
    assert scores["roc_auc"] == 0.75
    assert scores["accuracy"] == 0.5
    assert scores["brier"] == pytest.approx(np.mean((LABELS - SCORES) ** 2))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_not_a_number_leaves_no_metric(bad: float) -> None:
    spec = spec_for("regression", report=("r2",))
    scores = evaluate(spec, LABELS, np.array([1.0, bad, 1.0, 1.0]))
    assert list(scores) == ["mae", "r2"]
    assert np.isnan(list(scores.values())).all()


@pytest.mark.parametrize(
    ("task", "scores", "problem"),
    [
        ("binary", np.zeros((4, 2)), r"scores have the shape \(4, 2\), need \(4,\)"),
        ("regression", np.zeros(3), r"scores have the shape \(3,\), need \(4,\)"),
        ("multiclass", np.zeros(4), r"scores have the shape \(4,\), need \(4, classes\)"),
        ("multiclass", np.zeros((4, 1)), "scores for 1 classes, needs 2"),
        ("binary", SCORES * 2, r"probabilities lie in 0\.2 to 1\.8, need 0 to 1"),
        ("binary", SCORES - 0.5, r"probabilities lie in -0\.4 to 0\.4, need 0 to 1"),
    ],
)
def test_scores_that_do_not_fit_the_task_fail_the_scoring(
    task: str, scores: np.ndarray, problem: str
) -> None:
    with pytest.raises(TrainingFailed, match=f"scoring of 'tested' failed: {problem}"):
        evaluate(spec_for(task), LABELS, scores)


def test_a_metric_of_a_team_that_fails_is_named() -> None:
    def compute(labels: np.ndarray, scores: np.ndarray) -> float:
        raise ZeroDivisionError("no positives above the cut")

    spec = spec_for(report=(Metric("lift", "maximize", ("binary",), compute),))
    with pytest.raises(
        TrainingFailed, match="metric lift of 'tested' failed: ZeroDivisionError: no positives"
    ):
        evaluate(spec, LABELS, SCORES)
