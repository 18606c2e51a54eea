"""Runs that triggers made and that are no jobs yet: looked at together, a moment after they came."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from retraining.jobs import repository
from retraining.jobs.admission import (
    SETTLE_SECONDS,
    STARTS,
    Admission,
    Verdict,
    admit,
    look_back,
    unforeseeable,
)
from retraining.jobs.status import RetrainingStatus
from retraining.orchestrator.values import JobRun, Orchestrator
from retraining.store.database import Database

AGAIN_SECONDS = 1.0
"""A run that a worker took before it was told what becomes of it finds out by itself: then look again."""
TOLD_AT_ONCE = 8


@dataclass(frozen=True)
class Held:
    """A run that waits for its admission, and when to look at it, by the monotonic clock."""

    run: JobRun
    look_at: float


@dataclass(frozen=True)
class Decided:
    """What a look found."""

    admitted: Sequence[JobRun]
    """Runs that are jobs now."""
    over: Sequence[JobRun]
    """Runs that ended meanwhile."""
    dismissed: Sequence[tuple[UUID, Admission]]
    """Runs that are to be told that they are not needed."""


class WaitingRoom:
    """In memory alone: who starts anew hears of the same runs again."""

    def __init__(self, orchestrator: Orchestrator, database: Database) -> None:
        self._orchestrator = orchestrator
        self._database = database
        self._held: dict[UUID, Held] = {}
        self._changed = asyncio.Event()

    def hold(self, runs: Iterable[JobRun]) -> None:
        """Keep runs until it is decided about them."""
        settled = time.monotonic() + SETTLE_SECONDS
        for run in runs:
            known = self._held.get(run.id)
            if known is None or known.run != run:
                self._held[run.id] = Held(run, min(settled, known.look_at) if known else settled)
                self._changed.set()

    def release(self, run_ids: Iterable[UUID]) -> None:
        """Forget runs that are jobs now, or over."""
        for run_id in run_ids:
            self._held.pop(run_id, None)

    async def decide(self) -> Decided:
        """Wait until there is something to decide, and look at all runs of these models at once.

        Raises:
            OrchestratorUnavailable, StoreUnavailable: everybody stays, to be looked at again.
        """
        ripe = await self._ripe()
        now = datetime.now(UTC)
        models = {run.model_name for run in ripe}
        runs = {run.id: run for run in await self._orchestrator.runs_of(models, look_back(ripe, now))}
        for run in ripe:
            if run.id not in runs:  # of a deployment by another name, or deleted
                stored = await self._orchestrator.read_run(run.id)
                runs |= {} if stored is None else {run.id: stored}
        # A job that was cancelled while its process started shows as running for a moment, until the process
        # has found out: nothing may join it.
        async with self._database.session() as session:
            over = await repository.finished_among(session, runs)
        runs = {run_id: run for run_id, run in runs.items() if run.status.final or run_id not in over}
        self.release(run.id for run in ripe if run.id not in runs)
        asked = {run.id for run in ripe}
        admissions = _admissions(runs.values(), now)
        return Decided(
            admitted=[runs[run_id] for run_id in asked & runs.keys() if admissions.get(run_id) == STARTS],
            over=[runs[run_id] for run_id in asked & runs.keys() if runs[run_id].status.final],
            dismissed=[
                (run_id, admission)
                for run_id, admission in admissions.items()
                if runs[run_id].status is RetrainingStatus.PENDING
                and _to_be_told(admission, asked=run_id in asked)
            ],
        )

    async def dismiss(self, dismissed: Sequence[tuple[UUID, Admission]]) -> None:
        """Tell runs what becomes of them, while they wait."""
        for start in range(0, len(dismissed), TOLD_AT_ONCE):
            some = dismissed[start : start + TOLD_AT_ONCE]
            await asyncio.gather(
                *(
                    self._orchestrator.end_waiting(run_id, admission.state_name, admission.message)
                    for run_id, admission in some
                )
            )

    async def _ripe(self) -> list[JobRun]:
        """The runs that it is time to look at, and their next look put off."""
        while True:
            now = time.monotonic()
            ripe = [held.run for held in self._held.values() if held.look_at <= now]
            if ripe:
                for run in ripe:
                    self._held[run.id] = replace(self._held[run.id], look_at=now + AGAIN_SECONDS)
                return ripe
            self._changed.clear()
            wait = min((held.look_at - now for held in self._held.values()), default=None)
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue


def _admissions(runs: Iterable[JobRun], now: datetime) -> dict[UUID, Admission]:
    of_model: defaultdict[str, list[JobRun]] = defaultdict(list)
    for run in runs:
        of_model[run.model_name].append(run)
    found: dict[UUID, Admission] = {}
    for some in of_model.values():
        admissions = admit(some, now)
        found |= {} if unforeseeable(some, admissions, now) else admissions
    return found


def _to_be_told(admission: Admission, *, asked: bool) -> bool:
    match admission.verdict:
        case Verdict.STARTS:
            return False
        case Verdict.JOINED:
            # Of those not asked about, one that started before it in order may not have been heard of yet.
            return asked
        case Verdict.SUPERSEDED | Verdict.SKIPPED:
            return True  # also of a job that waits: the later run is there
