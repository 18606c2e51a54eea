"""The story of a check: what is found, whether it fires, and what is kept of it. No Prefect and no MLflow.

The breach is announced before anything else is done with it, so that the job starts at once. Then the
evaluation is kept, for the next check's patience and cooldown come from it; it says where its report will be
if MLflow tells without delay. The report comes last, and its failure changes nothing.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Literal, TypeVar, assert_never
from uuid import UUID

import polars as pl

from retraining.catalog.spec import ModelSpec
from retraining.errors import ReportFailed, RetrainingError, SourceUnreachable, Unavailable
from retraining.jobs.job import TriggerType
from retraining.monitoring.drift_check import check_drift
from retraining.monitoring.reference import find_reference_sample, window_sample
from retraining.monitoring.report import drift_report
from retraining.orchestrator.values import TriggerOrchestrator
from retraining.registry.monitoring_runs import MonitoringRuns, OpenReport
from retraining.registry.pages import file_page
from retraining.registry.values import Registry
from retraining.sources.window import Window
from retraining.triggers.condition import DriftCondition, MonitorCondition, PerformanceCondition
from retraining.triggers.evaluation import Action, Evaluation, Finding, Outcome
from retraining.triggers.firing import Firing, decide_firing

REPORT_FILE = "drift_report.html"
EVALUATION_FILE = "evaluation.json"
ERROR_FILE = "report_error.txt"

T = TypeVar("T")
Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


@dataclass(frozen=True)
class Check:
    """A check that is asked for."""

    id: UUID
    """The flow run's, and so the evaluation's: a check that is run again is the same one."""
    model_name: str
    condition: MonitorCondition
    as_of: datetime
    trigger_id: UUID | None = None
    """None: nobody's trigger. It is shown, and neither kept nor does it start anything."""
    enabled: bool = True
    report: bool = False
    """Make the report even without a breach."""
    source: Literal["schedule", "request"] = "schedule"
    by: str | None = None
    obstacle: str | None = None
    """Why it cannot be made: its trigger's condition is invalid, and the default one stands in its place."""


@dataclass(frozen=True)
class Doors:
    """What a check talks to."""

    triggers: TriggerOrchestrator
    registry: Registry
    runs: MonitoringRuns
    find_spec: Callable[[str], ModelSpec]
    retry_seconds: Sequence[float] = field(default=(1, 5, 15))
    """Pauses before a server or a storage that did not answer is asked again."""
    link_seconds: float = 2
    """So long an evaluation waits for the address of its report before it is kept without."""
    log: Log = field(default_factory=lambda: logging.getLogger(__name__))


@dataclass(frozen=True)
class Checked:
    """A check that was made."""

    evaluation: Evaluation
    report: OpenReport | None = None
    """The report that is still to be made."""


async def run_check(check: Check, doors: Doors) -> Checked:
    """Check, announce a breach that fires, and keep the evaluation; run again, it does nothing more.

    What goes wrong in the check itself is an evaluation too (outcome failed).

    Raises:
        OrchestratorUnavailable: Prefect does not answer.
    """
    latest = None
    if check.trigger_id is not None:
        latest = await _insist(doors, partial(doors.triggers.latest_evaluation, check.trigger_id))
    if latest is not None and latest.id == check.id:
        return Checked(latest)
    finding = await _find(check, doors)
    at = datetime.now(UTC)
    if check.trigger_id is None:
        firing = Firing(Action.NONE, finding.reason, 0, False, None, None)
    else:
        # Asked now: the check may have waited since it was asked for, and looked at the data for long.
        enabled = check.enabled and (
            not finding.breached or await _insist(doors, partial(doors.triggers.is_enabled, check.trigger_id))
        )
        firing = decide_firing(check.condition, finding, latest, at=at, enabled=enabled)
    evaluation = _evaluation(check, finding, firing, at)
    if evaluation.action is Action.FIRED:
        await _insist(doors, partial(doors.triggers.announce_breach, evaluation))
    opening = None
    if _is_reported(check, evaluation):
        opening = asyncio.create_task(asyncio.to_thread(_open_report, evaluation, doors))
        await asyncio.wait({opening}, timeout=doors.link_seconds)
        if opening.done() and (opened := opening.result()) is not None:
            evaluation = evaluation.model_copy(update={"report_url": file_page(opened.url, REPORT_FILE)})
    if check.trigger_id is not None:
        await _insist(doors, partial(doors.triggers.keep_evaluation, evaluation))
    return Checked(evaluation, None if opening is None else await opening)


async def make_report(checked: Checked, doors: Doors) -> None:
    """Make and log the report of a check that has one. What goes wrong is logged, and raised never."""
    if checked.report is None:
        return
    evaluation = checked.evaluation
    files = {EVALUATION_FILE: evaluation.model_dump_json(indent=1).encode()}
    try:
        files[REPORT_FILE] = await _draw(evaluation, doors)
    except Exception as exc:  # a source, Evidently, a registry: the check stands without its picture
        doors.log.warning("the report of evaluation %s could not be made: %s", evaluation.id, exc)
        files[ERROR_FILE] = f"{type(exc).__name__}: {exc}\n".encode()
    failed = REPORT_FILE not in files
    try:
        await asyncio.to_thread(doors.runs.finish_report, checked.report, files, failed=failed)
    except RetrainingError as exc:
        doors.log.warning("the report of evaluation %s could not be logged: %s", evaluation.id, exc)


