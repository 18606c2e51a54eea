"""What becomes of a run that a trigger made: it starts a job, joins one, or makes way for a later run. Pure.

The facade asks soon after a run shows itself, the run's own process asks before it begins, and both must come
to the same answer whenever they look. So the history is told again in the order of the runs, and each is
judged by what was waiting or running when it came: what happens later changes the answer in one way only, a
run that was to join a job starts one of its own if that job is cancelled or fails first.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from retraining.jobs.job import TriggerType
from retraining.jobs.status import RetrainingStatus
from retraining.orchestrator.values import JobRun
from retraining.triggers.duration import duration_text

LATE = timedelta(seconds=60)
"""A schedule that skips missed runs takes a run for missed when nothing has run it for so long."""
REPLAYED = timedelta(days=7)
"""How far back a breach is looked for that a run repeats: for so long Prefect keeps events."""

SETTLE_SECONDS = 0.3
"""A run is first asked about so long after it came: all that came before it can be seen by then, though
Prefect dates runs before it stores them, and tells of them in any order."""

START = timedelta(seconds=30)
"""A run that a worker took in time does not make way for one that comes while its process starts. Otherwise a
schedule whose runs follow each other faster than processes start would never get one to run.

A bound, though it is known when a worker took a run whose process is still starting: of a run that has
started Prefect shows it no more, and everybody must tell one history, before the start and after; and the
process of a worker that died never comes.
"""
CLOCKS = timedelta(minutes=5)
"""How far the clock of who found a breach may be ahead of Prefect's."""


class Verdict(StrEnum):
    """What becomes of a run."""

    STARTS = "starts"
    JOINED = "joined"
    SUPERSEDED = "superseded"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Admission:
    """What becomes of a run, and why, if it does not start."""

    verdict: Verdict
    message: str = ""

    @property
    def state_name(self) -> str:
        """What Prefect calls the Cancelled state in which the run ends."""
        return self.verdict.capitalize()


STARTS = Admission(Verdict.STARTS)


def superseded(newer: UUID, due: datetime) -> Admission:
    """What becomes of a run whose place a newer one of its schedule takes, which came due then."""
    return Admission(Verdict.SUPERSEDED, f"superseded by run {newer}, due at {_moment(due)}")


def makes_way(taken_at: datetime | None, newer_due: datetime) -> bool:
    """Whether a newer run of its schedule takes a run's place: no worker had taken it when that came due."""
    return taken_at is None or taken_at >= newer_due


def unforeseeable(runs: Iterable[JobRun], admissions: Mapping[UUID, Admission], now: datetime) -> bool:
    """Whether it is better to wait: a process is starting of which nobody knows yet if it comes in time.

    After `START` it comes too late, if it comes at all: its worker may be gone.
    """
    return any(
        run.taken_at is not None
        and now - run.taken_at < START
        and run.id in admissions
        and admissions[run.id].verdict is Verdict.SUPERSEDED
        for run in runs
    )


def undecided(run: JobRun) -> bool:
    """Whether it has to be asked what becomes of the run: a trigger made it, and it is not over."""
    return run.due and run.cause is not None and not run.status.final


def look_back(runs: Iterable[JobRun], now: datetime) -> datetime:
    """From when on the ends of other runs count for these: none of them can be of a job that they join."""
    moments = [now]
    for run in runs:
        moments.append(run.created_at)
        if run.cause is not None and run.cause.at is not None:
            moments.append(run.cause.at)  # of a repeated breach: before its job began
    return max(min(moments), now - REPLAYED) - CLOCKS


def admit(runs: Iterable[JobRun], now: datetime) -> dict[UUID, Admission]:
    """Decide about all runs of one model that are due and not over.

    `runs`: these, and those that ended since `look_back`. Runs made by people always start.
    """
    in_order = sorted((run for run in runs if run.due), key=_place)
    lost: set[UUID] = set()
    while True:
        history = _History(now, lost)
        for run in in_order:
            history.add(run)
        if history.lost <= lost:
            return {run.id: history.admission(run) for run in in_order if not run.status.final}
        lost |= history.lost


