"""When a trigger fires: one class of conditions for each type of trigger. No vendor in here."""

import re
from datetime import timedelta
from functools import cache
from typing import Annotated, Any, Literal, Self
from zoneinfo import available_timezones

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from retraining.drift.methods import Method
from retraining.errors import InvalidCondition
from retraining.jobs.job import TriggerType
from retraining.triggers.cron import check_cron
from retraining.triggers.duration import Duration, duration_text

LONGEST = timedelta(days=3650)
SHORTEST_CHECK = timedelta(seconds=10)
DEFAULT_MAX_DROP = 0.05

Window = Annotated[Duration, Field(gt=timedelta(0), le=LONGEST)]
Every = Annotated[Duration, Field(ge=SHORTEST_CHECK, le=LONGEST)]
Cooldown = Annotated[Duration, Field(ge=timedelta(0), le=LONGEST)]
MissedRuns = Literal["latest", "skip", "all"]
OTHER_NAMES = {
    "ks": "kolmogorov_smirnov",
    "chi2": "chi_square",
    "chisquare": "chi_square",
    "js": "jensen_shannon",
    "jensenshannon": "jensen_shannon",
    "normalized_wasserstein": "wasserstein",
    "population_stability_index": "psi",
}
"""Of the drift methods."""


@cache
def _timezones() -> frozenset[str]:
    """The names of all time zones; finding them reads folders."""
    return frozenset(available_timezones())


def _written_otherwise(method: object) -> object:
    """A method by one of the names that other tools give it."""
    if not isinstance(method, str):
        return method
    name = method.strip().lower().replace("-", "_").replace(" ", "_")
    return OTHER_NAMES.get(name, name)


class _Condition(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ScheduledCondition(_Condition):
    """At times: `cron` in a time zone, or `every` so often."""

    trigger_type: Literal[TriggerType.SCHEDULED] = Field(TriggerType.SCHEDULED, exclude=True)
    cron: str | None = Field(None, max_length=200, description="Five fields, as crontab has them.")
    timezone: str = Field("UTC", description="An IANA time zone, which `cron` is read in.")
    every: Every | None = Field(None, description="A duration between runs, at least 10s.")
    missed_runs: MissedRuns = Field(
        "latest",
        description="What becomes of runs that an outage held up: only the `latest` runs, `skip` them, "
        "or `all`.",
    )

    @field_validator("cron")
    @classmethod
    def _cron_is_valid(cls, cron: str | None) -> str | None:
        if cron is not None:
            check_cron(cron)
        return cron

    @field_validator("timezone")
    @classmethod
    def _timezone_exists(cls, timezone: str) -> str:
        if timezone not in _timezones():
            raise ValueError(f"unknown time zone {timezone!r}; write one like UTC or Europe/Berlin")
        return timezone

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.cron is None) == (self.every is None):
            raise ValueError("give exactly one of cron and every")
        if self.every is not None and self.timezone != "UTC":
            raise ValueError("timezone goes with cron; `every` counts from its last run")
        return self


class _MonitorCondition(_Condition):
    window: Window | None = Field(
        None, description="How far back a check looks; everything since the champion's training data if null."
    )
    check_every: Every = Field(timedelta(days=1), description="How often it is checked, at least every 10s.")
    patience: int = Field(1, strict=True, ge=1, le=1000, description="So many checks in a row must breach.")
    cooldown: Cooldown = Field(timedelta(0), description="For so long after firing it does not fire again.")


