"""What the orchestrator tells: runs, their states and events. No Prefect in here."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from retraining.jobs.status import RetrainingStatus
from retraining.triggers.cause import Cause
from retraining.triggers.condition import DriftCondition, PerformanceCondition, ScheduledCondition
from retraining.triggers.evaluation import Evaluation


@dataclass(frozen=True)
class JobRun:
    """A flow run of `retrain/<model>`, in the product's words."""

    id: UUID
    model_name: str
    status: RetrainingStatus
    due: bool
    """False for a run scheduled for the future: not a job yet."""
    cancelling: bool
    created_at: datetime
    """When it became a job: its creation, or when it was due if it was planned ahead."""
    started_at: datetime | None
    completed_at: datetime | None
    message: str | None
    """The state's message: the reason, for a failed or cancelled run."""
    parameters: Mapping[str, Any]
    """The training parameters (not the flow's own arguments)."""
    as_of: datetime | None
    created_by: tuple[str, str] | None
    """("schedule" or "automation", id), None for a person."""
    labels: Mapping[str, str]
    """`retraining.*` labels, without the prefix: triggered_by, correlation_id, version_before, ..."""
    cause: Cause | None = None
    """What a schedule or an automation started it for; None for a person's run."""
    joined: UUID | None = None
    """The job that this run joined instead of starting one: it is cancelled, and is no job itself."""
    superseded_by: UUID | None = None
    """The later run of the same schedule that took its place: it is cancelled, and a job all the same."""
    taken_at: datetime | None = None
    """When a worker took it, while its process is starting."""


@dataclass(frozen=True)
class RunEvent:
    """Something that happened to a run, from the server's event stream."""

    event_id: UUID
    run_id: UUID
    at: datetime
    kind: Literal["state", "progress"]
    run: JobRun | None = None
    """For a state: the run as stored, in this state or a later one; None if it is gone or is no job."""
    stage: str | None = None
    """What the job is doing: loading, training, evaluating, registering, deciding, promoting."""
    fraction: float | None = None
    message: str | None = None


@dataclass(frozen=True)
class LogLine:
    """One line of a job's log."""

    at: datetime
    level: str
    logger: str
    message: str


@dataclass(frozen=True)
class Deployed:
    """A deployment that `deploy` made or found."""

    name: str
    change: Literal["created", "updated", "unchanged"]


@dataclass(frozen=True)
class RunRequest:
    """A job to be created."""

    model_name: str
    parameters: Mapping[str, Any]
    as_of: datetime | None
    idempotency_key: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Inspection:
    """What is there for jobs to run."""

    server_version: str
    missing: tuple[str, ...]
    """Deployments that models of the catalog should have and do not."""
    paused: tuple[str, ...]
    """Deployments whose schedules make no runs."""
    pool_paused: bool | None
    """None if there is no work pool."""
    workers: tuple[str, ...]
    """Workers of the pool that are alive."""
    pool_command: str | None = None
    """What the pool's workers start for each job; None for Prefect's own command, or if there is no pool."""


class Orchestrator(Protocol):
    """The door to Prefect. Every method raises OrchestratorUnavailable if the server does not answer."""

    async def create_run(self, request: RunRequest) -> JobRun:
        """Create a flow run of `retrain/<model>`; the same idempotency key returns the same run.

        Raises:
            NotDeployed: the model has no deployment.
        """
        ...

    async def read_run(self, run_id: UUID) -> JobRun | None:
        """One run, or None if Prefect has no such run of a retrain deployment."""
        ...

    async def active_runs(self) -> list[JobRun]:
        """Every run that is due and not final, in any number."""
        ...

    def finished_runs(self, since: datetime | None) -> AsyncIterator[JobRun]:
        """Runs that ended at or after `since` (all if None), the latest end first."""
        ...

    async def runs_of(self, model_names: Collection[str], since: datetime) -> list[JobRun]:
        """Runs of these models that are due and not final, or ended at or after `since`."""
        ...

    async def end_waiting(self, run_id: UUID, name: str, message: str) -> bool:
        """Cancel a run under a name of its own, but only while no worker has taken it.

        Returns whether it is cancelled now. One that is gone is none that waits.
        """
        ...

    async def give_back(self, run_id: UUID) -> None:
        """Let a run wait again that a worker took without starting a process for it; harmless for others.

        Only when no process can be on its way any more: the worker is dead.
        """
        ...

    async def cancel_run(self, run_id: UUID) -> JobRun:
        """Cancel: a waiting run at once, a running one by asking its worker. Harmless when repeated.

        Raises:
            JobNotFound, JobAlreadyFinished.
        """
        ...

    async def force_cancelled(self, run_id: UUID, reason: str) -> JobRun:
        """Set a run that did not follow its cancellation to cancelled, whatever its worker says."""
        ...

    async def logs(self, run_id: UUID, *, limit: int, offset: int) -> Sequence[LogLine]:
        """A job's log, oldest line first."""
        ...

    def events(self) -> AbstractAsyncContextManager[AsyncIterator[RunEvent]]:
        """The live stream of events about retrain runs. Ends with OrchestratorUnavailable when it is cut.

        What happened before it was opened may come or not: follow first, then compare with `active_runs` and
        `finished_runs`. A run read after an event about it is in that event's state or a later one.
        """
        ...

    def promotion_lock(self, model_name: str) -> AbstractAsyncContextManager[None]:
        """Hold while the model's aliases move; waits for whoever holds it.

        Raises:
            PromotionLockBusy: somebody else held it for all of the time that this waited.
        """
        ...

    def run_url(self, run_id: UUID) -> str:
        """Where a person looks at the run: the Prefect UI."""
        ...

    async def inspect(self, model_names: Sequence[str], work_pool: str) -> Inspection:
        """What is there for jobs of these models to run: their deployments, the pool and its workers."""
        ...

    async def ping(self) -> None:
        """Raise OrchestratorUnavailable unless the server answers."""
        ...


