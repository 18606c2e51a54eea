"""Ends runs whose process is gone and that nobody else will end; starts them once more where that is wanted.

Runs in a job of its own that an automation starts (see `retraining.orchestrator.guard_deployment`): it needs
Prefect and a worker, and no facade. Prefect's own recipe sets the state at once, and has ended healthy runs.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType, WorkerStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.filters import (
    EventAnyResourceFilter,
    EventFilter,
    EventNameFilter,
    EventOccurredFilter,
    EventResourceFilter,
)
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed

from retraining.errors import PromotionLockBusy
from retraining.jobs.dead import Action, Evidence, Judgement, Stage, judge
from retraining.orchestrator.automations import TAG
from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.labels import LABEL_PREFIX, PROGRESS_EVENT
from retraining.orchestrator.lost_runs import UNDER_WAY, give_back
from retraining.orchestrator.promotion_lock import promotion_lock
from retraining.orchestrator.worker import HEARTBEAT_SETTING

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas import OrchestrationResult
    from prefect.client.schemas.objects import FlowRun

HEARTBEAT_EVENT = "prefect.flow-run.heartbeat"
PREFECTS_HEARTBEAT = timedelta(seconds=180)
"""What it is where nobody sets it."""
RUN_RESOURCE = "prefect.flow-run."
RETRY_OF = f"{LABEL_PREFIX}retry_of"
PAGE = 200
POLL_SECONDS = 2.0
AHEAD = timedelta(days=1)
"""So far at most the clock of a machine that runs jobs is ahead of ours."""
LOCK_SECONDS = 5.0


@dataclass(frozen=True)
class Judged:
    """A run, and what became of it."""

    run_id: UUID
    judgement: Judgement
    retried_as: UUID | None = None

    def __str__(self) -> str:
        again = f"; started once more as job {self.retried_as}" if self.retried_as else ""
        return f"job {self.run_id}: {self.judgement.action}, {self.judgement.reason}{again}"


async def look_after(
    connection: PrefectConnection,
    work_pool: str,
    *,
    asked: UUID | None = None,
    retries: Callable[[str], bool] = lambda _model_name: False,
    interval: timedelta | None = None,
    poll_seconds: float = POLL_SECONDS,
) -> list[Judged]:
    """Judge every run of the pool that is under way, end those whose process is gone, and retry by policy.

    `asked` is looked at as well, if it is the pool's. `retries` says whether a model's crashed jobs are
    started once more. `interval` overrides how often runs are said to send heartbeats. Returns the runs that
    were ended, and the one asked about, whatever became of it. Doing it again does nothing more.

    Raises:
        OrchestratorUnavailable: Prefect does not answer.
    """
    began, guard = datetime.now(UTC), _Guard(connection, work_pool, interval)
    judged: dict[UUID, Judgement] = {}
    while True:
        runs = {run.id: run for run in await guard.under_way()}
        if asked is not None and asked not in runs and (run := await guard.find(asked)) is not None:
            runs[asked] = run
        watched = datetime.now(UTC) - began
        for run in runs.values():
            if judged.get(run.id, _UNSEEN).action not in ENDING:
                judged[run.id] = await guard.settle(run, watched)
        if not any(judged[run_id].action is Action.WATCH for run_id in runs):
            break
        await asyncio.sleep(poll_seconds)
    told = []
    for run_id, judgement in judged.items():
        if run_id == asked or judgement.action in ENDING:
            told.append(Judged(run_id, judgement, await guard.retry(run_id, retries)))
    return told


ENDING = frozenset({Action.CRASH, Action.CANCEL, Action.GIVE_BACK})
_UNSEEN = Judgement(Action.WATCH, "")


class _Guard:
    """What one look at the pool remembers."""

    def __init__(self, connection: PrefectConnection, work_pool: str, interval: timedelta | None) -> None:
        self._connection = connection
        self._work_pool = work_pool
        self._interval = interval
        self._first_heard: dict[UUID, datetime | None] = {}
        self._intervals: dict[UUID, timedelta | None] = {}

    async def under_way(self) -> "list[FlowRun]":
        """The pool's runs that a worker has, jobs and checks."""
        found: dict[UUID, FlowRun] = {}
        page: list[FlowRun] | None = None
        while page is None or len(page) == PAGE:
            page = await self._connection.ask(
                "list the runs under way", partial(_under_way, work_pool=self._work_pool, offset=len(found))
            )
            found |= {run.id: run for run in page}
        return list(found.values())

    async def find(self, run_id: UUID) -> "FlowRun | None":
        """The run, if it is one of the pool's jobs or checks."""
        try:
            run = await self._connection.ask(f"read flow run {run_id}", lambda c: c.read_flow_run(run_id))
        except ObjectNotFound:
            return None
        return run if TAG in run.tags and run.work_pool_name == self._work_pool else None

    async def settle(self, run: "FlowRun", watched: timedelta) -> Judgement:
        """Judge a run, and end it if it is dead; what became of it."""
        judgement = judge(await self._evidence(run), datetime.now(UTC), watched)
        match judgement.action:
            case Action.SPARE | Action.WATCH:
                return judgement
            case Action.GIVE_BACK:
                await give_back(self._connection, run.id)
                return judgement
            case Action.CRASH | Action.CANCEL:
                return await self._end(run, judgement)

    async def _end(self, run: "FlowRun", judgement: Judgement) -> Judgement:
        """End it, if nothing has changed meanwhile.

        Under the promotion lock: a process that lives after all has promoted by now, or finds out that it
        was ended before it does.
        """
        model_name = str(run.parameters.get("model_name", "unknown"))
        try:
            async with promotion_lock(self._connection, model_name, LOCK_SECONDS):
                return await self._end_locked(run, judgement)
        except PromotionLockBusy:  # by the run itself, perhaps
            return Judgement(Action.WATCH, f"{judgement.reason}; a promotion of {model_name} is under way")

    async def _end_locked(self, run: "FlowRun", judgement: Judgement) -> Judgement:
        stored = await self.find(run.id)
        if stored is None or stored.state is None or run.state is None or stored.state.id != run.state.id:
            return Judgement(Action.WATCH, "its state has just changed")
        kind = Cancelled if judgement.action is Action.CANCEL else Crashed
        # Not forced: Prefect refuses it for a run that has ended between our question and this.
        answer: OrchestrationResult[Any] = await self._connection.ask(
            f"end flow run {run.id}",
            lambda client: client.set_flow_run_state(run.id, kind(message=judgement.reason)),
        )
        accepted = answer.state is not None and answer.state.type in {StateType.CRASHED, StateType.CANCELLED}
        return judgement if accepted else Judgement(Action.SPARE, "it ended just now by itself")

    async def retry(self, run_id: UUID, retries: Callable[[str], bool]) -> UUID | None:
        """Start a crashed job once more, if its model wants that; the id of the new job."""
        run = await self.find(run_id)
        if run is None or not may_retry(run, retries):
            return None
        labels: dict[str, Any] = {
            **{key: value for key, value in run.labels.items() if key in KEPT_LABELS},
            RETRY_OF: str(run_id),
            f"{LABEL_PREFIX}triggered_by": f"retry of job {run_id}",
        }
        cause = run.parameters.get("cause")
        if isinstance(cause, dict) and isinstance(cause.get("type"), str):
            labels[f"{LABEL_PREFIX}trigger_type"] = cause["type"]
        parameters = {key: value for key, value in run.parameters.items() if key != "cause"}
        deployment_id = run.deployment_id
        assert deployment_id is not None
        created = await self._connection.ask_in_turn(
            f"retry job {run_id}",
            lambda client: client.create_flow_run_from_deployment(
                deployment_id,
                parameters=parameters,
                labels=labels,
                name=f"retry of {run.name}",
                idempotency_key=f"retry-of-{run_id}",
            ),
        )
        return created.id

    async def _evidence(self, run: "FlowRun") -> Evidence:
        state = run.state
        assert state is not None
        known = Evidence(_stage(state.type), state.timestamp)
        if known.stage in {Stage.FINAL, Stage.WAITING}:
            return known
        worker, lives = await self._worker(run.id)
        return replace(
            known,
            heard=await self._heard(run.id),
            interval=self._interval or await self._heartbeats_every(run),
            lives_here=_lives_here(run),
            identifier=run.infrastructure_pid,
            worker=worker,
            worker_lives=lives,
        )

    async def _heard(self, run_id: UUID) -> datetime | None:
        """When its process last sent a heartbeat, or reported progress."""
        wanted = EventFilter(
            event=EventNameFilter(name=[HEARTBEAT_EVENT, PROGRESS_EVENT]),
            resource=EventResourceFilter(id=[f"{RUN_RESOURCE}{run_id}"]),
            occurred=EventOccurredFilter(until=datetime.now(UTC) + AHEAD),
        )
        page = await self._connection.ask(
            f"look for heartbeats of flow run {run_id}", lambda client: client.read_events(wanted, limit=1)
        )
        heard = page.events[0].occurred if page.events else None
        # One that came while we watched is a sign of life, whatever the clock of its machine says.
        return heard if heard == self._first_heard.setdefault(run_id, heard) else datetime.now(UTC)

    async def _worker(self, run_id: UUID) -> tuple[str | None, bool]:
        """The worker that started its process, and whether that lives."""
        wanted = EventFilter(
            event=EventNameFilter(name=["prefect.worker.submitted-flow-run"]),
            any_resource=EventAnyResourceFilter(id=[f"{RUN_RESOURCE}{run_id}"]),
        )
        page = await self._connection.ask(
            f"look for the worker of flow run {run_id}", lambda client: client.read_events(wanted, limit=1)
        )
        if not page.events:
            return None, False
        name = page.events[0].resource.get("prefect.resource.name") or page.events[0].resource.id
        workers = await self._connection.ask(
            "list the workers", lambda client: client.read_workers_for_work_pool(self._work_pool)
        )
        return name, any(one.name == name and one.status is WorkerStatus.ONLINE for one in workers)

    async def _heartbeats_every(self, run: "FlowRun") -> timedelta | None:
        """How often a run sends heartbeats, as far as its environment in Prefect says."""
        own = _environment(run.job_variables)
        if HEARTBEAT_SETTING in own:
            return _interval(own)
        deployment_id = run.deployment_id
        if deployment_id is None:
            return PREFECTS_HEARTBEAT
        if deployment_id not in self._intervals:
            try:
                deployment = await self._connection.ask(
                    f"read deployment {deployment_id}", lambda client: client.read_deployment(deployment_id)
                )
                self._intervals[deployment_id] = _interval(_environment(deployment.job_variables))
            except ObjectNotFound:
                self._intervals[deployment_id] = PREFECTS_HEARTBEAT
        return self._intervals[deployment_id]


