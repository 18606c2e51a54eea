"""What becomes of the runs that triggers made: one job for many causes, and one run for many missed."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retraining.jobs.admission import (
    CLOCKS,
    REPLAYED,
    Admission,
    Verdict,
    admit,
    look_back,
    undecided,
    unforeseeable,
)
from retraining.jobs.admission import START as STARTING
from retraining.jobs.status import RetrainingStatus
from retraining.orchestrator.values import JobRun
from tests.jobs.news import START, a_run, after, ended, started, steady
from tests.jobs.triggered import DRIFTING, HOURLY, NIGHTLY, breach, due, joined, superseded

NOW = after(30)
CANCELLED, FAILED = RetrainingStatus.CANCELLED, RetrainingStatus.FAILED


def verdict(run: JobRun, *others: JobRun, now: datetime = NOW) -> Admission:
    """What becomes of the run among these."""
    return admit([*others, run], now)[run.id]


def joins(run: JobRun, job: JobRun, *others: JobRun) -> bool:
    return verdict(run, job, *others) == Admission(Verdict.JOINED, f"joined job {job.id}")


def starts(run: JobRun, *others: JobRun) -> bool:
    return verdict(run, *others).verdict is Verdict.STARTS


def evaluation_of(run: JobRun) -> UUID | None:
    return run.cause.evaluation_id if run.cause else None


# Joining


def test_a_run_starts_a_job_when_there_is_none() -> None:
    assert starts(breach())
    assert starts(due())


def test_the_first_of_twenty_at_once_starts_and_all_others_join_it() -> None:
    runs = [breach(number / 100, UUID(int=number % 5)) for number in range(20)]
    admissions = admit(Random(1).sample(runs, 20), NOW)
    assert admissions[runs[0].id].verdict is Verdict.STARTS
    assert {admissions[run.id] for run in runs[1:]} == {Admission(Verdict.JOINED, f"joined job {runs[0].id}")}


def test_of_the_same_moment_the_lower_id_is_first() -> None:
    first, second = sorted([breach(), breach()], key=lambda run: run.id)
    assert starts(first, second)
    assert joins(second, first)


@pytest.mark.parametrize("make", [a_run, breach, due])
@pytest.mark.parametrize("live", [lambda run: run, started], ids=["waiting", "running"])
def test_a_breach_and_a_schedule_join_a_job_that_waits_or_runs(
    make: Callable[[], JobRun], live: Callable[[JobRun], JobRun]
) -> None:
    job = live(make())
    assert joins(breach(5), job)
    assert joins(due(5, HOURLY), job)


def test_a_run_joins_the_job_that_ran_when_it_came_though_it_is_complete_by_now() -> None:
    """The facade was away: the job is over before anybody looks."""
    job = ended(started(breach()), seconds=9)
    assert joins(breach(8), job)
    assert starts(breach(10), job)


@pytest.mark.parametrize("ending", [FAILED, CANCELLED])
def test_a_job_that_ended_without_success_answers_no_cause_that_still_waits(
    ending: RetrainingStatus,
) -> None:
    job = ended(started(breach()), ending, seconds=9)
    first, second = breach(4), breach(5)
    assert starts(first, job, second)
    assert joins(second, first, job)


def test_a_job_that_is_being_stopped_is_joined_by_nothing() -> None:
    assert starts(breach(5), replace(started(a_run()), cancelling=True))


def test_a_run_by_hand_always_starts() -> None:
    assert starts(a_run(created_at=after(5)), started(breach()))


def test_what_is_planned_for_later_is_nobodys_business() -> None:
    assert starts(breach(5), replace(due(), due=False))


def test_a_joined_run_is_no_job_to_join() -> None:
    job = ended(started(breach()), seconds=3)
    gone = joined(breach(1), job, seconds=6)
    assert starts(breach(5), job, gone)


# Repetition


@pytest.mark.parametrize("status", list(RetrainingStatus))
def test_a_breach_that_is_told_again_starts_nothing(status: RetrainingStatus) -> None:
    first = breach()
    job = ended(started(first), status) if status.final else replace(first, status=status)
    again = breach(20, evaluation_id=evaluation_of(first))
    said = verdict(again, job)
    assert said == Admission(Verdict.JOINED, f"joined job {job.id}: its breach had started it already")


def test_a_breach_that_joined_a_job_and_is_told_again_names_that_job() -> None:
    job, first = ended(started(a_run())), breach(2)
    again = breach(20, evaluation_id=evaluation_of(first))
    assert str(job.id) in verdict(again, job, joined(first, job)).message


def test_it_looks_back_to_when_the_breach_was_found_but_not_beyond_what_prefect_remembers() -> None:
    run = breach(10)
    assert run.cause is not None
    repeated = replace(run, cause=run.cause.model_copy(update={"at": after(2)}))
    ancient = replace(run, cause=run.cause.model_copy(update={"at": START - timedelta(days=900)}))
    assert look_back([run, repeated], NOW) == after(2) - CLOCKS
    assert look_back([ancient], NOW) == NOW - REPLAYED - CLOCKS


# Missed runs


def test_of_the_waiting_runs_of_a_schedule_the_newest_starts() -> None:
    runs = [due(seconds) for seconds in (0, 10, 20)]
    admissions = admit(runs, NOW)
    said = f"superseded by run {runs[2].id}, due at 2026-05-04T08:00:20+00:00"
    assert [admissions[run.id] for run in runs] == [
        Admission(Verdict.SUPERSEDED, said),
        Admission(Verdict.SUPERSEDED, said),
        Admission(Verdict.STARTS),
    ]


def test_superseding_comes_before_joining() -> None:
    job, early, late = started(a_run()), due(5), due(15)
    assert verdict(early, job, late).verdict is Verdict.SUPERSEDED
    assert joins(late, job, early)


def test_each_schedule_has_its_own_newest_and_those_make_one_job() -> None:
    nightly, hourly, again = due(0, NIGHTLY), due(5, HOURLY), due(10, NIGHTLY)
    assert verdict(nightly, hourly, again).verdict is Verdict.SUPERSEDED
    assert joins(again, hourly, nightly) or joins(hourly, again, nightly)


def test_a_run_that_began_before_the_next_was_due_is_joined_by_it() -> None:
    running = started(due(), seconds=9)
    assert starts(running, due(10))
    assert joins(due(10), running)


def test_a_run_that_begins_after_the_next_was_due_makes_way() -> None:
    """A worker that is back takes the oldest first."""
    running, newest = started(due(), seconds=41), due(10)
    assert verdict(running, newest).verdict is Verdict.SUPERSEDED
    assert starts(newest, running)


def test_a_run_whose_process_starts_does_not_make_way() -> None:
    """Or a schedule of every ten seconds, on a machine that starts a process in twelve, would never run."""
    running = started(due(), seconds=12)
    assert starts(running, due(10))
    assert joins(due(10), running)


def test_nobody_says_what_becomes_of_others_while_a_process_starts_that_may_come_too_late() -> None:
    starting, waiting = replace(due(), taken_at=NOW), due(10)
    runs = [starting, waiting]
    assert unforeseeable(runs, admit(runs, NOW), NOW)
    assert not unforeseeable([due(), waiting], admit([due(), waiting], NOW), NOW)


def test_a_process_that_never_comes_holds_up_nobody_for_long() -> None:
    """Its worker died after taking it: Prefect shows the run as pending for ever."""
    runs = [replace(due(), taken_at=NOW), due(10)]
    later = NOW + STARTING
    assert not unforeseeable(runs, admit(runs, later), later)


def test_what_would_follow_a_run_that_somebody_cancelled_starts_a_job_of_its_own() -> None:
    early, late = due(), ended(due(10), CANCELLED, seconds=12)
    assert starts(breach(5), early, late)
    assert starts(breach(5), superseded(early, late, seconds=11), late)


def test_all_runs_of_a_schedule_that_wants_all() -> None:
    runs = [due(seconds, missed_runs="all") for seconds in (0, 10, 20)]
    assert {admission.verdict for admission in admit(runs, NOW).values()} == {Verdict.STARTS}
    assert starts(runs[1], started(a_run()))


@pytest.mark.parametrize(
    ("minutes", "expected"), [(0.9, Verdict.STARTS), (1.1, Verdict.SKIPPED)], ids=["in time", "late"]
)
def test_a_schedule_that_skips_missed_runs_skips_what_nothing_ran_for_a_minute(
    minutes: float, expected: Verdict
) -> None:
    run = due(missed_runs="skip")
    assert verdict(run, now=after(60 * minutes)).verdict is expected
    begun = started(run, seconds=60 * minutes)
    assert verdict(begun, now=after(10_000)).verdict is expected


def test_a_skipped_run_says_how_late_it_was() -> None:
    run = due(missed_runs="skip")
    assert verdict(run, now=after(3_725)).message == (
        "missed: it was due at 2026-05-04T08:00:00+00:00, 1h2m5s ago, and the schedule skips missed runs"
    )


def test_the_older_runs_of_a_schedule_that_skips_are_superseded() -> None:
    old, new = due(0, missed_runs="skip"), due(10, missed_runs="skip")
    admissions = admit([old, new], after(300))
    assert (admissions[old.id].verdict, admissions[new.id].verdict) == (
        Verdict.SUPERSEDED,
        Verdict.SKIPPED,
    )


def test_a_breach_does_not_wait_for_a_run_that_may_be_skipped() -> None:
    run = due(missed_runs="skip")
    assert starts(breach(5), run)
    assert starts(breach(5), started(run, seconds=6))
    assert joins(breach(5), started(run, seconds=4))


# Causes of runs that make way


def test_what_was_to_join_a_superseded_run_joins_its_successor() -> None:
    early, late = due(0), due(10)
    assert joins(breach(5), late, early)
    assert joins(breach(5), late, superseded(early, late, seconds=11))


def test_what_comes_after_a_superseded_run_does_not_follow_it() -> None:
    job = ended(started(a_run()), seconds=12)
    early, late = due(0), due(10)
    gone = [superseded(early, late, seconds=11), joined(late, job, seconds=11)]
    assert starts(breach(15), job, *gone)


# At any time, by anybody


@dataclass
class Plant:
    """A Prefect server, a worker, and several who decide, each at its own pace."""

    random: Random
    runs: dict[UUID, JobRun]
    clock: float = 0
    taken: set[UUID] = field(default_factory=set)
    shown: set[UUID] = field(default_factory=set)
    """Runs that somebody was told start a job."""
    told: list[tuple[UUID, Admission]] = field(default_factory=list)
    """Decided, not yet carried out."""
    cancelled: set[UUID] = field(default_factory=set)
    """By a person, while they waited."""
    asking: dict[UUID, Admission] = field(default_factory=dict)
    """By run whose process asked: the answer."""

    @property
    def now(self) -> datetime:
        return after(self.clock)

    def come(self) -> list[JobRun]:
        return [run for run in self.runs.values() if run.created_at <= self.now]

    def waiting(self) -> list[JobRun]:
        return [run for run in self.come() if run.status is RetrainingStatus.PENDING]

    def running(self) -> list[JobRun]:
        return [run for run in self.come() if run.status is RetrainingStatus.RUNNING]

    def live(self) -> bool:
        return any(not run.status.final for run in self.runs.values())

    def step(self) -> None:
        self.clock += self.random.choice([0, 0, 0.01, 1, 7])
        if self.random.random() < 0.01:
            self.cancel()
        steps = [self.decide, self.take, self.ask, self.begin, self.end]
        self.random.choice(steps)()

    def decide(self) -> None:
        admissions = admit(self.come(), self.now)
        if unforeseeable(self.come(), admissions, self.now):
            return
        for run_id, admission in admissions.items():
            if admission.verdict is Verdict.STARTS:
                self.shown.add(run_id)
            elif undecided(self.runs[run_id]):
                self.told.append((run_id, admission))
        self.random.shuffle(self.told)
        while self.told:
            self.carry_out()

    def carry_out(self) -> None:
        for run_id, admission in self.told[:3]:
            if self.runs[run_id].status is RetrainingStatus.PENDING and run_id not in self.taken:
                self.give_way(run_id, admission)
        self.told = self.told[3:]

    def give_way(self, run_id: UUID, admission: Admission) -> None:
        named = next((run for run in self.runs.values() if str(run.id) in admission.message), None)
        self.runs[run_id] = replace(
            self.runs[run_id],
            status=CANCELLED,
            completed_at=self.now,
            message=admission.message,
            joined=named.id if named and admission.verdict is Verdict.JOINED else None,
            superseded_by=named.id if named and admission.verdict is Verdict.SUPERSEDED else None,
        )

    def take(self) -> None:
        """A worker takes any run, for the model has one place."""
        free = self.waiting()
        if free and not self.running() and not self.taken:
            run = self.random.choice(free)
            self.taken.add(run.id)
            self.runs[run.id] = replace(run, taken_at=self.now)

    def ask(self) -> None:
        """Its process runs, and asks."""
        for run_id in self.taken:
            run = self.runs[run_id]
            if run.status is RetrainingStatus.PENDING:
                run = replace(run, status=RetrainingStatus.RUNNING, started_at=self.now, taken_at=None)
                self.runs[run_id] = run
                self.asking[run_id] = admit(self.come(), self.now)[run_id]

    def begin(self) -> None:
        """It does what it was answered."""
        for run_id, admission in self.asking.items():
            if admission.verdict is not Verdict.STARTS:
                self.give_way(run_id, admission)
                self.taken.discard(run_id)
        self.asking.clear()

    def end(self) -> None:
        for run in self.running():
            if run.id not in self.asking:
                status = self.random.choice(self.endings)
                self.runs[run.id] = replace(run, status=status, completed_at=self.now)
                self.taken.discard(run.id)
                self.hear(status)

    def cancel(self) -> None:
        """A person cancels a job that waits."""
        jobs = {run_id for run_id, said in admit(self.come(), self.now).items() if said.verdict == "starts"}
        free = [run for run in self.waiting() if run.id not in self.taken]
        free = [run for run in free if run.id in jobs]
        if free and len(self.endings) > 1:
            run = self.random.choice(free)
            self.runs[run.id] = replace(run, status=CANCELLED, completed_at=self.now)
            self.cancelled.add(run.id)
            self.hear(CANCELLED)

    endings: tuple[RetrainingStatus, ...] = (*[RetrainingStatus.COMPLETED] * 8, FAILED, CANCELLED)

    def hear(self, ending: RetrainingStatus) -> None:
        """An answer is carried out within a moment: none is older than a failure."""
        if ending is not RetrainingStatus.COMPLETED:
            self.asking = {run_id: admit(self.come(), self.now)[run_id] for run_id in self.asking}

    def answered_by(self, run: JobRun) -> JobRun:
        """The job that the run's cause ended up with."""
        seen = {run.id}
        while (other := run.joined or run.superseded_by) is not None:
            run = self.runs[other]
            assert run.id not in seen, "two runs made way for each other"
            seen.add(run.id)
        return run


