"""Whether a run whose process may be gone is ended, and the reason for people. No vendor in here."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

SILENT_INTERVALS = 3
"""A run that was not heard of for so many intervals of its heartbeat is suspect."""
WATCHED_INTERVALS = 2
"""A suspect is watched for so many: the server that its heartbeats did not reach may be back just now."""
NEVER_BEGAN = timedelta(minutes=5)
"""So long a process may take from being asked for to its first line."""


class Stage(StrEnum):
    """Where a run is, as far as its process matters."""

    WAITING = "waiting"
    """No worker has it."""
    TAKEN = "taken"
    """A worker has taken it, its process has not begun."""
    RUNNING = "running"
    CANCELLING = "cancelling"
    FINAL = "final"


class Action(StrEnum):
    """What becomes of a run."""

    SPARE = "spare"
    WATCH = "watch"
    """Look again, it is not clear yet."""
    CRASH = "crash"
    CANCEL = "cancel"
    GIVE_BACK = "give_back"
    """Let it wait again: it never had a process."""


@dataclass(frozen=True)
class Evidence:
    """What is known of a run. Times are UTC."""

    stage: Stage
    since: datetime
    """When it entered the stage."""
    heard: datetime | None = None
    """Its process's last heartbeat or report; None if there was none."""
    interval: timedelta | None = None
    """How often its process sends heartbeats; None if it sends none."""
    lives_here: bool = False
    """A process of this machine is its process."""
    identifier: str | None = None
    """What its worker calls its process: a process id, or a name where jobs run elsewhere."""
    worker: str | None = None
    """The worker that took it, if that is known."""
    worker_lives: bool = False


@dataclass(frozen=True)
class Judgement:
    """What becomes of a run, and why."""

    action: Action
    reason: str


def judge(evidence: Evidence, now: datetime, watched: timedelta = timedelta(0)) -> Judgement:
    """Say what becomes of a run that has been `watched` for so long, in doubt for the run."""
    if evidence.stage is Stage.FINAL:
        return Judgement(Action.SPARE, "it is over")
    if evidence.stage is Stage.WAITING:
        return Judgement(Action.SPARE, "it waits, no process is expected")
    if evidence.lives_here:
        return Judgement(Action.SPARE, f"its process {evidence.identifier} lives on this machine")
    if evidence.stage is Stage.TAKEN:
        return _never_began(evidence, now)
    return _silent(evidence, now, watched)


def _never_began(evidence: Evidence, now: datetime) -> Judgement:
    waited = now - evidence.since
    if waited < NEVER_BEGAN:
        return Judgement(Action.SPARE, f"it was taken {_seconds(waited)} ago, its process may be starting")
    if evidence.worker_lives:
        return Judgement(Action.SPARE, f"its worker {evidence.worker} lives, and looks after it")
    gone = f"its worker {evidence.worker} is gone" if evidence.worker else "no worker is known to have it"
    if evidence.identifier is None:
        return Judgement(
            Action.GIVE_BACK, f"taken at {_time(evidence.since)}, no process was started; {gone}"
        )
    if not evidence.identifier.isdigit():
        return Judgement(Action.SPARE, f"{evidence.identifier} starts it, elsewhere, when there is room")
    return Judgement(Action.CRASH, f"taken at {_time(evidence.since)}, its process never began; {gone}")


def _silent(evidence: Evidence, now: datetime, watched: timedelta) -> Judgement:
    if evidence.interval is None:
        return Judgement(Action.SPARE, "it sends no heartbeats, so silence says nothing")
    heard = max(evidence.since, evidence.heard or evidence.since)
    if now - heard < SILENT_INTERVALS * evidence.interval:
        return Judgement(Action.SPARE, f"it was heard of {_seconds(now - heard)} ago")
    gone = (
        f", and its worker {evidence.worker} is gone" if evidence.worker and not evidence.worker_lives else ""
    )
    silence = f"no sign of life since {_time(heard)}{gone}"
    if watched < WATCHED_INTERVALS * evidence.interval:
        return Judgement(Action.WATCH, silence)
    return Judgement(Action.CANCEL if evidence.stage is Stage.CANCELLING else Action.CRASH, silence)


def _seconds(span: timedelta) -> str:
    return f"{max(span.total_seconds(), 0):.0f} s"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
