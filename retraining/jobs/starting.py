"""Starting a job once, however often it is asked for: reserve, ask Prefect, record."""

import asyncio
import hashlib
import json
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID, uuid4

from retraining.catalog.parameters import parse_parameters
from retraining.catalog.spec import ModelSpec
from retraining.errors import (
    IdempotencyKeyReused,
    InvalidParameters,
    InvalidRequest,
    JobRunning,
    OrchestratorUnavailable,
    StoreUnavailable,
)
from retraining.jobs import repository
from retraining.jobs.admission import undecided
from retraining.jobs.job import RetrainingRequest, TriggerType
from retraining.jobs.plain import refuse_unstorable
from retraining.jobs.records import StartRequest
from retraining.orchestrator.values import JobRun, Orchestrator, RunRequest
from retraining.store.database import Database

REMEMBERED = timedelta(hours=24)
"""How long a repeated idempotency key finds its job."""
ATTEMPT = timedelta(seconds=30)
"""How long others believe that an attempt is still under way."""
WAIT_SECONDS = 5.0
POLL_SECONDS = 0.1
CLOCK_TOLERANCE = timedelta(minutes=5)
REQUESTS = "retraining_requests"


class Models(Protocol):
    """What the jobs need of the catalog."""

    def get(self, name: str) -> ModelSpec:
        """The specification of a model. Raises UnknownModel."""
        ...


@dataclass(frozen=True)
class Caller:
    """Who asks for a job, and under which idempotency key: theirs, or one that nobody else has."""

    name: str
    correlation_id: str
    key: str

    @property
    def labels(self) -> dict[str, str]:
        """What the run carries of it."""
        labels = {
            "triggered_by": self.name,
            "trigger_type": str(TriggerType.MANUAL),
            "correlation_id": self.correlation_id,
        }
        return {name: value for name, value in labels.items() if value}


class JobStarter:
    """Makes one flow run of one request.

    The request is reserved in the store before Prefect is asked, so that a locked database starts nothing;
    the reservation's own key makes Prefect return the same run to every later attempt.
    """

    def __init__(self, database: Database, orchestrator: Orchestrator, catalog: Models) -> None:
        self._database = database
        self._orchestrator = orchestrator
        self._catalog = catalog

    async def start(self, request: RetrainingRequest, caller: Caller) -> JobRun | UUID:
        """The run that was made or found; the id alone if an earlier attempt finished.

        Raises what `JobService.start` raises.
        """
        parameters = self._checked_parameters(request)
        reservation = await self._reserve(request, parameters, caller)
        if reservation.job_id is not None:
            return reservation.job_id
        try:
            return await self._orchestrator.create_run(
                RunRequest(
                    model_name=request.model_name,
                    parameters=parameters,
                    as_of=request.as_of,
                    idempotency_key=reservation.run_key,
                    labels=caller.labels,
                )
            )
        except Exception:
            await self._give_up(caller)
            raise

    async def finish(self, caller: Caller, job_id: UUID) -> None:
        """Keep which job the reservation became. Raises StoreUnavailable."""
        async with self._database.write(serial=REQUESTS) as session:
            reservation = await repository.find_request(session, caller.name, caller.key)
            if reservation is not None:
                reservation.job_id = job_id
                reservation.open_until = None

    def _checked_parameters(self, request: RetrainingRequest) -> dict[str, Any]:
        spec = self._catalog.get(request.model_name)
        parsed = parse_parameters(request.model_name, spec.parameters, request.parameters)
        if request.as_of is not None and request.as_of > datetime.now(UTC) + CLOCK_TOLERANCE:
            raise InvalidRequest("as_of", f"{request.as_of.isoformat()} lies in the future")
        # Only what was set: defaults are the model's to change, and a job's page shows what was asked for.
        parameters = parsed.model_dump(mode="json", exclude_unset=True)
        try:
            refuse_unstorable(parameters)
        except ValueError as exc:
            raise InvalidParameters(request.model_name, [("parameters", str(exc))]) from exc
        return parameters

    async def _reserve(
        self, request: RetrainingRequest, parameters: dict[str, Any], caller: Caller
    ) -> StartRequest:
        """This caller's reservation, new or from before.

        Raises:
            IdempotencyKeyReused, JobRunning, OrchestratorUnavailable, StoreUnavailable.
        """
        reject = request.if_running == "reject"
        digest = _digest(request, parameters)
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            in_prefect = await self._active_in_prefect(request.model_name) if reject else None
            now, waited_enough = datetime.now(UTC), time.monotonic() > deadline
            async with self._database.write(serial=REQUESTS) as session:
                await repository.forget_requests(session, before=now - REMEMBERED)
                known = await repository.find_request(session, caller.name, caller.key)
                if known is not None:
                    if known.digest != digest:
                        raise IdempotencyKeyReused(caller.key)
                    # Who holds it may be asking Prefect at this moment, or be gone: wait a little, then ask
                    # too. The same key gives the same run.
                    held = known.job_id is None and known.open_until is not None and known.open_until > now
                    if not held or waited_enough:
                        known.open_until = now + ATTEMPT if known.job_id is None else None
                        return known
                elif reject:
                    running = in_prefect or await repository.unfinished_job_of(session, request.model_name)
                    if running is not None:
                        raise JobRunning(request.model_name, running)
                if known is None and not (
                    reject and await repository.request_under_way(session, request.model_name, now)
                ):
                    reservation = StartRequest(
                        caller=caller.name,
                        key=caller.key,
                        digest=digest,
                        run_key=f"retraining-{uuid4()}",
                        model_name=request.model_name,
                        reserved_at=now,
                        open_until=now + ATTEMPT,
                    )
                    session.add(reservation)
                    return reservation
            # Somebody else's job is being made at this moment: soon it has an id, or has failed.
            if waited_enough:
                raise OrchestratorUnavailable("wait for a job that is being created")
            await asyncio.sleep(POLL_SECONDS)

    async def _active_in_prefect(self, model_name: str) -> UUID | None:
        runs = [run for run in await self._orchestrator.active_runs() if run.model_name == model_name]
        # A trigger's run may still join another one, and be no job itself.
        return min(runs, key=undecided).id if runs else None

    async def _give_up(self, caller: Caller) -> None:
        """Say that nobody is asking Prefect any more; the reservation stays for a repetition."""
        with suppress(StoreUnavailable):
            async with self._database.write(serial=REQUESTS) as session:
                reservation = await repository.find_request(session, caller.name, caller.key)
                if reservation is not None:
                    reservation.open_until = None


def _digest(request: RetrainingRequest, parameters: dict[str, Any]) -> str:
    asked = [request.model_name, parameters, request.as_of and request.as_of.isoformat(), request.if_running]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
