"""Signals of external monitors: what is taken, and when two are the same."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from retraining.triggers.signal import Signal


def test_a_signal_may_be_empty() -> None:
    signal = Signal()
    assert (signal.reason, signal.scores, signal.payload, signal.at) == (
        "breach reported by an external monitor",
        {},
        None,
        None,
    )


@pytest.mark.parametrize(
    ("fields", "field", "problem"),
    [
        ({"reason": ""}, "reason", "at least 1"),
        ({"reason": "x" * 501}, "reason", "at most 500"),
        ({"reason": "nul \x00"}, "reason", "NUL"),
        ({"scores": {f"s{number}": 1 for number in range(51)}}, "scores", "at most 50"),
        ({"scores": {"a": float("nan")}}, "scores", "finite"),
        ({"scores": {"a": "0.5"}}, "scores", "valid number"),
        ({"scores": {"a": True}}, "scores", "valid number"),
        ({"scores": {"": 1}}, "scores", "at least 1"),
        ({"payload": {"text": "x" * 16_385}}, "payload", "more than 16,384"),
        ({"payload": {"number": 2**64}}, "payload", "64 bits"),
        ({"payload": []}, "payload", "dictionary"),
        ({"scores": {"__prefect_kind": 1}}, "scores", "begin with __prefect"),
        ({"payload": {"rows": [{"__prefect_kind": "json"}]}}, "payload", "begin with __prefect"),
        ({"at": 1_700_000_000}, "at", "write a moment"),
        ({"at": "1899-12-31T00:00:00Z"}, "at", "1900"),
        ({"surprise": 1}, "surprise", "not permitted"),
    ],
)
def test_what_cannot_be_kept_is_refused(fields: dict[str, Any], field: str, problem: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Signal.model_validate(fields)
    assert {error["loc"][0] for error in raised.value.errors()} == {field}
    assert problem in raised.value.errors()[0]["msg"]


def test_a_payload_of_exactly_16_kb_is_taken() -> None:
    Signal(payload={"text": "x" * (16 * 1024 - len('{"text": ""}'))})


def test_the_moment_is_utc_unless_it_says_otherwise() -> None:
    assert Signal.model_validate({"at": "2026-05-04T08:00:00"}).at == datetime(2026, 5, 4, 8, tzinfo=UTC)
    assert Signal.model_validate({"at": "2026-05-04T08:00:00+02:00"}).at == datetime(
        2026, 5, 4, 6, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "change",
    [{"reason": "y"}, {"scores": {"a": 2}}, {"payload": {"k": 2}}, {"at": "2026-05-04T09:00:00Z"}],
)
def test_signals_are_the_same_if_all_they_say_is(change: dict[str, Any]) -> None:
    said = {"reason": "x", "scores": {"a": 1, "b": 2}, "payload": {"k": 1}, "at": "2026-05-04T08:00:00Z"}
    same = {**said, "scores": {"b": 2.0, "a": 1.0}, "at": "2026-05-04T10:00:00+02:00"}
    assert Signal.model_validate(said).digest == Signal.model_validate(same).digest
    assert Signal.model_validate(said).digest != Signal.model_validate({**said, **change}).digest