seeds = st.integers(0, 2**32)


def any_runs(random: Random) -> list[JobRun]:
    """With ids of their own: whoever is first of the same moment stays so."""
    return [
        replace(any_run(random), id=UUID(int=random.getrandbits(128))) for _ in range(random.randint(2, 12))
    ]


def any_run(random: Random) -> JobRun:
    seconds = random.choice([0, 0.1, 0.2, 5, 10, 20, 20.1, 60])
    match random.randrange(8):
        case 0:
            return a_run(created_at=after(seconds))
        case 1 | 2 | 3:
            return breach(seconds, random.choice([DRIFTING, HOURLY]))
        case kind:
            rule = "latest" if kind < 6 else random.choice(["latest", "skip", "all"])
            return due(seconds, random.choice([NIGHTLY, HOURLY]), rule)


@settings(steady, max_examples=300)
@given(seeds)
def test_whoever_decides_when_no_cause_is_lost_and_what_was_shown_stays(seed: int) -> None:
    random = Random(seed)
    plant = Plant(random, {run.id: run for run in any_runs(random)})
    for _ in range(4_000):
        if not plant.live():
            break
        plant.step()
    assert not plant.live()
    for run in plant.runs.values():
        job = plant.answered_by(run)
        assert job.joined is None
        if run.cause is None or run.cause.missed_runs == "all":
            assert job.id == run.id
        if run.cause is not None and run.cause.type == "drift":
            assert job.started_at is not None or job.id in plant.cancelled, "its job never began"
        if run.id in plant.shown:
            assert run.joined is None, "it was shown as a job, and is none"


@settings(steady, max_examples=100)
@given(seeds, st.integers(2, 20))
def test_breaches_at_once_make_one_job_whoever_decides_when(seed: int, count: int) -> None:
    random = Random(seed)
    runs = [breach(number / 1000, random.choice([DRIFTING, HOURLY])) for number in range(count)]
    plant = Plant(random, {run.id: run for run in runs}, clock=1)
    plant.endings = (RetrainingStatus.COMPLETED,)
    for _ in range(4_000):
        if not plant.live():
            break
        plant.step()
    began = [run for run in plant.runs.values() if run.status is RetrainingStatus.COMPLETED]
    assert [run.id for run in began] == [runs[0].id]
