"""What a budget allows, by plain numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retraining.rates.budget import MICROSECONDS as SECOND
from retraining.rates.budget import Budget, spend

SIX = Budget("six", 6, 60)


def test_so_many_at_once_as_it_holds_and_then_one_each_interval() -> None:
    full_at, told = 0, []
    for _ in range(7):
        standing, full_at = spend(SIX, full_at, SECOND * 1_000)
        told.append((standing.allowed, standing.remaining, standing.full_after, standing.retry_after))
    assert told == [
        *((True, 5 - spent, 10.0 * (spent + 1), 0.0 if spent < 5 else 10.0) for spent in range(6)),
        (False, 0, 60.0, 10.0),
    ]
    standing, full_at = spend(SIX, full_at, SECOND * 1_010)
    assert (standing.allowed, standing.remaining) == (True, 0)
    assert not spend(SIX, full_at, SECOND * 1_019)[0].allowed
    assert spend(SIX, full_at, SECOND * 1_060)[0].remaining == 4


def test_looking_changes_nothing() -> None:
    _, full_at = spend(SIX, 0, SECOND * 1_000)
    standing, after = spend(SIX, full_at, SECOND * 1_000, 0)
    assert (standing.remaining, after) == (5, full_at)


@given(st.integers(1, 1_000_000), st.lists(st.integers(0, 30 * SECOND), min_size=1, max_size=60))
def test_never_more_than_it_holds_and_what_was_refilled(requests: int, pauses: list[int]) -> None:
    """Whatever the pauses; and who waits as long as is said is allowed."""
    budget, full_at, now = Budget("any", requests), 0, 0
    for pause in pauses:
        now += pause
        standing, full_at = spend(budget, full_at, now, 1 + requests // 2)
        if not standing.allowed:
            assert full_at > now
            standing, full_at = spend(budget, full_at, now, standing.remaining)
            assert (standing.allowed, standing.remaining) == (True, 0)
            now += round(standing.retry_after * SECOND)
            assert not spend(budget, full_at, now - 1)[0].allowed
            standing, full_at = spend(budget, full_at, now)
            assert standing.allowed
        assert 0 <= standing.remaining < requests
        assert full_at - now <= budget.capacity


@pytest.mark.parametrize("requests", [1, 7, 120, 1_200, 3_000, 999_983, 1_000_000])
def test_all_of_it_is_there_to_the_last(requests: int) -> None:
    budget, full_at, now = Budget("any", requests), 0, 1_795_000_000_123_456
    for spent in range(min(requests, 3_000)):
        standing, full_at = spend(budget, full_at, now)
        assert (standing.allowed, standing.remaining) == (True, requests - spent - 1)
    _, full_at = spend(budget, full_at, now, standing.remaining)
    assert not spend(budget, full_at, now)[0].allowed
