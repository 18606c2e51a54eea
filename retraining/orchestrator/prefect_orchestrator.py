"""The door to Prefect: jobs as flow runs of `retrain/<model>`."""

import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import httpx
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterEndTime,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort, LogSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Cancelling

from retraining.errors import JobAlreadyFinished, JobNotFound, NotDeployed
from retraining.jobs.status import RetrainingStatus
from retraining.orchestrator.connection import REQUEST_SECONDS, PrefectConnection
from retraining.orchestrator.events import run_events
from retraining.orchestrator.inspection import inspect
from retraining.orchestrator.labels import FLOW_NAME, LABEL_PREFIX
from retraining.orchestrator.lost_runs import give_back
from retraining.orchestrator.promotion_lock import promotion_lock
from retraining.orchestrator.run_admission import UNDER_WAY, ended_as, of_models, runs_queries, state_in
from retraining.orchestrator.states import job_run
from retraining.orchestrator.triggers import PrefectTriggers
from retraining.orchestrator.values import Deployed, Inspection, JobRun, LogLine, RunEvent, RunRequest

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas import OrchestrationResult
    from prefect.client.schemas.objects import FlowRun, State

    from retraining.catalog.spec import ModelSpec

PAGE = 200
"""The most rows that Prefect's API gives in one answer."""
PING_SECONDS = 2.0
AHEAD = timedelta(days=1)
"""So far at most the clock of a machine that runs jobs is ahead of ours."""


