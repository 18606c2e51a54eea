"""The monitor: one check of one trigger, from the champion to the breach that starts a job."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect import flow
from prefect.artifacts import acreate_link_artifact, acreate_markdown_artifact
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Failed

from retraining.catalog.discovery import load_catalog
from retraining.errors import InvalidCondition, RetrainingError
from retraining.jobs.job import TriggerType
from retraining.monitoring.check import Check, Checked, Doors, make_report, run_check
from retraining.monitoring.evaluation_page import evaluation_markdown
from retraining.orchestrator.cancellation import find_cancellation, prompt_cancellation
from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.labels import MONITOR_FLOW_NAME
from retraining.orchestrator.outdated import find_supersession, is_scheduled
from retraining.orchestrator.triggers import PrefectTriggers
from retraining.registry.mlflow_registry import MlflowRegistry
from retraining.registry.monitoring_runs import MlflowMonitoringRuns
from retraining.settings import Settings
from retraining.triggers.condition import (
    DriftCondition,
    MonitorCondition,
    PerformanceCondition,
    ScheduledCondition,
    parse_condition,
)
from retraining.triggers.evaluation import Outcome


@flow(name=MONITOR_FLOW_NAME, persist_result=False)
async def monitor(
    model_name: str,
    trigger_id: str | None = None,
    trigger_type: str | None = None,
    condition: dict[str, Any] | None = None,
    enabled: bool = True,
    as_of: datetime | None = None,
    report: bool = False,
    by: str | None = None,
) -> State[Any]:
    """Check whether a model's data has drifted, or its performance has dropped.

    Args:
        model_name: A model of the catalog.
        trigger_id: The trigger that is checked. Without one the check is shown, and starts nothing.
        trigger_type: `drift` (the default) or `performance`.
        condition: The trigger's condition; the defaults if left out.
        enabled: Whether a breach may start a job.
        as_of: Check as of this time, now if not given. Without a time zone it is UTC.
        report: Make the report even without a breach.
        by: Who asked for the check; None for one that was scheduled.
    """
    run = _current_run()
    if (cancelled := find_cancellation(run.id)) is not None:
        return cancelled
    if (superseded := await find_supersession(run)) is not None:
        return superseded
    try:
        trigger = None if trigger_id is None else UUID(trigger_id)
    except ValueError as problem:
        return Failed(message=f"trigger_id {trigger_id!r} is no id: {problem}")
    asked, obstacle = _condition(trigger_type, condition or {})
    check = Check(
        id=run.id,
        model_name=model_name,
        condition=asked,
        as_of=_aware(as_of),
        trigger_id=trigger,
        enabled=enabled,
        report=report,
        source="schedule" if is_scheduled(run) else "request",
        by=by,
        obstacle=obstacle,
    )
    with prompt_cancellation(run.id):
        try:
            return _ended(await story(check, Settings()))
        except RetrainingError as problem:
            return Failed(message=str(problem))


async def story(check: Check, settings: Settings) -> Checked:
    """The story of a check: find, fire, keep, show, and last of all the report."""
    # The server that this run belongs to, whatever else is configured.
    async with PrefectConnection(PREFECT_API_URL.value() or settings.prefect_api) as connection:
        doors = Doors(
            triggers=PrefectTriggers(connection),
            registry=MlflowRegistry(settings.mlflow),
            runs=MlflowMonitoringRuns(settings.mlflow),
            find_spec=lambda name: load_catalog(settings.models, settings.models_path).get(name),
            log=get_run_logger(),
        )
        checked = await run_check(check, doors)
        await show(checked)
        await make_report(checked, doors)
    return checked


async def show(checked: Checked) -> None:
    """The evaluation as an artifact of the run, and a link to its report."""
    evaluation = checked.evaluation
    key = f"{evaluation.model_name}-{evaluation.trigger_type}".replace("_", "-")
    logger = get_run_logger()
    logger.info("%s: %s, %s", evaluation.model_name, evaluation.outcome, evaluation.reason)
    try:
        await acreate_markdown_artifact(
            evaluation_markdown(evaluation),
            key=f"{key}-check",
            description=f"{evaluation.trigger_type} check of {evaluation.model_name}",
        )
        if evaluation.report_url is not None:
            await acreate_link_artifact(
                evaluation.report_url,
                link_text=f"Report of {evaluation.model_name} in MLflow",
                key=f"{key}-report",
            )
    except Exception as exc:  # whatever the client raises: people see less, the check stands
        logger.warning("could not show the evaluation: %s", exc)


def _ended(checked: Checked) -> State[Any]:
    evaluation = checked.evaluation
    message = f"{evaluation.outcome}: {evaluation.reason}"
    return (
        Failed(message=evaluation.reason)
        if evaluation.outcome is Outcome.FAILED
        else Completed(message=message)
    )


def _current_run() -> FlowRun:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise RuntimeError("a check exists inside a flow run only")
    return context.flow_run


def _condition(trigger_type: str | None, condition: dict[str, Any]) -> tuple[MonitorCondition, str | None]:
    """The condition; if it cannot be read, the default one of its type and the reason."""
    try:
        return _parsed(trigger_type, condition), None
    except InvalidCondition as problem:
        performance = trigger_type == TriggerType.PERFORMANCE
        return PerformanceCondition() if performance else DriftCondition(), str(problem)


def _parsed(trigger_type: str | None, condition: dict[str, Any]) -> MonitorCondition:
    try:
        parsed = parse_condition(TriggerType(trigger_type or TriggerType.DRIFT), condition)
    except ValueError as exc:
        raise InvalidCondition(
            [("trigger_type", f"{trigger_type!r} is neither drift nor performance")]
        ) from exc
    if isinstance(parsed, ScheduledCondition):
        raise InvalidCondition([("trigger_type", "scheduled fires at times, there is nothing to check")])
    return parsed


def _aware(as_of: datetime | None) -> datetime:
    if as_of is None:
        return datetime.now(UTC)
    return as_of.replace(tzinfo=UTC) if as_of.tzinfo is None else as_of.astimezone(UTC)
