from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from retraining import (
    CsvSource,
    EntityHoldout,
    Guard,
    Metric,
    ModelSpec,
    PromotionPolicy,
    TimeHoldout,
    TrainingParameters,
)


class NeedsAnAnswer(TrainingParameters):
    depth: int


def spec(**given: Any) -> ModelSpec:
    defaults: dict[str, Any] = {
        "name": "loans",
        "task": "binary",
        "source": CsvSource("loans.csv"),
        "label": "repaid",
        "features": ("income", "age"),
        "time_column": "applied_at",
        "metric": "roc_auc",
        "estimator": lambda parameters: None,
    }
    return ModelSpec(**{**defaults, **given})


def test_columns_are_each_listed_once() -> None:
    assert spec().columns == ("applied_at", "income", "age", "repaid")
    held_out = spec(holdout=EntityHoldout(column="customer"))
    assert held_out.columns == ("applied_at", "customer", "income", "age", "repaid")
    assert held_out.entity_column == "customer"
    assert spec(holdout=EntityHoldout(column="age"), features=("applied_at", "age")).columns == (
        "applied_at",
        "age",
        "repaid",
    )


def test_metrics_are_the_primary_one_the_reported_ones_and_those_of_the_guards() -> None:
    own = Metric("profit", "maximize", ("binary",), lambda labels, scores: 1.0)
    policy = PromotionPolicy(guards=(Guard(metric="brier", maximum=0.2), Guard(metric="f1", minimum=0.1)))
    made = spec(metric=own, report=("roc_auc", "brier"), promotion=policy)
    assert [metric.name for metric in made.metrics] == ["profit", "roc_auc", "brier", "f1"]
    assert made.primary_metric is own


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"name": "Loans"}, "name"),
        ({"name": "a" * 64}, "name"),
        ({"task": "ranking"}, "task"),
        ({"source": "loans.csv"}, "source needs read() and describe()"),
        ({"features": ()}, "features"),
        ({"features": ("income", "income")}, "features are listed more than once"),
        ({"features": ("income", "repaid")}, "the label 'repaid' is among the features"),
        ({"metric": "auc"}, "unknown metric 'auc'; known metrics: accuracy, "),
        ({"metric": "mae"}, "metric 'mae' does not fit the task 'binary'"),
        ({"report": ("r2",)}, "metric 'r2' does not fit the task 'binary'"),
        (
            {"promotion": PromotionPolicy(guards=(Guard(metric="r2", minimum=0),))},
            "metric 'r2' does not fit the task 'binary'",
        ),
        ({"estimator": None}, "give exactly one of estimator and train"),
        ({"train": lambda given: None}, "give exactly one of estimator and train"),
        ({"label_delay": timedelta(days=-1)}, "label_delay"),
        ({"window": timedelta(0)}, "window"),
        ({"min_rows": 9}, "min_rows"),
        ({"holdout": {"by": "entity"}}, "holdout.entity.column"),
        ({"holdout": TimeHoldout.model_construct(fraction=0.2), "colour": "red"}, "colour"),
        ({"parameters": NeedsAnAnswer}, "depth"),
    ],
)
def test_what_does_not_fit_together_is_refused_by_name(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError) as refused:
        spec(**given)
    assert problem in str(refused.value)


def test_a_holdout_may_be_written_as_a_mapping() -> None:
    assert spec(holdout={"by": "time", "fraction": 0.1}).holdout == TimeHoldout(fraction=0.1)
