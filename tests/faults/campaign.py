"""Faults one after the other on one stack, and the table of what became of the jobs."""

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.harness import BOUND_SECONDS, REACH_SECONDS, Harness, Subject
from tests.faults.matrix import ABSENT, COMPONENTS, STAGES, Component, Round, Stage
from tests.faults.models import HELD, TICK
from tests.faults.truth import champion_violations, disagreements, double_trainings, promotions, violations
from tests.stack.waiting import until

TICK_SECONDS = 10


@dataclass
class Cell:
    """What happened in one cell of the matrix."""

    seconds: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


@dataclass
class Campaign:
    """Keeps what was found. Violations stop nothing: the table shows all."""

    harness: Harness
    table: Path
    rounds: int = 0
    kills: int = 0
    others: list[str] = field(default_factory=list)
    cells: dict[tuple[Component, Stage], Cell] = field(default_factory=lambda: defaultdict(Cell))
    began: float = field(default_factory=time.monotonic)

    def prepare(self) -> None:
        """Every model has a champion, and one model a trigger that fires all the time."""
        for job_id in [self.harness.start_job(model) for model in HELD]:
            self._completes(job_id)
        with self.harness.facade() as facade:
            made = facade.create_trigger(
                {
                    "model_name": TICK,
                    "trigger_type": "scheduled",
                    "trigger_condition": {"every": f"{TICK_SECONDS}s"},
                }
            )
        self.trigger_id = made["id"]

    @property
    def all_violations(self) -> list[str]:
        return [*self.others, *(one for cell in self.cells.values() for one in cell.violations)]

    def play(self, one: Round) -> None:
        """One round: its jobs, its fault, the truth about them, and that everything goes on."""
        harness, before = self.harness, self.harness.stack.pids
        with harness.held(one) as subjects:
            harness.inject(one, subjects)
            since, struck_at = time.monotonic(), datetime.now(UTC)
        if one.component == "stack":
            harness.restart()
        harness.follow(subjects, since)
        for subject in subjects:
            cell = self.cells[one.component, subject.stage]
            cell.seconds.append(subject.seconds)
            cell.outcomes[subject.final.get("status", "none")] += 1
            cell.violations += violations(harness, one.component, subject)
        self._goes_on(one, [subject.model for subject in subjects], struck_at)
        self.rounds += 1
        self.kills += len(subjects) if one.component in {"engine", "launcher"} else 1
        until(lambda: harness.is_whole(one.component, before), REACH_SECONDS)
        self._tell(one, subjects)

    def _goes_on(self, one: Round, models: list[str], struck_at: datetime) -> None:
        """The next job of each model starts, completes and is promoted; the trigger is there, and fires."""
        try:
            for job_id in [self.harness.start_job(model) for model in models]:
                self._completes(job_id)
            until(lambda: self._fired(struck_at), BOUND_SECONDS)
        except AssertionError as problem:
            self.others.append(f"after {one}: {problem}")
        for model in models:
            self.others += champion_violations(self.harness, model)
        self.others += double_trainings(self.harness)
        self.others += disagreements(self.harness, models, struck_at)

    def _completes(self, job_id: str) -> None:
        """Within the bound, and its model is champion."""
        until(lambda: self.harness.job(job_id)["status"] not in {"pending", "running"}, BOUND_SECONDS)
        job = self.harness.job(job_id)
        assert job["status"] == "completed", f"{job['model_name']}'s next job is {job}"
        [newest, *_] = promotions(self.harness, job["model_name"])
        assert newest["job_id"] == job_id, f"{job['model_name']}'s next job is no champion: {newest}"

    def _fired(self, struck_at: datetime) -> bool:
        """Whether the trigger has started a job since, which is completed."""
        with self.harness.facade() as facade:
            if [found["id"] for found in facade.triggers(model_name=TICK)] != [self.trigger_id]:
                raise AssertionError("the trigger is lost")
            newest = facade.jobs(model_name=TICK, status="completed", limit=1)
        return bool(newest) and datetime.fromisoformat(newest[0]["started_at"]) > struck_at

    def finish(self) -> None:
        """Look at everything once more, in peace."""
        with self.harness.facade() as facade:
            facade.delete_trigger(self.trigger_id)

        def at_rest() -> bool:
            with self.harness.facade() as facade:
                return not any(facade.jobs(status=status, limit=1) for status in ("pending", "running"))

        until(at_rest, BOUND_SECONDS)
        self.others += disagreements(self.harness, [*HELD, TICK])
        for model in HELD:
            self.others += champion_violations(self.harness, model)
        self.others += double_trainings(self.harness)
        self._write()

    def _tell(self, one: Round, subjects: list[Subject]) -> None:
        outcomes = ", ".join(
            f"{subject.stage}{f' ({subject.place})' if '-' in subject.place else ''} "
            f"{subject.final.get('status')} {subject.seconds:.1f} s"
            for subject in subjects
        )
        faults = sum(len(cell.seconds) for cell in self.cells.values())
        so_far = f"{faults:3} faults, {len(self.all_violations)} violations"
        print(f"{time.monotonic() - self.began:5.0f} s, {so_far}; {one.component}: {outcomes}", flush=True)
        self._write()

    def _write(self) -> None:
        """The table as it is now, whatever happens next."""
        self.table.parent.mkdir(parents=True, exist_ok=True)
        self.table.write_text("\n".join(self._lines()) + "\n", encoding="utf-8")

    def _lines(self) -> list[str]:
        faults = sum(len(cell.seconds) for cell in self.cells.values())
        lines = [
            f"{faults} faults by {self.kills} kills in {self.rounds} rounds, "
            f"{time.monotonic() - self.began:.0f} s; {len(self.all_violations)} violations.",
            "Each cell: faults, slowest seconds from the kill to the job's final status, final statuses.",
            "",
            f"| killed | {' | '.join(STAGES)} |",
            f"|---|{'---|' * len(STAGES)}",
        ]
        for component in COMPONENTS:
            shown = (self._cell(component, stage) for stage in STAGES)
            lines.append(f"| {component} | {' | '.join(shown)} |")
        return [*lines, "", *(f"- {one}" for one in self.all_violations)]

    def _cell(self, component: Component, stage: Stage) -> str:
        if (component, stage) in ABSENT:
            return "no process"
        cell = self.cells.get((component, stage))
        if cell is None:
            return "0"
        said = ", ".join(f"{count} {status}" for status, count in sorted(cell.outcomes.items()))
        wrong = f", **{len(cell.violations)} violations**" if cell.violations else ""
        return f"{len(cell.seconds)}: {max(cell.seconds):.1f} s, {said}{wrong}"
