"""What a caller may ask for, and what a job shows."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from retraining.jobs.job import JOB_EXAMPLE, RetrainingJob, RetrainingRequest, RetrainingResponse


def request(**fields: Any) -> RetrainingRequest:
    return RetrainingRequest.model_validate({"model_name": "churn", **fields})


def test_a_request_needs_only_the_model() -> None:
    asked = request()
    assert (asked.parameters, asked.as_of, asked.if_running) == ({}, None, "queue")


@pytest.mark.parametrize(
    ("given", "utc"),
    [
        ("1998-04-01", datetime(1998, 4, 1, tzinfo=UTC)),
        ("1998-04-01T00:00:00", datetime(1998, 4, 1, tzinfo=UTC)),
        ("1998-04-01T02:00:00+02:00", datetime(1998, 4, 1, tzinfo=UTC)),
    ],
)
def test_as_of_is_utc_unless_it_says_otherwise(given: str, utc: datetime) -> None:
    as_of = request(as_of=given).as_of
    assert as_of is not None
    assert (as_of, as_of.tzinfo) == (utc, UTC)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"model_name": ""}, "at least 1 character"),
        ({"model_name": "x" * 201}, "at most 200 characters"),
        ({"model": "churn"}, "Extra inputs are not permitted"),
        ({"if_running": "wait"}, "'queue' or 'reject'"),
        ({"parameters": []}, "valid dictionary"),
        ({"as_of": "soon"}, "valid datetime"),
        ({"as_of": 12345}, "is a number"),
        ({"as_of": "12345"}, "is a number"),
        ({"as_of": "0001-01-01T00:00:00+14:00"}, "beyond the calendar"),
        ({"as_of": "1066-10-14"}, "before 1900"),
        ({"parameters": {"rate": float("nan")}}, "parameters.rate is not a finite number"),
        ({"parameters": {"seed": 2**64}}, "parameters.seed is an integer of more than 64 bits"),
        ({"parameters": {"names": ["a", "\x00"]}}, "parameters.names.1 contains a NUL"),
        ({"parameters": {"name": "\ud800"}}, "half a surrogate pair"),
        ({"parameters": {"\x00": 1}}, "NUL"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        request(**fields)


def test_parameters_nested_without_end_are_refused() -> None:
    nested: dict[str, Any] = {}
    for _ in range(10_000):
        nested = {"more": nested}
    with pytest.raises(ValidationError, match="nested more than 20 levels"):
        request(parameters=nested)


def test_a_job_shows_every_column_of_the_contract_and_no_bookkeeping() -> None:
    shown = RetrainingJob.model_validate({**JOB_EXAMPLE, "progress_mark": "2026"}).model_dump()
    assert set(shown) == set(JOB_EXAMPLE)
    contract = {
        *("id", "model_name", "status", "triggered_by", "trigger_type", "parameters", "started_at"),
        *("completed_at", "error_message", "model_version_before", "model_version_after"),
    }
    assert contract <= set(shown)


@pytest.mark.parametrize("model", [RetrainingRequest, RetrainingResponse])
def test_the_examples_of_the_documentation_are_valid(
    model: type[RetrainingRequest] | type[RetrainingResponse],
) -> None:
    examples = model.model_json_schema()["examples"]
    assert examples
    for example in examples:
        model.model_validate(example)