@dataclass(frozen=True)
class TriggerOrder:
    """A trigger as Prefect is to hold it."""

    trigger_id: UUID
    model_name: str
    condition: ScheduledCondition | DriftCondition | PerformanceCondition
    enabled: bool
    created_at: datetime
    """The trigger's: what `every` and `check_every` count from, also when it is changed or put back."""


@dataclass(frozen=True)
class ScheduleSeen:
    """A schedule of `retrain/<model>` or `monitor/<model>`, as Prefect holds it."""

    schedule_id: UUID
    model_name: str
    trigger_id: UUID | None
    """The trigger that it belongs to; None for one that people made in Prefect on `retrain/<model>`."""
    condition: Mapping[str, Any]
    """As `retraining.triggers.calendar` reads it: `cron` and `timezone`, `every` and `anchor`, or `rrule` and
    `timezone`. Of a monitor, how often it is checked."""
    active: bool
    """Not paused itself."""
    created_at: datetime
    paused_with_deployment: bool = False
    """Its whole deployment is paused: nothing is due, whether it is active or not."""


@dataclass(frozen=True)
class TriggersSeen:
    """All that Prefect holds of triggers, at one time."""

    schedules: Sequence[ScheduleSeen]
    automations: Mapping[UUID, bool]
    """By trigger id: whether its automation is enabled."""
    deployed_at: Mapping[str, datetime]
    """By `retrain/<model>` and `monitor/<model>`: when it was last deployed, which drops its schedules."""


class TriggerOrchestrator(Protocol):
    """The door to Prefect for triggers. Every method raises OrchestratorUnavailable if there is no answer."""

    async def put_trigger(self, order: TriggerOrder) -> None:
        """Make Prefect hold the trigger as ordered: creates what is missing, changes what differs.

        Idempotent. Raises NotDeployed: the model has no deployment, or no monitor.
        """
        ...

    async def remove_trigger(self, trigger_id: UUID, model_name: str) -> None:
        """Remove its schedule, its automation and the runs planned or waiting for it. Idempotent.

        Runs that a worker has taken are left alone. `trigger_id` may be the id of a people's own schedule.
        """
        ...

    async def set_enabled(self, trigger_id: UUID, model_name: str, *, enabled: bool) -> None:
        """Pause or resume its schedule and its automation, also of a schedule that people made."""
        ...

    async def is_enabled(self, trigger_id: UUID) -> bool:
        """Whether a breach of the trigger would start a job: its automation is there, and enabled."""
        ...

    async def triggers_seen(self) -> TriggersSeen:
        """All schedules of our deployments and all automations of our triggers."""
        ...

    async def start_check(
        self,
        order: TriggerOrder,
        *,
        as_of: datetime | None,
        report: bool,
        by: str,
        correlation_id: str | None,
    ) -> UUID:
        """Start a run of `monitor/<model>` that checks the trigger now; returns the run's id, which is the
        evaluation's.

        Raises NotDeployed.
        """
        ...

    async def announce_breach(self, evaluation: Evaluation, *, repetition: int = 0) -> None:
        """Emit the breach event that the trigger's automation waits for. Repeating it starts nothing more.

        Unless `repetition` is another number: then it is a new event, for a breach that Prefect lost.
        """
        ...

    async def keep_evaluation(self, evaluation: Evaluation) -> None:
        """Keep the evaluation as an artifact, and tell it in an event. Repeating it adds nothing."""
        ...

    async def latest_evaluation(self, trigger_id: UUID) -> Evaluation | None:
        """The newest evaluation that was kept; None before the first."""
        ...

    def kept_evaluations(self, since: datetime | None) -> AsyncIterator[Evaluation]:
        """Evaluations kept since then (all if None), newest first."""
        ...

    def evaluation_events(self) -> AbstractAsyncContextManager[AsyncIterator[Evaluation]]:
        """Evaluations as they are kept, live. Ends with OrchestratorUnavailable when the stream is cut."""
        ...