class PrefectOrchestrator:
    """The `Orchestrator` on a Prefect server. Enter it once; it then serves all callers of one event loop."""

    def __init__(
        self,
        api_url: str,
        auth_string: str | None = None,
        ui_url: str | None = None,
        *,
        request_seconds: float = REQUEST_SECONDS,
        page_size: int = PAGE,
    ) -> None:
        """`auth_string` is user:password; None takes Prefect's own setting PREFECT_API_AUTH_STRING."""
        self._page_size = page_size
        self._connection = PrefectConnection(api_url, auth_string, request_seconds)
        self._ui_url = (ui_url or api_url.rstrip("/").removesuffix("/api")).rstrip("/")
        self._deployment_ids: dict[str, UUID] = {}
        self._flow_names: dict[UUID, str] = {}

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._connection.__aexit__(exc_type, exc, traceback)

    async def create_run(self, request: RunRequest) -> JobRun:
        """See `Orchestrator.create_run`. One request to the server, after the first for a model."""
        name = f"{FLOW_NAME}/{request.model_name}"
        flow_run = await self._connection.ask_in_turn(
            f"create a run of {name}", lambda client: self._create(client, name, request)
        )
        run = job_run(flow_run, datetime.now(UTC))
        if run is None:
            raise RuntimeError(f"Prefect created {flow_run.id} without the parameters it was given")
        return run

    async def read_run(self, run_id: UUID) -> JobRun | None:
        """See `Orchestrator.read_run`."""
        try:
            flow_run = await self._connection.ask(
                f"read flow run {run_id}", lambda client: client.read_flow_run(run_id)
            )
            flow_name = await self._flow_name(flow_run.flow_id)
        except ObjectNotFound:
            return None
        return job_run(flow_run, datetime.now(UTC)) if flow_name == FLOW_NAME else None

    async def active_runs(self) -> list[JobRun]:
        """See `Orchestrator.active_runs`. Oldest first."""
        # A schedule keeps up to a hundred runs planned ahead: only those of them that are due are asked for.
        waiting = self._runs(DUE, in_state=[StateType.SCHEDULED], before=datetime.now(UTC))
        under_way = self._runs(DUE, in_state=UNDER_WAY)
        # A run that moves from one query's states to the other's between the two is found by the second.
        found = [run async for run in waiting] + [run async for run in under_way]
        runs = {run.id: run for run in found if run.due and not run.status.final}
        return sorted(runs.values(), key=lambda run: run.created_at)

    async def finished_runs(self, since: datetime | None) -> AsyncIterator[JobRun]:
        """See `Orchestrator.finished_runs`. The latest end first.

        In that order Prefect looks at no run that ended before `since`. Asked by state as well, it would go
        through all that ever ended, at every comparison. A run that ends meanwhile is not among them.
        """
        before = datetime.now(UTC) + AHEAD
        async for run in self._runs(END, after=since, before=before):
            if run.status.final:
                yield run

    async def runs_of(self, model_names: Collection[str], since: datetime) -> list[JobRun]:
        """See `Orchestrator.runs_of`. In the order in which they came."""
        found: dict[UUID, FlowRun] = {}
        for query in runs_queries(model_names, since):
            offset, full = 0, True
            while full:
                ask_for_page = partial(_any_page, query=query, limit=self._page_size, offset=offset)
                page = await self._connection.ask("list the runs of models", ask_for_page)
                found |= {flow_run.id: flow_run for flow_run in page}
                offset += len(page)
                full = len(page) == self._page_size
        return of_models(model_names, found.values())

    async def end_waiting(self, run_id: UUID, name: str, message: str) -> bool:
        """See `Orchestrator.end_waiting`."""

        async def end(client: "PrefectClient") -> bool:
            # Prefect knows no condition for it. If a worker takes the run between the two, its process finds
            # out, see `retraining.orchestrator.cancellation.find_cancellation`.
            state = (await client.read_flow_run(run_id)).state
            if state is None or not state.is_scheduled():
                return state is not None and state.is_cancelled()
            answer = await client.set_flow_run_state(run_id, ended_as(name, message))
            return answer.state is not None and answer.state.is_cancelled()

        try:
            return await self._connection.ask(f"end flow run {run_id}", end)
        except ObjectNotFound:
            return False

    async def give_back(self, run_id: UUID) -> None:
        """See `Orchestrator.give_back`."""
        with suppress(ObjectNotFound):
            await give_back(self._connection, run_id)

    async def cancel_run(self, run_id: UUID) -> JobRun:
        """See `Orchestrator.cancel_run`. A run that is cancelled, or being cancelled, stays as it is."""
        run = await self._existing(run_id)
        if run.status is RetrainingStatus.CANCELLED:
            return run
        if run.status.final:
            raise JobAlreadyFinished(run_id, run.status)
        doing = f"cancel flow run {run_id}"
        if not run.cancelling:
            # Prefect itself makes this Cancelled for a run that no worker has taken yet.
            await self._set_state(doing, run_id, Cancelling())
            run = await self._existing(run_id)
        if run.cancelling and run.started_at is None:
            # A worker has taken it, its process is starting: it would find the run cancelling, end, and leave
            # it like that for minutes. A process that starts after this finds out by itself, see
            # `retraining.orchestrator.cancellation.find_cancellation`.
            await self._set_state(doing, run_id, Cancelled(message="cancelled before it started"))
            run = await self._existing(run_id)
        if run.status.final and run.status is not RetrainingStatus.CANCELLED:
            raise JobAlreadyFinished(run_id, run.status)
        return run

    async def force_cancelled(self, run_id: UUID, reason: str) -> JobRun:
        """See `Orchestrator.force_cancelled`. A run that reached a final status meanwhile keeps it."""
        run = await self._existing(run_id)
        if run.status.final:
            return run
        doing = f"force flow run {run_id} to be cancelled"
        answer = await self._set_state(doing, run_id, Cancelled(message=reason))
        if answer is None or not answer.is_final():
            await self._set_state(doing, run_id, Cancelled(message=reason), force=True)
        return await self._existing(run_id)

    async def logs(self, run_id: UUID, *, limit: int, offset: int) -> list[LogLine]:
        """See `Orchestrator.logs`. Empty for an unknown run."""
        lines: list[LogLine] = []
        while len(lines) < limit:
            wanted = min(self._page_size, limit - len(lines))
            page = await self._log_page(run_id, wanted, offset + len(lines))
            lines += page
            if len(page) < wanted:
                break
        return lines

    def events(self) -> AbstractAsyncContextManager[AsyncIterator[RunEvent]]:
        """See `Orchestrator.events`."""
        return run_events(self._connection)

    def promotion_lock(self, model_name: str) -> AbstractAsyncContextManager[None]:
        """See `Orchestrator.promotion_lock`; raises PromotionLockBusy after 30 s."""
        return promotion_lock(self._connection, model_name)

    async def deploy(self, specs: "Iterable[ModelSpec]", *, work_pool: str) -> list[Deployed]:
        """Make or renew the models' deployments and the guard; see `retraining.orchestrator.deployments`."""
        from retraining.orchestrator.deployments import deploy
        from retraining.orchestrator.guard_deployment import deploy_guard

        deployed = await deploy(self._connection, specs, work_pool=work_pool)
        return deployed + await deploy_guard(self._connection, work_pool)

    @property
    def triggers(self) -> PrefectTriggers:
        """The door for triggers, on the same connection."""
        return PrefectTriggers(self._connection, page_size=self._page_size)

    def run_url(self, run_id: UUID) -> str:
        """See `Orchestrator.run_url`."""
        return f"{self._ui_url}/runs/flow-run/{run_id}"

    async def inspect(self, model_names: Sequence[str], work_pool: str) -> Inspection:
        """See `Orchestrator.inspect`."""
        return await inspect(self._connection, model_names, work_pool, self._page_size)

    async def ping(self) -> None:
        """See `Orchestrator.ping`. Prefect's own database must answer as well."""
        await self._connection.ask("answer", lambda client: client.request("GET", "/ready"), PING_SECONDS)

    async def _existing(self, run_id: UUID) -> JobRun:
        run = await self.read_run(run_id)
        if run is None:
            raise JobNotFound(run_id)
        return run

    async def _create(self, client: "PrefectClient", name: str, request: RunRequest) -> "FlowRun":
        known = self._deployment_ids.get(name)
        if known is not None and (flow_run := await _create_run(client, known, request)) is not None:
            return flow_run
        # Never asked for, or deleted and deployed anew since.
        try:
            found = (await client.read_deployment_by_name(name)).id
        except ObjectNotFound as exc:
            raise NotDeployed(name) from exc
        flow_run = await _create_run(client, found, request)
        if flow_run is None:
            raise NotDeployed(name)
        self._deployment_ids[name] = found
        return flow_run

    async def _set_state(
        self, doing: str, run_id: UUID, state: "State[Any]", *, force: bool = False
    ) -> "State[Any] | None":
        """Propose a state; the state that the run is in afterwards, as far as the answer says."""
        answer: OrchestrationResult[Any] = await self._connection.ask(
            doing, lambda client: client.set_flow_run_state(run_id, state, force=force)
        )
        return answer.state

    async def _log_page(self, run_id: UUID, limit: int, offset: int) -> list[LogLine]:
        of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id]))
        entries = await self._connection.ask(
            f"read the log of flow run {run_id}",
            lambda client: client.read_logs(of_run, limit, offset, LogSort.TIMESTAMP_ASC),
        )
        return [
            LogLine(entry.timestamp, logging.getLevelName(entry.level), entry.name, entry.message)
            for entry in entries
        ]

    async def _flow_name(self, flow_id: UUID) -> str:
        """The name of a flow: it never changes, and there are few."""
        if flow_id not in self._flow_names:
            flow = await self._connection.ask(
                f"read flow {flow_id}", lambda client: client.read_flow(flow_id)
            )
            self._flow_names[flow_id] = flow.name
        return self._flow_names[flow_id]

    async def _runs(
        self,
        order: "Order",
        *,
        in_state: Sequence[StateType] | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
    ) -> AsyncIterator[JobRun]:
        """All runs of the flow `retrain` whose moment lies between, in this order.

        Pages go on from the moment of the last run, not from a row number: runs that leave the filter
        meanwhile move nothing, so that none is missed and none comes twice.
        """
        seen: set[UUID] = set()
        while True:
            fitting = FlowRunFilter(
                state=None if in_state is None else state_in(in_state),
                deployment_id=FlowRunFilterDeploymentId(is_null_=False),
                id=FlowRunFilterId(not_any_=sorted(seen)) if seen else None,
                **order.between(after, before),
            )
            ask_for_page = partial(_page, fitting=fitting, limit=self._page_size, sort=order.sort)
            page = await self._connection.ask("list flow runs", ask_for_page)
            now = datetime.now(UTC)
            for flow_run in page:
                run = job_run(flow_run, now)
                if run is not None:
                    yield run
            if len(page) < self._page_size:
                return
            last = order.moment(page[-1])
            assert last is not None
            known = before if order.latest_first else after
            seen = {flow_run.id for flow_run in page if order.moment(flow_run) == last} | (
                seen if last == known else set()
            )
            before, after = (last, after) if order.latest_first else (before, last)


