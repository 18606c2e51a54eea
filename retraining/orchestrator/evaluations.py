"""Evaluations in Prefect: artifacts that stay, and events that tell of them and of breaches."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from prefect.events.clients import PrefectEventSubscriber
from pydantic import ValidationError

from retraining.errors import OrchestratorUnavailable
from retraining.jobs.admission import CLOCKS
from retraining.jobs.job import TriggerType
from retraining.monitoring.evaluation_page import plain_markdown
from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.events import close, subscribe
from retraining.orchestrator.labels import (
    DRIFT_EVENT,
    EVALUATED_EVENT,
    PERFORMANCE_EVENT,
    TEMPLATE_PREFIX,
    TRIGGER_RESOURCE,
)
from retraining.orchestrator.run_admission import of_models, runs_queries
from retraining.triggers.cause import Cause
from retraining.triggers.evaluation import Evaluation

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

KEY_PREFIX = "retraining-trigger-"
TYPE = "evaluation"
"""One that Prefect's UI does not know: it shows the description, and the data as it is."""
PAGE = 100
LOOKED_BACK = 20
"""Of a trigger's evaluations so many are looked at, if the newest is not enough. They may be long."""
AUTOMATION_SECONDS = 1.0
"""So long an automation has to make its run, which takes it a fifth of this on an idle server."""
AUTOMATION_POLL_SECONDS = 0.1
SCORES = 20
"""As many as a cause carries."""
_EVENTS = UUID("6f0b2f0a-6c1c-4c57-9a5e-0f3d1d1f5a86")
"""Namespace of the events' ids, so that an event that is sent again is the same event."""


async def announce_breach(
    connection: PrefectConnection,
    evaluation: Evaluation,
    repetition: int = 0,
    seconds: float = AUTOMATION_SECONDS,
) -> None:
    """Emit the event that the trigger's automation waits for; each repetition is an event of its own.

    Returns when the automation has made its run, or after `seconds`. If our next write met its transaction on
    SQLite, Prefect would undo that one and try again two seconds later; one that is late has met another.
    """
    drift = evaluation.trigger_type is TriggerType.DRIFT
    name = DRIFT_EVENT if drift else PERFORMANCE_EVENT
    await _emit(connection, name, evaluation, breach_cause(evaluation).model_dump(mode="json"), repetition)
    # The breach is told: without an answer it would only be told again.
    with suppress(TimeoutError, OrchestratorUnavailable):
        async with asyncio.timeout(seconds):
            while True:
                await asyncio.sleep(AUTOMATION_POLL_SECONDS)
                if await _has_run(connection, evaluation):
                    return


async def _has_run(connection: PrefectConnection, evaluation: Evaluation) -> bool:
    """Whether an automation has made a run for the breach."""
    for query in runs_queries([evaluation.model_name], evaluation.at - CLOCKS):
        found = await connection.ask(
            f"look for the run of breach {evaluation.id}",
            partial(_first_page, query=query),
        )
        runs = of_models([evaluation.model_name], found)
        if any(run.cause is not None and run.cause.evaluation_id == evaluation.id for run in runs):
            return True
    return False


async def _first_page(client: "PrefectClient", query: Mapping[str, Any]) -> "list[FlowRun]":
    return await client.read_flow_runs(**query, limit=PAGE)


def breach_cause(evaluation: Evaluation) -> Cause:
    """What the job is told of the breach."""
    drifted = [
        one
        for one in evaluation.columns
        if one.drifted and one.score is not None and not one.column.startswith(TEMPLATE_PREFIX)
    ]
    scores = {one.column: one.score for one in drifted[:SCORES] if one.score is not None}
    if evaluation.metric is not None:
        scores = {evaluation.metric.metric: evaluation.metric.value}
    return Cause(
        type=evaluation.trigger_type,
        trigger_id=evaluation.trigger_id,
        at=evaluation.at,
        by=evaluation.by,
        evaluation_id=evaluation.id,
        reason=evaluation.reason,
        scores=scores,
    )


async def keep_evaluation(connection: PrefectConnection, evaluation: Evaluation) -> None:
    """Keep it as an artifact, unless it is kept already, and tell it in an event."""
    kept = evaluation.model_dump(mode="json")
    external = evaluation.source == "external"
    artifact = {
        "key": _key(evaluation.trigger_id),
        "type": TYPE,
        "description": f"**{evaluation.outcome}** ({evaluation.trigger_type} of {evaluation.model_name}): "
        f"{plain_markdown(evaluation.reason)}",
        "data": kept,
        "flow_run_id": None if external else str(evaluation.id),
    }

    wanted: dict[str, Any] = {"key": {"any_": [artifact["key"]]}}
    if not external:
        wanted["flow_run_id"] = {"any_": [artifact["flow_run_id"]]}

    async def keep(client: "PrefectClient") -> None:
        found = await _read(client, wanted, limit=LOOKED_BACK)
        if not any(one["data"].get("id") == kept["id"] for one in found):
            # Not by the client's own method: that one tells of it in an event, in a thread of its own.
            await client.request("POST", "/artifacts/", json=artifact)

    await connection.ask(f"keep evaluation {evaluation.id}", keep)
    await _emit(connection, EVALUATED_EVENT, evaluation, kept)