class DriftCondition(_MonitorCondition):
    """When the data has moved away from what the champion was trained on."""

    trigger_type: Literal[TriggerType.DRIFT] = Field(TriggerType.DRIFT, exclude=True)
    window: Window | None = Field(
        None,
        description="How far back a check looks; everything since the champion's training data if null. With "
        "null and `threshold: auto` the newer half of that time is judged by itself as well, once it has "
        "`min_rows`, so that a late change does not drown in a long window: each of the two at half the "
        "`false_alarm_rate`, which holds for the check as a whole.",
    )
    method: Annotated[Literal[Method, "auto"], BeforeValidator(_written_otherwise)] = Field(
        "auto", description="The statistic; `auto` by column type. Short names are understood: ks, chi2, js."
    )
    threshold: Annotated[float, Field(strict=True, gt=0, le=1_000)] | Literal["auto"] = Field(
        "auto", description="A score that counts as drift, or `auto`: calibrated on the reference itself."
    )
    false_alarm_rate: float = Field(
        0.01,
        strict=True,
        gt=0,
        lt=0.5,
        description="The chance of a false alarm per check, over all columns, if `auto`.",
    )
    columns: tuple[str, ...] | None = Field(
        None, min_length=1, max_length=10_000, description="The columns that decide; all features if null."
    )
    drift_share: float | None = Field(
        None,
        strict=True,
        gt=0,
        le=1,
        description="The share of columns that must drift; half of all if null, or any of the chosen "
        "`columns`.",
    )
    min_rows: int = Field(100, strict=True, ge=2, description="Windows with fewer rows are not judged.")

    @field_validator("columns")
    @classmethod
    def _columns_once(cls, columns: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if columns is not None and len(set(columns)) != len(columns):
            raise ValueError("names a column more than once")
        return columns


class PerformanceCondition(_MonitorCondition):
    """When the champion predicts worse than it did on its holdout."""

    trigger_type: Literal[TriggerType.PERFORMANCE] = Field(TriggerType.PERFORMANCE, exclude=True)
    metric: str | None = Field(None, max_length=100, description="The model's primary metric if null.")
    threshold: float | None = Field(
        None, strict=True, description="A score that is bad enough, in the metric's unit."
    )
    max_drop: float | None = Field(
        None,
        strict=True,
        gt=0,
        le=1_000,
        description="How much worse than the champion's holdout score, as a share of it; 0.05 if neither is "
        "given.",
    )
    label_delay: Annotated[Duration, Field(ge=timedelta(0), le=LONGEST)] | None = Field(
        None, description="How long after a row's time its label is complete; the model's own if null."
    )
    min_labels: int = Field(
        100, strict=True, ge=2, description="Windows with fewer labelled rows are not judged."
    )
    estimate: bool = Field(
        False,
        strict=True,
        description="Judge by performance estimated from the scores alone, without waiting for labels.",
    )

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if self.threshold is not None and self.max_drop is not None:
            raise ValueError("give one of threshold and max_drop, not both")
        return self

    @property
    def allowed_drop(self) -> float | None:
        """`max_drop`, or its default; None if an absolute threshold decides."""
        if self.threshold is not None:
            return None
        return DEFAULT_MAX_DROP if self.max_drop is None else self.max_drop


MonitorCondition = DriftCondition | PerformanceCondition
TriggerCondition = Annotated[
    ScheduledCondition | DriftCondition | PerformanceCondition, Field(discriminator="trigger_type")
]
_ANY: TypeAdapter[ScheduledCondition | DriftCondition | PerformanceCondition] = TypeAdapter(TriggerCondition)


def parse_condition(
    trigger_type: TriggerType, condition: dict[str, Any]
) -> ScheduledCondition | DriftCondition | PerformanceCondition:
    """The condition of a trigger, from JSON.

    Raises:
        InvalidCondition: naming every field that is unknown, missing or out of range.
    """
    if trigger_type is TriggerType.MANUAL:
        raise InvalidCondition([("trigger_type", "manual is no trigger: start a job instead")])
    if "trigger_type" in condition:
        raise InvalidCondition(
            [("trigger_condition.trigger_type", "belongs beside the condition, not inside")]
        )
    try:
        return _ANY.validate_python({**condition, "trigger_type": trigger_type})
    except ValidationError as exc:
        raise InvalidCondition([_problem(error) for error in exc.errors(include_url=False)]) from exc


_WRITTEN_FOR_PYTHON = re.compile(r"datetime\.timedelta\(([^)]*)\)")


def _problem(error: ErrorDetails) -> tuple[str, str]:
    """The field, and what is wrong with it, in a person's words."""
    # The type of the condition comes first, and which of several forms was tried comes after the field.
    path = [str(part) for number, part in enumerate(error["loc"][1:]) if number == 0 or isinstance(part, int)]
    problem = _WRITTEN_FOR_PYTHON.sub(_duration, error["msg"].removeprefix("Value error, "))
    return ".".join(["trigger_condition", *path]), problem


def _duration(written: re.Match[str]) -> str:
    return duration_text(
        timedelta(**{unit: int(count) for unit, count in re.findall(r"(\w+)=(\d+)", written[1])})
    )