async def dismiss_looks(connection: PrefectConnection, deployment_id: UUID) -> int:
    """Cancel the guard's own runs that are due and ask about no run: this one sees what they would.

    While no worker lived, the schedule has made one every few minutes. Returns how many there were.

    Raises:
        OrchestratorUnavailable: Prefect does not answer.
    """

    async def dismiss(client: "PrefectClient") -> int:
        due = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
                deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id]),
                expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
            ),
            limit=PAGE,
        )
        looks = [run for run in due if run.parameters.get("run_id") is None]
        for run in looks:
            await client.set_flow_run_state(
                run.id, Cancelled(name="Superseded", message="one look sees all runs there are")
            )
        return len(looks)

    return await connection.ask("dismiss the guard's runs that were missed", dismiss)


KEPT_LABELS = frozenset(f"{LABEL_PREFIX}{name}" for name in ("correlation_id", "trigger_type"))


def may_retry(run: "FlowRun", retries: Callable[[str], bool]) -> bool:
    """Whether a run is a crashed job that is no retry itself, of a model that wants its jobs retried."""
    model_name = run.parameters.get("model_name")
    return (
        run.state is not None
        and run.state.is_crashed()
        and run.deployment_id is not None
        and "trigger_id" not in run.parameters  # a check: the next one comes by itself
        and RETRY_OF not in run.labels
        and isinstance(model_name, str)
        and retries(model_name)
    )