async def _find(check: Check, doors: Doors) -> Finding:
    if check.obstacle is not None:
        return Finding(outcome=Outcome.FAILED, reason=check.obstacle)
    try:
        return await _insist(doors, lambda: asyncio.to_thread(find, check, doors))
    except RetrainingError as exc:
        return Finding(outcome=Outcome.FAILED, reason=str(exc))
    except Exception as exc:  # a team's own source, metric or model may raise anything
        doors.log.exception("check %s failed", check.id)
        return Finding(outcome=Outcome.FAILED, reason=f"{type(exc).__name__}: {exc}")


async def _insist(doors: Doors, ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again whoever does not answer; what is asked for here may be asked for twice."""
    for pause in doors.retry_seconds:
        try:
            return await ask()
        except (Unavailable, SourceUnreachable) as exc:
            doors.log.info("%s; trying again in %g s", exc, pause)
            await asyncio.sleep(pause)
    return await ask()


def find(check: Check, doors: Doors) -> Finding:
    """What the data says to the condition. Raises what its parts raise."""
    spec = doors.find_spec(check.model_name)
    match check.condition:
        case DriftCondition():
            return check_drift(spec, check.condition, doors.registry, check.as_of)
        case PerformanceCondition():
            # Scoring a model needs scikit-learn, which a check of the data does not.
            from retraining.monitoring.performance_check import check_performance

            return check_performance(spec, check.condition, doors.registry, check.as_of)
        case _:
            assert_never(check.condition)


def _evaluation(check: Check, finding: Finding, firing: Firing, at: datetime) -> Evaluation:
    facts = {**dict(finding), "reason": firing.reason}
    return Evaluation(
        **facts,
        id=check.id,
        trigger_id=check.trigger_id or check.id,
        model_name=check.model_name,
        trigger_type=type_of(check.condition),
        source=check.source,
        by=check.by,
        at=at,
        as_of=check.as_of,
        patience=check.condition.patience,
        patience_count=firing.patience_count,
        in_cooldown=firing.in_cooldown,
        cooldown_until=firing.cooldown_until,
        last_fired_at=firing.last_fired_at,
        action=firing.action,
    )


def type_of(condition: MonitorCondition) -> TriggerType:
    """The type of the trigger that has the condition."""
    return TriggerType.DRIFT if isinstance(condition, DriftCondition) else TriggerType.PERFORMANCE


def _is_reported(check: Check, evaluation: Evaluation) -> bool:
    """On demand, and of a breach that fired or is the first in a row: one that lasts is found every time."""
    if evaluation.window_end is None or not evaluation.rows:
        return False
    news = evaluation.action is Action.FIRED or evaluation.patience_count <= 1
    return check.report or (evaluation.breached and news)


def _open_report(evaluation: Evaluation, doors: Doors) -> OpenReport | None:
    facts = {
        "evaluation_id": str(evaluation.id),
        "trigger_id": str(evaluation.trigger_id),
        "trigger_type": evaluation.trigger_type.value,
        "champion_version": evaluation.champion_version or "",
        "outcome": evaluation.outcome.value,
        "reason": evaluation.reason[:5_000],
        "window": f"({evaluation.window_start}, {evaluation.window_end}]",
    }
    try:
        return doors.runs.open_report(
            evaluation.model_name, evaluation.at, scores=scores_of(evaluation), facts=facts
        )
    except Exception as exc:  # whatever MLflow raises: the check stands without its report
        doors.log.warning("no report for evaluation %s: %s", evaluation.id, exc)
        return None


def scores_of(evaluation: Evaluation) -> dict[str, float]:
    """The figures of an evaluation by name: as metrics they make a line over time in MLflow."""
    named = {"rows": evaluation.rows, "threshold": evaluation.threshold}
    named["drift_share" if evaluation.metric is None else evaluation.metric.metric] = evaluation.score
    named |= {f"drift/{column.column}": column.score for column in evaluation.columns}
    return {name: float(score) for name, score in named.items() if score is not None and math.isfinite(score)}


async def _draw(evaluation: Evaluation, doors: Doors) -> bytes:
    reference, current, spec = await asyncio.to_thread(_samples, evaluation, doors)
    return await drift_report(
        reference,
        current,
        columns=spec.features,
        time_column=spec.time_column,
        scores=evaluation.columns,
    )


def _samples(evaluation: Evaluation, doors: Doors) -> "tuple[pl.DataFrame, pl.DataFrame, ModelSpec]":
    spec = doors.find_spec(evaluation.model_name)
    champion = doors.registry.get_version(evaluation.model_name, evaluation.champion_version or "")
    reference = find_reference_sample(spec, champion, doors.registry)
    if reference is None:
        raise ReportFailed(f"version {champion.version} has no reference to compare with")
    assert evaluation.window_end is not None
    window = Window(evaluation.window_start, evaluation.window_end)
    return reference, window_sample(spec, window), spec
