"""Which conditions a model can have at all."""

import pytest

from retraining.builtin.churn import churn
from retraining.builtin.profitability import profitability
from retraining.errors import InvalidCondition
from retraining.triggers.condition import DriftCondition, PerformanceCondition, ScheduledCondition
from retraining.triggers.model_fit import judged_metric, refuse_unfit


@pytest.mark.parametrize(
    "condition",
    [
        ScheduledCondition(every="1d"),
        DriftCondition(columns=("spend", "orders")),
        PerformanceCondition(),
        PerformanceCondition(metric="mae", estimate=True),
        PerformanceCondition(metric="rmse", estimate=True),
    ],
)
def test_what_the_model_has_is_accepted(
    condition: ScheduledCondition | DriftCondition | PerformanceCondition,
) -> None:
    refuse_unfit(condition, profitability)


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        (DriftCondition(columns=("spend", "age")), "trigger_condition.columns: age is no feature of"),
        (PerformanceCondition(metric="roc_auc"), "trigger_condition.metric: 'roc_auc' does not fit"),
        (PerformanceCondition(metric="luck"), "trigger_condition.metric: 'luck' is unknown; for regression"),
        (PerformanceCondition(metric="r2", estimate=True), "trigger_condition.estimate: r2 cannot be"),
    ],
)
def test_what_it_has_not_is_refused_by_name(
    condition: DriftCondition | PerformanceCondition, problem: str
) -> None:
    with pytest.raises(InvalidCondition, match=problem.replace(".", r"\.")):
        refuse_unfit(condition, profitability)


def test_without_a_name_the_primary_metric_is_judged() -> None:
    assert judged_metric(PerformanceCondition(), churn) == churn.primary_metric
    assert judged_metric(PerformanceCondition(metric="mae"), churn) is None