def ended(judged: Iterable[Judged]) -> list[Judged]:
    """Those that were ended."""
    return [one for one in judged if one.judgement.action in ENDING]


async def _under_way(client: "PrefectClient", *, work_pool: str, offset: int) -> "list[FlowRun]":
    return await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNDER_WAY)),
            tags=FlowRunFilterTags(all_=[TAG]),
        ),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[work_pool])),
        sort=FlowRunSort.ID_DESC,
        limit=PAGE,
        offset=offset,
    )


def _stage(kind: StateType) -> Stage:
    match kind:
        case StateType.SCHEDULED | StateType.PAUSED:
            return Stage.WAITING
        case StateType.PENDING:
            return Stage.TAKEN
        case StateType.RUNNING:
            return Stage.RUNNING
        case StateType.CANCELLING:
            return Stage.CANCELLING
        case _:
            return Stage.FINAL


def _environment(job_variables: Any) -> dict[str, Any]:
    found = (job_variables or {}).get("env")
    return found if isinstance(found, dict) else {}


def _interval(environment: dict[str, Any]) -> timedelta | None:
    """None where heartbeats are switched off."""
    if HEARTBEAT_SETTING not in environment:
        return PREFECTS_HEARTBEAT
    try:
        return timedelta(seconds=float(environment[HEARTBEAT_SETTING]))
    except (TypeError, ValueError):
        return None


def _lives_here(run: "FlowRun") -> bool:
    """Whether the recorded process is one of this machine, and that run's: numbers recur elsewhere.

    Nothing is found where there is no /proc; heartbeats decide there.
    """
    if not (run.infrastructure_pid or "").isdigit():
        return False
    try:
        environment = Path(f"/proc/{run.infrastructure_pid}/environ").read_bytes()
    except OSError:  # gone, or somebody else's
        return False
    return f"PREFECT__FLOW_RUN_ID={run.id}".encode() in environment.split(b"\0")
