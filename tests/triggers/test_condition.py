"""Conditions: what is accepted, what it means by default, and how a refusal names the field."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retraining.errors import InvalidCondition
from retraining.jobs.job import TriggerType
from retraining.triggers.condition import (
    DriftCondition,
    PerformanceCondition,
    ScheduledCondition,
    parse_condition,
)
from tests.jobs.news import steady

SCHEDULED, DRIFT, PERFORMANCE = TriggerType.SCHEDULED, TriggerType.DRIFT, TriggerType.PERFORMANCE


def problems(trigger_type: TriggerType, condition: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    with pytest.raises(InvalidCondition) as raised:
        parse_condition(trigger_type, condition)
    return raised.value.problems


@pytest.mark.parametrize(
    ("trigger_type", "condition", "stored"),
    [
        (
            SCHEDULED,
            {"cron": "30 2 * * *"},
            {"cron": "30 2 * * *", "timezone": "UTC", "every": None, "missed_runs": "latest"},
        ),
        (
            SCHEDULED,
            {"every": "90m", "missed_runs": "skip"},
            {"cron": None, "timezone": "UTC", "every": "1h30m", "missed_runs": "skip"},
        ),
        (
            DRIFT,
            {},
            {
                "window": None,
                "check_every": "1d",
                "patience": 1,
                "cooldown": "0s",
                "method": "auto",
                "threshold": "auto",
                "false_alarm_rate": 0.01,
                "columns": None,
                "drift_share": None,
                "min_rows": 100,
            },
        ),
        (
            PERFORMANCE,
            {"metric": "mae", "max_drop": 0.1, "window": "P30D", "label_delay": "90d"},
            {
                "window": "30d",
                "check_every": "1d",
                "patience": 1,
                "cooldown": "0s",
                "metric": "mae",
                "threshold": None,
                "max_drop": 0.1,
                "label_delay": "90d",
                "min_labels": 100,
                "estimate": False,
            },
        ),
    ],
)
def test_a_condition_is_stored_with_its_defaults_and_read_back_the_same(
    trigger_type: TriggerType, condition: dict[str, Any], stored: dict[str, Any]
) -> None:
    parsed = parse_condition(trigger_type, condition)
    assert parsed.model_dump(mode="json") == stored
    assert parse_condition(trigger_type, stored) == parsed


@pytest.mark.parametrize(
    ("trigger_type", "condition", "field", "problem"),
    [
        (SCHEDULED, {}, "trigger_condition", "exactly one of cron and every"),
        (SCHEDULED, {"cron": "0 0 * * *", "every": "1d"}, "trigger_condition", "exactly one"),
        (SCHEDULED, {"cron": "every day"}, "trigger_condition.cron", "five fields"),
        (SCHEDULED, {"cron": "61 * * * *"}, "trigger_condition.cron", "61"),
        (SCHEDULED, {"cron": "0 0 30 2 *"}, "trigger_condition.cron", "no month has"),
        (
            SCHEDULED,
            {"cron": "0 0 * * *", "timezone": "Mars/Olympus"},
            "trigger_condition.timezone",
            "Europe/Berlin",
        ),
        (SCHEDULED, {"every": "1d", "timezone": "Europe/Berlin"}, "trigger_condition", "goes with cron"),
        (SCHEDULED, {"every": "9s"}, "trigger_condition.every", "greater than or equal to 10s"),
        (SCHEDULED, {"every": "3651d"}, "trigger_condition.every", "less than or equal to 3650d"),
        (SCHEDULED, {"every": "1d", "missed_runs": "some"}, "trigger_condition.missed_runs", "'latest'"),
        (SCHEDULED, {"every": "1d", "surprise": 1}, "trigger_condition.surprise", "not permitted"),
        (DRIFT, {"window": "0s"}, "trigger_condition.window", "greater than 0s"),
        (DRIFT, {"window": "soon"}, "trigger_condition.window", "duration"),
        (DRIFT, {"patience": 0}, "trigger_condition.patience", "greater than or equal to 1"),
        (DRIFT, {"patience": 1.5}, "trigger_condition.patience", "integer"),
        (DRIFT, {"cooldown": "-1d"}, "trigger_condition.cooldown", "greater than or equal to 0s"),
        (DRIFT, {"cooldown": True}, "trigger_condition.cooldown", "no duration"),
        (DRIFT, {"threshold": 0}, "trigger_condition.threshold", "greater than 0"),
        (DRIFT, {"threshold": float("nan")}, "trigger_condition.threshold", "finite"),
        (DRIFT, {"false_alarm_rate": 0.5}, "trigger_condition.false_alarm_rate", "less than 0.5"),
        (DRIFT, {"drift_share": 1.1}, "trigger_condition.drift_share", "less than or equal to 1"),
        (DRIFT, {"columns": []}, "trigger_condition.columns", "at least 1"),
        (DRIFT, {"columns": ["a", "a"]}, "trigger_condition.columns", "more than once"),
        (DRIFT, {"method": "magic"}, "trigger_condition.method", "'psi'"),
        (DRIFT, {"min_rows": 1}, "trigger_condition.min_rows", "greater than or equal to 2"),
        (DRIFT, {"cron": "* * * * *"}, "trigger_condition.cron", "not permitted"),
        (DRIFT, {"trigger_type": "drift"}, "trigger_condition.trigger_type", "beside the condition"),
        (PERFORMANCE, {"threshold": 0.7, "max_drop": 0.1}, "trigger_condition", "not both"),
        (PERFORMANCE, {"threshold": float("inf")}, "trigger_condition.threshold", "finite"),
        (PERFORMANCE, {"max_drop": 0}, "trigger_condition.max_drop", "greater than 0"),
        (PERFORMANCE, {"min_labels": 1}, "trigger_condition.min_labels", "greater than or equal to 2"),
        (TriggerType.MANUAL, {}, "trigger_type", "start a job instead"),
    ],
)
def test_a_refusal_names_the_field_and_the_problem(
    trigger_type: TriggerType, condition: dict[str, Any], field: str, problem: str
) -> None:
    found = problems(trigger_type, condition)
    assert {name for name, _ in found} == {field}
    assert problem in "; ".join(text for _, text in found)


def test_all_that_is_wrong_is_told_at_once() -> None:
    found = problems(DRIFT, {"window": "soon", "patience": 0, "surprise": 1})
    assert {name for name, _ in found} == {
        "trigger_condition.window",
        "trigger_condition.patience",
        "trigger_condition.surprise",
    }


@pytest.mark.parametrize(
    ("condition", "allowed"),
    [({}, 0.05), ({"max_drop": 0.2}, 0.2), ({"threshold": 0.7}, None)],
)
def test_the_drop_that_is_allowed_has_a_default_unless_a_threshold_decides(
    condition: dict[str, Any], allowed: float | None
) -> None:
    parsed = parse_condition(PERFORMANCE, condition)
    assert isinstance(parsed, PerformanceCondition)
    assert parsed.allowed_drop == allowed


durations = st.timedeltas(timedelta(seconds=10), timedelta(days=3650))
monitors = {
    "window": st.none() | durations,
    "check_every": durations,
    "patience": st.integers(1, 1000),
    "cooldown": durations,
}
conditions = st.one_of(
    st.builds(ScheduledCondition, every=durations, missed_runs=st.sampled_from(["latest", "skip", "all"])),
    st.builds(
        ScheduledCondition,
        cron=st.builds("{} {} * * *".format, st.integers(0, 59), st.integers(0, 23)),
        timezone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
    ),
    st.builds(
        DriftCondition,
        **monitors,
        threshold=st.just("auto") | st.floats(1e-6, 1000),
        columns=st.none() | st.lists(st.text(min_size=1), min_size=1, unique=True).map(tuple),
        drift_share=st.none() | st.floats(1e-6, 1),
    ),
    st.builds(
        PerformanceCondition,
        **monitors,
        threshold=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        label_delay=st.none() | durations,
        estimate=st.booleans(),
    ),
)


@steady
@given(conditions)
def test_any_condition_survives_the_round_trip_through_json(
    condition: ScheduledCondition | DriftCondition | PerformanceCondition,
) -> None:
    stored = json.loads(json.dumps(condition.model_dump(mode="json")))
    assert parse_condition(condition.trigger_type, stored) == condition


@pytest.mark.parametrize(
    ("written", "method"),
    [
        ("ks", "kolmogorov_smirnov"),
        ("Jensen-Shannon", "jensen_shannon"),
        ("PSI", "psi"),
        ("chi2", "chi_square"),
    ],
)
def test_a_method_may_go_by_the_name_that_other_tools_give_it(written: str, method: str) -> None:
    condition = parse_condition(DRIFT, {"method": written})
    assert condition.model_dump(mode="json")["method"] == method