class _History:
    """The runs of one model as they came, one after the other."""

    def __init__(self, now: datetime, lost: Collection[UUID]) -> None:
        """`lost`: jobs that cannot be joined, though they waited, for nothing came of their successor."""
        self._now = now
        self._lost = lost
        self._runs: dict[UUID, JobRun] = {}
        self._jobs: list[JobRun] = []
        """Those that started a job, or will; without those that a later run superseded."""
        self._waiting: defaultdict[tuple[UUID, str], list[JobRun]] = defaultdict(list)
        """By schedule and its rule: runs that a later one supersedes, or has superseded."""
        self._brought: dict[UUID, UUID] = {}
        """By evaluation: the run that brought it first."""
        self._heirs: dict[UUID, UUID] = {}
        """Runs that gave way: the job that one joined, or the run that superseded it."""
        self._joined: set[UUID] = set()
        """Jobs that runs are to join which are not over."""
        self._decided: dict[UUID, Admission] = {}

    def add(self, run: JobRun) -> None:
        """Judge a run that came after all before it."""
        self._runs[run.id] = run
        self._supersede_earlier(run)
        if run.joined is not None:
            self._heirs[run.id] = run.joined
        elif (run.status.final and run.superseded_by is None) or self._starts(run):
            self._jobs.append(run)
        if run.superseded_by is not None:
            self._heirs[run.id] = run.superseded_by
        if run.cause is not None and run.cause.evaluation_id is not None:
            self._brought.setdefault(run.cause.evaluation_id, run.id)

    @property
    def lost(self) -> set[UUID]:
        """Jobs that runs are to join, and whose last successor answers nothing."""
        return {job_id for job_id in self._joined if self._answers_nothing(self._heir(job_id))}

    def _answers_nothing(self, run_id: UUID) -> bool:
        run = self._runs.get(run_id)
        if run is None:
            return False
        return run.cancelling or run.status in {RetrainingStatus.FAILED, RetrainingStatus.CANCELLED}

    def admission(self, run: JobRun) -> Admission:
        """What becomes of the run, in the light of all."""
        decided = self._decided[run.id]
        match decided.verdict:
            case Verdict.JOINED:
                return Admission(Verdict.JOINED, f"joined job {self._heir(run.id)}{decided.message}")
            case Verdict.SUPERSEDED:
                newest = self._newest(run.id)
                return superseded(newest.id, newest.created_at)
            case Verdict.STARTS | Verdict.SKIPPED:
                return decided

    def _starts(self, run: JobRun) -> bool:
        self._decided[run.id] = self._judge(run)
        return self._decided[run.id].verdict is Verdict.STARTS

    def _judge(self, run: JobRun) -> Admission:
        cause = run.cause
        if cause is None or cause.missed_runs == "all":
            return STARTS
        if cause.evaluation_id is not None and cause.evaluation_id in self._brought:
            self._heirs[run.id] = self._brought[cause.evaluation_id]
            return Admission(Verdict.JOINED, ": its breach had started it already")
        for job in self._jobs:
            if job.id not in self._lost and _under_way(job, run.created_at):
                self._joined.add(job.id)
                self._heirs[run.id] = job.id
                return Admission(Verdict.JOINED)
        late = (run.started_at or self._now) - run.created_at
        if cause.missed_runs == "skip" and late > LATE:
            due, said = _moment(run.created_at), duration_text(timedelta(seconds=int(late.total_seconds())))
            return Admission(
                Verdict.SKIPPED,
                f"missed: it was due at {due}, {said} ago, and the schedule skips missed runs",
            )
        return STARTS

    def _supersede_earlier(self, run: JobRun) -> None:
        """Let the runs make way that waited for the same schedule when this one came."""
        schedule = _schedule(run)
        if schedule is None:
            return
        waiting = self._waiting[schedule]
        gone = {
            earlier.id: earlier
            for earlier in waiting
            if run.joined != earlier.id and makes_way(_taken_at(earlier), run.created_at)
        }
        for earlier in gone.values():
            if not earlier.status.final:
                self._heirs[earlier.id] = run.id
                self._decided[earlier.id] = Admission(Verdict.SUPERSEDED)
        self._waiting[schedule] = [earlier for earlier in waiting if earlier.id not in gone]
        self._jobs = [job for job in self._jobs if job.id not in gone]
        if undecided(run) or run.superseded_by is not None:
            self._waiting[schedule].append(run)

    def _newest(self, run_id: UUID) -> JobRun:
        """The last of the runs that superseded it one after the other."""
        while self._is_superseded(run_id):
            run_id = self._heirs[run_id]
        return self._runs[run_id]

    def _is_superseded(self, run_id: UUID) -> bool:
        return run_id in self._decided and self._decided[run_id].verdict is Verdict.SUPERSEDED

    def _heir(self, run_id: UUID) -> UUID:
        """Where the run's cause ends up: joined is earlier, but what supersedes that is later than both."""
        seen = set()
        while run_id in self._heirs and run_id not in seen:
            seen.add(run_id)
            run_id = self._heirs[run_id]
        return run_id


def _place(run: JobRun) -> tuple[datetime, UUID]:
    return run.created_at, run.id


def _schedule(run: JobRun) -> tuple[UUID, str] | None:
    """Of which schedule, and by which rule, a later run takes the run's place while it waits."""
    cause = run.cause
    if cause is None or cause.trigger_id is None:
        return None
    if cause.type is not TriggerType.SCHEDULED or cause.missed_runs == "all":
        return None
    return cause.trigger_id, cause.missed_runs


def _taken_at(run: JobRun) -> datetime | None:
    """When a worker took the run, at the earliest; None while nobody knows if its process comes in time."""
    return None if run.started_at is None else run.started_at - START


def _under_way(job: JobRun, at: datetime) -> bool:
    """Whether the job was waiting or running then, and answers a cause that came then."""
    ended_later = job.completed_at is not None and job.completed_at > at
    began = job.started_at is not None and job.started_at < at
    if job.cause is not None and job.cause.missed_runs == "skip" and not began:
        return False  # it might have been skipped yet
    match job.status:
        case RetrainingStatus.PENDING | RetrainingStatus.RUNNING:
            return not job.cancelling  # one that is being stopped answers nothing any more
        case RetrainingStatus.COMPLETED:
            return ended_later
        case RetrainingStatus.FAILED | RetrainingStatus.CANCELLED:
            # It answers nothing, unless a later run took its place, and with it its causes.
            return job.superseded_by is not None


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