async def latest_evaluation(connection: PrefectConnection, trigger_id: UUID) -> Evaluation | None:
    """The newest one that was kept, of those that this release can read."""

    async def read(client: "PrefectClient") -> Evaluation | None:
        for limit in (1, LOOKED_BACK):
            for artifact in await _read(client, {"key": {"any_": [_key(trigger_id)]}}, limit=limit):
                if (evaluation := _evaluation(artifact["data"])) is not None:
                    return evaluation
        return None

    return await connection.ask(f"read the latest evaluation of trigger {trigger_id}", read)


async def kept_evaluations(
    connection: PrefectConnection, since: datetime | None, page_size: int = PAGE
) -> AsyncIterator[Evaluation]:
    """Evaluations kept since then, newest first. What is kept meanwhile comes or not."""
    of_triggers = {"key": {"like_": f"{KEY_PREFIX}%"}, "type": {"any_": [TYPE]}}
    seen: set[str] = set()
    offset = 0
    while True:
        page = await connection.ask(
            "list evaluations", partial(_read, wanted=of_triggers, limit=page_size, offset=offset)
        )
        for artifact in page:
            if since is not None and datetime.fromisoformat(artifact["created"]) < since:
                return
            # What is kept meanwhile pushes the others down: some come on two pages.
            if artifact["id"] not in seen and (one := _evaluation(artifact["data"])) is not None:
                yield one
            seen.add(artifact["id"])
        if len(page) < page_size:
            return
        offset += len(page)


@asynccontextmanager
async def evaluation_events(connection: PrefectConnection) -> AsyncIterator[AsyncIterator[Evaluation]]:
    """Evaluations as they are kept.

    Raises:
        OrchestratorUnavailable: the stream cannot be opened; from the iterator, that it was cut.
    """
    subscriber = await subscribe(connection, [EVALUATED_EVENT])
    try:
        async with aclosing(_told(subscriber)) as stream:
            yield stream
    finally:
        await close(subscriber)


async def _told(subscriber: PrefectEventSubscriber) -> AsyncGenerator[Evaluation, None]:
    try:
        async for event in subscriber:
            evaluation = _evaluation(event.payload)
            if evaluation is not None:
                yield evaluation
    except (asyncio.CancelledError, GeneratorExit):
        raise
    except Exception as exc:  # whatever it died of, somebody waits for news
        raise OrchestratorUnavailable("follow its events") from exc
    raise OrchestratorUnavailable("follow its events: it closed the stream")


async def _read(
    client: "PrefectClient", wanted: dict[str, Any], limit: int, offset: int = 0
) -> list[dict[str, Any]]:
    body = {"artifacts": wanted, "sort": "CREATED_DESC", "limit": limit, "offset": offset}
    answer: list[dict[str, Any]] = (await client.request("POST", "/artifacts/filter", json=body)).json()
    return [artifact for artifact in answer if isinstance(artifact["data"], dict)]


async def _emit(
    connection: PrefectConnection,
    name: str,
    evaluation: Evaluation,
    payload: dict[str, Any],
    repetition: int = 0,
) -> None:
    event = {
        "id": str(uuid5(_EVENTS, f"{name} {evaluation.id} {repetition}")),
        "occurred": datetime.now(UTC).isoformat(),
        "event": name,
        "resource": {
            "prefect.resource.id": f"{TRIGGER_RESOURCE}{evaluation.trigger_id}",
            "prefect.resource.name": f"{evaluation.trigger_type} trigger of {evaluation.model_name}",
        },
        "payload": payload,
    }
    # A request that is answered, unlike the client's stream of events: it was heard, or it is repeated.
    await connection.ask(f"tell {name}", lambda client: client.request("POST", "/events", json=[event]))


def _key(trigger_id: UUID) -> str:
    return f"{KEY_PREFIX}{trigger_id}"


def _evaluation(value: Any) -> Evaluation | None:
    """None for what another release kept and this one cannot read."""
    try:
        return Evaluation.model_validate(value)
    except ValidationError:
        return None
