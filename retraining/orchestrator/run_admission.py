"""A run's own side of its admission: whether it may begin, asked before anything else.

The facade asks the same question soon after a run shows itself, and cancels in Prefect what joins a job or
makes way. This holds without it, and against it if a worker was faster.
"""

import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException
from prefect.states import Cancelled

from retraining.errors import OrchestratorUnavailable
from retraining.jobs.admission import SETTLE_SECONDS, Admission, Verdict, admit, look_back, undecided
from retraining.jobs.status import RetrainingStatus
from retraining.orchestrator.labels import FLOW_NAME
from retraining.orchestrator.states import job_run
from retraining.orchestrator.values import JobRun

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, State

PAGE = 200
PUT_OFF = timedelta(minutes=5)
"""A run that found no free place is planned anew, a little later; it waits all the same."""
UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.PAUSED, StateType.CANCELLING]


def find_refusal() -> "State[Any] | None":
    """The state in which the flow run that calls this is to end without having begun; None if it may begin.

    Runs that wait are told as well what becomes of them, so that they need no process to find out. No request
    is made for a run that no trigger made.

    Raises:
        OrchestratorUnavailable: Prefect does not answer, and nobody can say.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return None
    me = job_run(context.flow_run, datetime.now(UTC))
    if me is None or me.cause is None:
        return None
    age = (datetime.now(UTC) - me.created_at).total_seconds()
    time.sleep(min(max(SETTLE_SECONDS - age, 0), SETTLE_SECONDS))
    try:
        with get_client(sync_client=True) as client:
            return _refusal(client, me.id, me.model_name)
    except (httpx.HTTPError, PrefectException) as exc:
        raise OrchestratorUnavailable("ask whether the job may begin") from exc


def _refusal(client: "SyncPrefectClient", run_id: UUID, model_name: str) -> "State[Any] | None":
    me = job_run(client.read_flow_run(run_id), datetime.now(UTC))
    if me is None or not undecided(me):
        return None
    runs = {run.id: run for run in _runs_of(client, model_name, look_back([me], datetime.now(UTC)))}
    # Of a deployment with another name it is not among them.
    admissions = admit({**runs, me.id: me}.values(), datetime.now(UTC))
    for other in runs.values():
        if other.id != me.id and other.status is RetrainingStatus.PENDING:
            _end_waiting(client, other.id, admissions[other.id])
    mine = admissions[me.id]
    return None if mine.verdict is Verdict.STARTS else ended_as(mine.state_name, mine.message)


def _end_waiting(client: "SyncPrefectClient", run_id: UUID, admission: Admission) -> None:
    """Tell a waiting run; best effort, for it asks by itself before it begins."""
    if admission.verdict is Verdict.STARTS:
        return
    try:
        state = client.read_flow_run(run_id).state
        if state is not None and state.is_scheduled():
            client.set_flow_run_state(run_id, ended_as(admission.state_name, admission.message))
    except (httpx.HTTPError, PrefectException):
        return


def _runs_of(client: "SyncPrefectClient", model_name: str, since: datetime) -> list[JobRun]:
    found: dict[UUID, FlowRun] = {}
    for query in runs_queries([model_name], since):
        offset, full = 0, True
        while full:
            page = client.read_flow_runs(**query, limit=PAGE, offset=offset)
            found |= {flow_run.id: flow_run for flow_run in page}
            offset += len(page)
            full = len(page) == PAGE
    return of_models([model_name], found.values())


def runs_queries(model_names: Collection[str], since: datetime) -> Sequence[dict[str, Any]]:
    """What to ask Prefect for: runs of `retrain/<model>` that wait, are under way, or ended since then.

    One query each, in an order for which it has an index: all in one, it reads every run there ever was.
    To be asked in this order, so that a run that moves on meanwhile is found by a later one; those that wait
    are asked for twice, since a run may be given back. Newest first, so that pages miss nothing while runs
    are added.
    """
    soon = datetime.now(UTC) + PUT_OFF
    waiting = FlowRunFilter(
        state=state_in([StateType.SCHEDULED]),
        # Schedules keep many runs planned further ahead.
        next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(before_=soon),
    )
    under_way = FlowRunFilter(state=state_in(UNDER_WAY))
    ended = FlowRunFilter(end_time=FlowRunFilterEndTime(after_=since))
    newest, last_ended = FlowRunSort.ID_DESC, FlowRunSort.END_TIME_DESC
    return [
        {
            "flow_filter": FlowFilter(name=FlowFilterName(any_=[FLOW_NAME])),
            "deployment_filter": DeploymentFilter(name=DeploymentFilterName(any_=sorted(model_names))),
            "flow_run_filter": fitting,
            "sort": sort,
        }
        for fitting, sort in (
            *((waiting, newest), (under_way, newest), (waiting, newest)),
            (ended, last_ended),
        )
    ]


def state_in(states: Sequence[StateType]) -> FlowRunFilterState:
    """The filter for runs in one of these states."""
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=[*states]))


def of_models(model_names: Collection[str], flow_runs: "Collection[FlowRun]") -> list[JobRun]:
    """The answer's runs that are due, in the product's words, in the order in which they came."""
    now = datetime.now(UTC)
    runs = [run for flow_run in flow_runs if (run := job_run(flow_run, now)) is not None]
    due = [run for run in runs if run.due and run.model_name in model_names]
    return sorted(due, key=lambda run: (run.created_at, run.id))


def ended_as(name: str, message: str) -> "State[Any]":
    """The state of a run that did not begin."""
    return Cancelled(name=name, message=message)
