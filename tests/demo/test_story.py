"""How the demo reads what the API tells it. The demo as a whole asserts for itself; see `test_demo`."""

from threading import Event
from typing import Any

import pytest

from retraining.demo.story import check, comparison_of, expect, reigns_of, together
from retraining.demo.timeline import DemoFailed


def job(**facts: Any) -> dict[str, Any]:
    return {"model_name": "churn", "status": "completed", "promoted": True, "decision": None, **facts}


def test_scores_before_and_after_come_from_the_decision() -> None:
    """Thousands are written with a comma."""
    decision = (
        "mae 1,234.50 improves on the champion's 2,469.00 (95% interval of the improvement 10.66 to 12.04)"
    )
    compared = comparison_of(job(decision=decision))
    assert (compared.metric, compared.before, compared.after) == ("mae", 2469.0, 1234.5)


@pytest.mark.parametrize("decision", [None, "first version, mae 20.65"])
def test_a_decision_without_scores_is_no_comparison(decision: str | None) -> None:
    """The demo fails rather than show a number that it does not have."""
    with pytest.raises(DemoFailed, match="names no scores"):
        comparison_of(job(decision=decision))


@pytest.mark.parametrize(("status", "promoted"), [("failed", None), ("completed", False)])
def test_a_job_that_ends_otherwise_fails_the_demo(status: str, promoted: bool | None) -> None:
    """With what was expected, and everything that was seen."""
    with pytest.raises(DemoFailed, match=r"expected that churn ends as completed, promoted; seen: \{"):
        expect(job(status=status, promoted=promoted), "completed", promoted=True)


def test_what_happened_passes() -> None:
    """Nothing is raised."""
    expect(job(), "completed", promoted=True)
    check(True, "it happens", None)


def test_reigns_end_where_the_next_begins() -> None:
    """A champion that came back has two."""
    promotions = [
        {"version": "1", "at": "2026-05-04T08:30:00Z"},
        {"version": "2", "at": "2026-05-04T08:20:00Z"},
        {"version": "1", "at": "2026-05-04T08:10:00Z"},
    ]
    assert reigns_of(promotions) == {
        "1": "08:10:00 to 08:20:00, 08:30:00 to now",
        "2": "08:20:00 to 08:30:00",
    }


def test_a_scene_that_fails_is_not_kept_waiting() -> None:
    """The demo ends at the first failure, whatever else is still under way."""
    never = Event()

    def fail() -> None:
        raise DemoFailed("no such thing")

    with pytest.raises(DemoFailed, match="no such thing"):
        together(lambda: check(never.wait(60), "it ends", None), fail)
    assert not never.is_set()


def test_scenes_play_at_the_same_time() -> None:
    """Each waits for the other, so one after the other would never end."""
    first, second = Event(), Event()

    def meet(mine: Event, other: Event) -> None:
        mine.set()
        check(other.wait(10), "they meet", None)

    together(lambda: meet(first, second), lambda: meet(second, first))