@dataclass(frozen=True)
class Order:
    """What runs are sorted by, and paged along."""

    sort: FlowRunSort
    latest_first: bool
    moment: "Callable[[FlowRun], datetime | None]"
    between: Callable[[datetime | None, datetime | None], dict[str, Any]]


DUE = Order(
    FlowRunSort.EXPECTED_START_TIME_ASC,
    latest_first=False,
    moment=lambda run: run.expected_start_time,
    between=lambda after, before: {
        "expected_start_time": FlowRunFilterExpectedStartTime(after_=after, before_=before)
    },
)
END = Order(
    FlowRunSort.END_TIME_DESC,
    latest_first=True,
    moment=lambda run: run.end_time,
    between=lambda after, before: {"end_time": FlowRunFilterEndTime(after_=after, before_=before)},
)


async def _page(
    client: "PrefectClient", fitting: FlowRunFilter, limit: int, sort: FlowRunSort
) -> "list[FlowRun]":
    return await client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW_NAME])),
        flow_run_filter=fitting,
        sort=sort,
        limit=limit,
    )


async def _any_page(
    client: "PrefectClient", query: Mapping[str, Any], limit: int, offset: int
) -> "list[FlowRun]":
    return await client.read_flow_runs(**query, limit=limit, offset=offset)


async def _create_run(client: "PrefectClient", deployment_id: UUID, request: RunRequest) -> "FlowRun | None":
    """The run, made now or before with the same key; None if the deployment is gone."""
    as_of = request.as_of.isoformat() if request.as_of else None
    try:
        return await client.create_flow_run_from_deployment(
            deployment_id,
            parameters={
                "model_name": request.model_name,
                "parameters": dict(request.parameters),
                "as_of": as_of,
            },
            name=_run_name(request),
            idempotency_key=request.idempotency_key,
            labels={f"{LABEL_PREFIX}{name}": value for name, value in request.labels.items()},
        )
    except httpx.HTTPStatusError as exc:
        if exc.response.status_code == httpx.codes.NOT_FOUND:
            return None
        raise


def _run_name(request: RunRequest) -> str:
    """What people read in the Prefect UI: the model, its data's time, and who asked."""
    as_of = f" as of {request.as_of:%Y-%m-%d}" if request.as_of else ""
    by = f" for {request.labels['triggered_by']}" if "triggered_by" in request.labels else ""
    return f"{request.model_name}{as_of}{by}"
