"""A scheduled run's own question: has the next run of its schedule come due meanwhile?"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import PrefectException

from retraining.jobs.admission import makes_way, superseded
from retraining.orchestrator.run_admission import ended_as

NOT_GIVEN_UP = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.COMPLETED]
PAGE = 200


async def find_supersession(run: FlowRun) -> State[Any] | None:
    """The state in which a check is to end of which a newer one is due.

    None if there is none, or if the server does not answer: a check too many does no harm.
    """
    try:
        async with get_client() as client:
            newer = await find_newer_due_run(client, run)
    except (httpx.HTTPError, PrefectException):
        return None
    if newer is None or newer.expected_start_time is None:
        return None
    admission = superseded(newer.id, newer.expected_start_time)
    return ended_as(admission.state_name, admission.message)


async def find_newer_due_run(client: PrefectClient, run: FlowRun) -> FlowRun | None:
    """The newest run of the same schedule that came due before a worker took this one, and was not given up.

    None for a run that no schedule made. After an outage many runs of a schedule are due at once; a check
    looks at what is there now, so that one of them is enough. What came due since the worker took it does not
    count: on a machine whose processes take longer to start than the schedule's interval no check would ever
    be made.
    """
    schedule_id, due = _schedule_of(run), run.expected_start_time
    if schedule_id is None or run.deployment_id is None or due is None:
        return None
    found = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[run.deployment_id]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=NOT_GIVEN_UP)),
            expected_start_time=FlowRunFilterExpectedStartTime(after_=due, before_=datetime.now(UTC)),
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=PAGE,
    )
    taken_at = await _taken_at(client, run)
    for one in found:
        came = one.expected_start_time
        if _schedule_of(one) == schedule_id and came and came > due and makes_way(taken_at, came):
            return one
    return None


def is_scheduled(run: FlowRun) -> bool:
    """Whether a schedule made the run, and no person."""
    return _schedule_of(run) is not None


async def _taken_at(client: PrefectClient, run: FlowRun) -> datetime | None:
    """When a worker took the run; None if none did."""
    states = await client.read_flow_run_states(run.id)
    return max((state.timestamp for state in states if state.is_pending()), default=None)


def _schedule_of(run: FlowRun) -> UUID | None:
    creator = run.created_by
    return creator.id if creator is not None and creator.type == "SCHEDULE" else None
