"""Patience and cooldown, decided from the last evaluation alone."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retraining.triggers.condition import DriftCondition
from retraining.triggers.evaluation import Action, Evaluation, Outcome
from retraining.triggers.firing import Firing, decide_firing
from tests.jobs.news import steady
from tests.triggers.evaluating import START, a_finding, after, an_evaluation

BREACHED, QUIET, NOT_JUDGED, FAILED = Outcome.BREACHED, Outcome.QUIET, Outcome.NOT_JUDGED, Outcome.FAILED
HELD, FIRED, COOLING = Action.HELD_BY_PATIENCE, Action.FIRED, Action.HELD_BY_COOLDOWN


def follow(
    condition: DriftCondition, *findings: tuple[Outcome, str | None], hours: float = 1
) -> list[Firing]:
    """What is done about findings that come an hour apart, each decided from the evaluation before."""
    latest: Evaluation | None = None
    done = []
    for number, (outcome, champion) in enumerate(findings):
        at = after(hours=hours * number)
        finding = a_finding(outcome, champion_version=champion)
        firing = decide_firing(condition, finding, latest, at=at, enabled=True)
        latest = an_evaluation(
            at=at,
            outcome=outcome,
            champion_version=champion,
            patience_count=firing.patience_count,
            action=firing.action,
            last_fired_at=firing.last_fired_at,
        )
        done.append(firing)
    return done


@pytest.mark.parametrize(
    ("patience", "findings", "expected"),
    [
        (1, [(BREACHED, "3")], [(FIRED, 1)]),
        (2, [(BREACHED, "3"), (BREACHED, "3")], [(HELD, 1), (FIRED, 2)]),
        # A check that found nothing starts the count anew.
        (
            2,
            [(BREACHED, "3"), (QUIET, "3"), (BREACHED, "3"), (BREACHED, "3")],
            [(HELD, 1), (Action.NONE, 0), (HELD, 1), (FIRED, 2)],
        ),
        # One that could not judge leaves it, even if it did not get so far as to know the champion.
        (2, [(BREACHED, "3"), (NOT_JUDGED, "3"), (BREACHED, "3")], [(HELD, 1), (Action.NONE, 1), (FIRED, 2)]),
        (2, [(BREACHED, "3"), (FAILED, None), (BREACHED, "3")], [(HELD, 1), (Action.NONE, 1), (FIRED, 2)]),
        # A new champion starts it anew.
        (2, [(BREACHED, "3"), (BREACHED, "4"), (BREACHED, "4")], [(HELD, 1), (HELD, 1), (FIRED, 2)]),
        # So does firing.
        (2, [(BREACHED, "3")] * 4, [(HELD, 1), (FIRED, 2), (HELD, 1), (FIRED, 2)]),
        (1, [(QUIET, "3"), (FAILED, None), (NOT_JUDGED, None)], [(Action.NONE, 0)] * 3),
    ],
)
def test_breaches_are_counted_in_a_row_against_one_champion(
    patience: int,
    findings: list[tuple[Outcome, str | None]],
    expected: list[tuple[Action, int]],
) -> None:
    done = follow(DriftCondition(patience=patience), *findings)
    assert [(firing.action, firing.patience_count) for firing in done] == expected


def test_after_firing_it_cools_down_and_then_fires_again() -> None:
    condition = DriftCondition(cooldown=timedelta(hours=3))
    done = follow(condition, *[(BREACHED, "3")] * 5)
    assert [firing.action for firing in done] == [FIRED, COOLING, COOLING, FIRED, COOLING]
    assert [firing.in_cooldown for firing in done] == [False, True, True, False, True]
    assert [firing.cooldown_until for firing in done] == [
        None,
        after(hours=3),
        after(hours=3),
        None,
        after(hours=6),
    ]
    assert [firing.last_fired_at for firing in done] == [START, START, START, after(hours=3), after(hours=3)]


def test_a_cooldown_does_not_end_with_a_new_champion_or_a_quiet_check() -> None:
    condition = DriftCondition(cooldown=timedelta(hours=4))
    done = follow(condition, (BREACHED, "3"), (QUIET, "3"), (FAILED, None), (BREACHED, "4"), (BREACHED, "4"))
    assert [firing.action for firing in done] == [FIRED, Action.NONE, Action.NONE, COOLING, FIRED]


def test_patience_goes_on_counting_in_the_cooldown() -> None:
    condition = DriftCondition(patience=2, cooldown=timedelta(hours=4))
    done = follow(condition, *[(BREACHED, "3")] * 6)
    assert [firing.action for firing in done] == [HELD, FIRED, HELD, COOLING, COOLING, FIRED]


@pytest.mark.parametrize(
    ("latest", "at", "enabled", "action", "reason"),
    [
        ({}, START, True, FIRED, "3 of 4 drifted"),
        ({}, START, False, Action.DISABLED, "3 of 4 drifted; the trigger is disabled"),
        (
            {"last_fired_at": START},
            after(hours=1),
            True,
            COOLING,
            "3 of 4 drifted; fired before, cools down for another 23h",
        ),
        ({"last_fired_at": START}, after(days=1), True, FIRED, "3 of 4 drifted"),
    ],
)
def test_the_reason_says_why(
    latest: dict[str, Any], at: datetime, enabled: bool, action: Action, reason: str
) -> None:
    condition = DriftCondition(cooldown=timedelta(days=1))
    firing = decide_firing(condition, a_finding(), an_evaluation(**latest), at=at, enabled=enabled)
    assert (firing.action, firing.reason) == (action, reason)


def test_waiting_for_more_breaches_says_how_many() -> None:
    firing = decide_firing(DriftCondition(patience=3), a_finding(), None, at=START, enabled=True)
    assert firing.reason == "3 of 4 drifted; breach 1 in a row, fires at 3"


def test_a_disabled_trigger_goes_on_counting_and_fires_when_it_is_enabled() -> None:
    condition = DriftCondition(patience=2)
    first = decide_firing(condition, a_finding(), None, at=START, enabled=False)
    latest = an_evaluation(outcome=BREACHED, patience_count=first.patience_count, action=first.action)
    assert (
        decide_firing(condition, a_finding(), latest, at=after(hours=1), enabled=True).action is Action.FIRED
    )


@steady
@given(
    st.integers(1, 4),
    st.integers(0, 6),
    st.lists(st.tuples(st.sampled_from(list(Outcome)), st.sampled_from(["3", "4", None])), max_size=20),
)
def test_it_fires_on_breaches_only_and_never_before_patience_and_cooldown_are_over(
    patience: int, cooldown: int, findings: list[tuple[Outcome, str | None]]
) -> None:
    condition = DriftCondition(patience=patience, cooldown=timedelta(hours=cooldown))
    done = follow(condition, *findings)
    fired = [number for number, firing in enumerate(done) if firing.action is Action.FIRED]
    for number in fired:
        assert findings[number][0] is BREACHED
        assert done[number].patience_count >= patience
        assert sum(outcome is BREACHED for outcome, _ in findings[: number + 1]) >= patience
    assert all(later - earlier >= cooldown for earlier, later in pairwise(fired))
