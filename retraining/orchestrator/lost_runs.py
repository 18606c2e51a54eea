"""Runs whose process is gone together with the worker that would have said so, or that never had one."""

from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelled, Crashed, Scheduled

from retraining.orchestrator.connection import PrefectConnection

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
KILLED = "it was killed together with its worker"


async def end_lost_runs(
    connection: PrefectConnection, work_pool: str, lives: Callable[[int], bool]
) -> list[UUID]:
    """Give every run of the pool whose process does not live a truthful state, so that the next one starts.

    A run that had begun has crashed, one that was being cancelled is cancelled, and one that had no process
    yet waits again. `lives` says whether a process of this machine lives: call this only while no worker of
    the pool runs, here or elsewhere.

    Raises:
        OrchestratorUnavailable: the server does not answer.
    """

    async def end(client: "PrefectClient") -> list[UUID]:
        lost = [run for run in await _under_way(client, work_pool) if not _has_process(run, lives)]
        for run in lost:
            await client.set_flow_run_state(run.id, _truth(run), force=True)
        return [run.id for run in lost]

    return await connection.ask("end lost runs", end)


async def give_back(connection: PrefectConnection, run_id: UUID) -> None:
    """Let a run wait again for which the worker that took it has started no process; no other is touched.

    Prefect takes the slot from such a run after a minute, and leaves it pending for ever.

    Raises:
        OrchestratorUnavailable: the server does not answer.
    """

    async def give(client: "PrefectClient") -> None:
        run = await client.read_flow_run(run_id)
        if run.state_type is StateType.PENDING and run.infrastructure_pid is None:
            await client.set_flow_run_state(run_id, _truth(run), force=True)

    await connection.ask(f"give flow run {run_id} back", give)


async def _under_way(client: "PrefectClient", work_pool: str) -> "list[FlowRun]":
    return await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNDER_WAY))),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[work_pool])),
    )


def _has_process(run: "FlowRun", lives: Callable[[int], bool]) -> bool:
    pid = run.infrastructure_pid or ""
    return pid.isdigit() and lives(int(pid))


def _truth(run: "FlowRun") -> "State[None]":
    match run.state_type:
        case StateType.CANCELLING:
            return Cancelled(message=KILLED)
        case StateType.PENDING:
            return Scheduled(message="its worker was killed before it started")
        case _:
            return Crashed(message=KILLED)
