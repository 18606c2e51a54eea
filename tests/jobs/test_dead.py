"""Which runs are ended, and why: in doubt for the run."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from retraining.jobs.dead import NEVER_BEGAN, Action, Evidence, Stage, judge

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
INTERVAL = timedelta(seconds=30)
LONG_AGO = NOW - timedelta(hours=1)
WATCHED = timedelta(minutes=1)

SILENT = Evidence(Stage.RUNNING, LONG_AGO, heard=NOW - timedelta(seconds=91), interval=INTERVAL)
TAKEN = Evidence(Stage.TAKEN, NOW - NEVER_BEGAN, interval=INTERVAL)


@pytest.mark.parametrize(
    ("evidence", "action", "reason"),
    [
        (replace(SILENT, stage=Stage.FINAL), Action.SPARE, "it is over"),
        (replace(SILENT, stage=Stage.WAITING), Action.SPARE, "no process is expected"),
        (replace(SILENT, heard=NOW - timedelta(seconds=89)), Action.SPARE, "it was heard of 89 s ago"),
        (replace(SILENT, heard=None, since=NOW - timedelta(seconds=5)), Action.SPARE, "heard of 5 s ago"),
        (replace(SILENT, lives_here=True, identifier="77"), Action.SPARE, "its process 77 lives on this"),
        (replace(SILENT, interval=None), Action.SPARE, "it sends no heartbeats"),
        (replace(SILENT, interval=timedelta(minutes=3)), Action.SPARE, "it was heard of 91 s ago"),
        (replace(SILENT, heard=NOW + timedelta(minutes=5)), Action.SPARE, "heard of 0 s ago"),
        (SILENT, Action.CRASH, "no sign of life since 2026-05-04 11:58:29 UTC"),
        (replace(SILENT, heard=None), Action.CRASH, "no sign of life since 2026-05-04 11:00:00 UTC"),
        (replace(SILENT, worker="w"), Action.CRASH, "11:58:29 UTC, and its worker w is gone"),
        (replace(SILENT, worker="w", worker_lives=True), Action.CRASH, "11:58:29 UTC"),
        (replace(SILENT, stage=Stage.CANCELLING), Action.CANCEL, "no sign of life since"),
        (replace(TAKEN, since=NOW - timedelta(minutes=4)), Action.SPARE, "taken 240 s ago"),
        (TAKEN, Action.GIVE_BACK, "no process was started; no worker is known to have it"),
        (replace(TAKEN, worker="w"), Action.GIVE_BACK, "no process was started; its worker w is gone"),
        (replace(TAKEN, worker="w", worker_lives=True), Action.SPARE, "its worker w lives"),
        (replace(TAKEN, worker="w", identifier="77"), Action.CRASH, "its process never began"),
        (replace(TAKEN, identifier="job/abc"), Action.SPARE, "job/abc starts it, elsewhere"),
    ],
)
def test_a_run_is_ended_only_on_evidence(evidence: Evidence, action: Action, reason: str) -> None:
    judgement = judge(evidence, NOW, WATCHED)
    assert judgement.action is action
    assert reason in judgement.reason


def test_a_silent_run_is_watched_for_two_intervals_before_it_is_ended() -> None:
    """The server was away, perhaps, and its heartbeats with it."""
    for seconds, action in ((0, Action.WATCH), (59, Action.WATCH), (60, Action.CRASH)):
        assert judge(SILENT, NOW, timedelta(seconds=seconds)).action is action
