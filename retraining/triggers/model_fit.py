"""Whether a condition fits the model that it is for: its columns, its metric. Pure."""

from collections.abc import Iterator
from typing import assert_never

from retraining.catalog.spec import ModelSpec
from retraining.errors import InvalidCondition
from retraining.training.metrics import METRICS, Metric
from retraining.triggers.condition import DriftCondition, PerformanceCondition, ScheduledCondition


def refuse_unfit(
    condition: ScheduledCondition | DriftCondition | PerformanceCondition, spec: ModelSpec
) -> None:
    """Check what only the model's specification knows.

    Raises:
        InvalidCondition: naming the field, and what the model has instead.
    """
    match condition:
        case ScheduledCondition():
            problems: list[tuple[str, str]] = []
        case DriftCondition():
            problems = [("trigger_condition.columns", problem) for problem in _columns(condition, spec)]
        case PerformanceCondition():
            problems = list(_performance(condition, spec))
        case _:
            assert_never(condition)
    if problems:
        raise InvalidCondition(problems)


def _columns(condition: DriftCondition, spec: ModelSpec) -> Iterator[str]:
    unknown = [column for column in condition.columns or () if column not in spec.features]
    if unknown:
        are = "is no feature" if len(unknown) == 1 else "are no features"
        yield f"{', '.join(unknown)} {are} of {spec.name!r}; its features: {', '.join(spec.features)}"


def judged_metric(condition: PerformanceCondition, spec: ModelSpec) -> Metric | None:
    """The metric that the condition is about; None if the model's task has none of this name."""
    if condition.metric is None:
        return spec.primary_metric
    found = _metrics(spec).get(condition.metric)
    return found if found is not None and spec.task in found.tasks else None


def _metrics(spec: ModelSpec) -> dict[str, Metric]:
    # The model's own come last, and win: a team's may have any name.
    return {**METRICS, **{metric.name: metric for metric in spec.metrics}}


def _performance(condition: PerformanceCondition, spec: ModelSpec) -> Iterator[tuple[str, str]]:
    metric = judged_metric(condition, spec)
    if metric is None:
        known = _metrics(spec)
        fitting = ", ".join(sorted(name for name, one in known.items() if spec.task in one.tasks))
        problem = "does not fit the task" if condition.metric in known else "is unknown"
        yield (
            "trigger_condition.metric",
            f"{condition.metric!r} {problem}; for {spec.task} models: {fitting}",
        )
    elif condition.estimate and not _estimable(metric, spec):
        yield (
            "trigger_condition.estimate",
            f"{metric.name} cannot be estimated without labels; choose rmse or a metric that is a mean over "
            "rows (mae, mape), or leave estimate out",
        )


def _estimable(metric: Metric, spec: ModelSpec) -> bool:
    """Every metric of a classification; of a regression those that follow from expected errors."""
    return spec.task != "regression" or metric.per_row is not None or metric.name == "rmse"
