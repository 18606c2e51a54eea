"""Whether a condition fits the model that it is for: its columns, its metric. Pure."""

from collections.abc import Iterator
from typing import assert_never

from retraining.catalog.spec import ModelSpec
from retraining.errors import InvalidCondition
from retraining.training.metrics import METRICS
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
            problems = [("trigger_condition.metric", problem) for problem in _metric(condition, spec)]
        case _:
            assert_never(condition)
    if problems:
        raise InvalidCondition(problems)


def _columns(condition: DriftCondition, spec: ModelSpec) -> Iterator[str]:
    unknown = [column for column in condition.columns or () if column not in spec.features]
    if unknown:
        are = "is no feature" if len(unknown) == 1 else "are no features"
        yield f"{', '.join(unknown)} {are} of {spec.name!r}; its features: {', '.join(spec.features)}"


def _metric(condition: PerformanceCondition, spec: ModelSpec) -> Iterator[str]:
    # The model's own metrics first: a team's may have any name.
    known = {**METRICS, **{metric.name: metric for metric in spec.metrics}}
    fitting = sorted(name for name, metric in known.items() if spec.task in metric.tasks)
    if condition.metric is None or condition.metric in fitting:
        return
    problem = "does not fit the task" if condition.metric in known else "is unknown"
    yield f"{condition.metric!r} {problem}; for {spec.task} models: {', '.join(fitting)}"
