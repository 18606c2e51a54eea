"""Cron expressions: which are refused, and that the others mean what they mean to Prefect."""

import asyncio
import re
from datetime import UTC, datetime
from itertools import islice

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from prefect.server.schemas.schedules import CronSchedule

from retraining.triggers.cron import check_cron, local_times


def times(expression: str, after: datetime, count: int) -> list[datetime]:
    return list(islice(local_times(expression, after), count))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["2026-05-04 02:30", "2026-05-05 02:30", "2026-05-06 02:30"]),
        ("*/25 8 * * *", ["2026-05-04 08:00", "2026-05-04 08:25", "2026-05-04 08:50"]),
        ("0 6,18 * * mon-fri", ["2026-05-04 06:00", "2026-05-04 18:00", "2026-05-05 06:00"]),
        ("0 0 * * 7", ["2026-05-10 00:00", "2026-05-17 00:00", "2026-05-24 00:00"]),
        ("0 0 1 JAN,jul *", ["2026-07-01 00:00", "2027-01-01 00:00", "2027-07-01 00:00"]),
        ("0 0 29 2 *", ["2028-02-29 00:00", "2032-02-29 00:00", "2036-02-29 00:00"]),
        ("0 0 13 * 5", ["2026-05-08 00:00", "2026-05-13 00:00", "2026-05-15 00:00"]),
    ],
)
def test_an_expression_names_local_times(expression: str, expected: list[str]) -> None:
    check_cron(expression)

    assert times(expression, datetime(2026, 5, 4), 3) == [datetime.fromisoformat(one) for one in expected]


def test_a_time_that_is_now_is_not_named_again() -> None:
    assert times("0 8 * * *", datetime(2026, 5, 4, 8), 1) == [datetime(2026, 5, 5, 8)]
    assert times("0 8 * * *", datetime(2026, 5, 4, 7, 59, 59), 1) == [datetime(2026, 5, 4, 8)]


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("", "five fields"),
        ("@daily", "five fields"),
        ("0 0 0 * * *", "five fields"),
        ("60 * * * *", "minute: '60' is not in 0 to 59"),
        ("* 24 * * *", "hour: '24'"),
        ("* * 0 * *", "day of month: '0'"),
        ("* * * 13 *", "month: '13'"),
        ("* * * * 8", "day of week: '8'"),
        ("* * * * sat-mon", "'sat-mon' is no range"),
        ("5-5 * * * *", "'5-5' is no range"),
        ("*/0 * * * *", "steps are 1 to 59"),
        ("*,5 * * * *", "leave out the rest"),
        ("0 0 * * 1/2", "list the days instead of '1/2'"),
        ("0 0 L * *", "'L' is no number"),
        ("0 0 * * mon#1", "'mon#1' is no number"),
        ("-1 * * * *", "'' is no number"),
        ("٣ * * * *", "is no number"),
        ("0 0 30 2 *", "names a day that no month has"),
        ("0 0 1,31 * *", "make two triggers"),
        ("0 0 */10 * *", "make two triggers"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_reason(expression: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        check_cron(expression)


def field(lowest: int, highest: int) -> st.SearchStrategy[str]:
    number = st.integers(lowest, highest)
    step = st.integers(1, highest)
    span = st.tuples(number, number).filter(lambda ends: ends[0] < ends[1])
    part = st.one_of(
        number.map(str),
        span.map(lambda ends: f"{ends[0]}-{ends[1]}"),
        step.map(lambda every: f"*/{every}"),
        st.tuples(number, step).map(lambda pair: f"{pair[0]}/{pair[1]}"),
        st.tuples(span, step).map(lambda pair: f"{pair[0][0]}-{pair[0][1]}/{pair[1]}"),
    )
    return st.just("*") | st.lists(part, min_size=1, max_size=3).map(",".join)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.tuples(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7)).map(" ".join),
    st.datetimes(datetime(2026, 1, 1), datetime(2029, 12, 31)),
)
def test_what_is_accepted_means_to_prefect_what_it_means_here(expression: str, after: datetime) -> None:
    try:
        check_cron(expression)
    except ValueError:
        assume(False)
    ours = times(expression, after, 8)

    schedule = CronSchedule(cron=expression, timezone="UTC")
    theirs = asyncio.run(schedule.get_dates(n=9, start=after.replace(tzinfo=UTC)))

    plain = [one.astimezone(UTC).replace(tzinfo=None) for one in theirs]
    assert ours == [one for one in plain if one > after][:8]
