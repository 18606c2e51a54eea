"""The job: one retraining of one model, from its data to its promotion."""

from datetime import UTC, datetime
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.states import Cancelled, Completed, Failed

from flows.job import Job
from retraining.catalog.discovery import load_catalog
from retraining.catalog.parameters import TrainingParameters, parse_parameters
from retraining.catalog.spec import ModelSpec
from retraining.errors import ChampionChanged, JobCancelled, RetrainingError, SourceUnreachable, Unavailable
from retraining.monitoring.performance_reference import performance_reference
from retraining.orchestrator.cancellation import (
    find_cancellation,
    find_end,
    prompt_cancellation,
    stop_if_over,
)
from retraining.orchestrator.labels import FLOW_NAME
from retraining.orchestrator.promotion_lock import promotion_lock_sync
from retraining.orchestrator.run_admission import find_refusal
from retraining.preparation import Prepared, prepare
from retraining.promotion import PromotionDecision
from retraining.registry.mlflow_registry import MlflowRegistry
from retraining.registry.values import Challenger, ModelVersion, Registry, ScoringModel
from retraining.settings import Settings
from retraining.training.challenger import fit_challenger
from retraining.training.comparison import Comparison, compare, comparison_markdown
from retraining.training.holdout import holdout_record
from retraining.training.inputs import features_of
from retraining.training.plots import comparison_plot

EXAMPLE_ROWS = 5
UPLOAD_SECONDS = 60
"""How long MLflow may take for one request: a large model is one."""
COMPARISONS_AT_MOST = 5
"""How often a challenger is compared anew because another job promoted its own meanwhile."""


@flow(name=FLOW_NAME, persist_result=False)
def retrain(
    model_name: str,
    parameters: dict[str, Any] | None = None,
    as_of: datetime | None = None,
    cause: dict[str, Any] | None = None,  # noqa: ARG001 - read from the run's parameters, here and elsewhere
) -> State[Any]:
    """Retrain a model on what was known as of a time, and promote the new version if it earned it.

    Args:
        model_name: A model of the catalog.
        parameters: Training parameters; the model's own parameter class says which there are.
        as_of: Replay the job as of this time, now if not given. Without a time zone it is UTC.
        cause: Why a trigger started it; set by triggers, of no effect in a run that a person starts.
    """
    job = Job.current(model_name)
    if (cancelled := find_cancellation(job.id)) is not None:
        return cancelled
    with prompt_cancellation(job.id):
        try:
            if (refusal := find_refusal()) is not None:
                return refusal
            message = run(job, parameters or {}, _aware(as_of))
            return find_end(job.id) or Completed(message=message)
        except JobCancelled as stopped:
            return Cancelled(message=str(stopped))
        except RetrainingError as problem:
            return find_end(job.id) or Failed(message=str(problem))


def run(job: Job, parameters: dict[str, Any], as_of: datetime) -> str:
    """The job within its model's resources; returns what was decided, and why."""
    settings = Settings()
    spec = load_catalog(settings.models, settings.models_path).get(job.model_name)
    with job.within(spec.resources.or_else(settings.resources)):
        try:
            return story(job, spec, settings, parameters, as_of)
        finally:
            job.tell()


def story(job: Job, spec: ModelSpec, settings: Settings, parameters: dict[str, Any], as_of: datetime) -> str:
    """The story of a job; returns what was decided, and why."""
    registry = MlflowRegistry(settings.mlflow, timeout_seconds=UPLOAD_SECONDS)
    chosen = parse_parameters(spec.name, spec.parameters, parameters)

    prepared = load(job, spec, as_of)
    model = train(job, spec, chosen, prepared)
    prepared.training.release()
    scoring = registry.as_scoring(model, spec.name)
    comparison = first = evaluate(job, spec, prepared, scoring, registry)
    plot = comparison_plot(comparison)
    version = register(job, comparison, plot, prepared, model, chosen, as_of, registry)
    comparison, decision = decide(job, comparison, scoring, version, registry)

    report = comparison_markdown(
        comparison, decision, version=version.version, window=prepared.window, as_of=as_of
    )
    job.show_comparison(report, plot if comparison is first else comparison_plot(comparison))
    return decision.reason


def _passes_by_itself(_task: object, _run: TaskRun, state: State[Any]) -> bool:
    """A retry makes sense where a server or a storage did not answer, and nowhere else."""
    return isinstance(state.data, Unavailable | SourceUnreachable)


step = task(
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=[1, 5, 15],
    retry_condition_fn=_passes_by_itself,
)


@step
def load(job: Job, spec: ModelSpec, as_of: datetime) -> Prepared:
    """The rows whose labels are complete as of the time, ready to train and to judge."""
    job.enter("loading")
    return prepare(spec, as_of)


@step
def train(job: Job, spec: ModelSpec, parameters: TrainingParameters, prepared: Prepared) -> Any:
    """The challenger, fitted on the training side alone."""
    job.enter("training")
    side = prepared.training
    model = fit_challenger(spec, parameters, side.features, side.labels, job.progress)
    job.progress(1.0, "trained")
    return model


@step
def evaluate(
    job: Job, spec: ModelSpec, prepared: Prepared, scoring: ScoringModel, registry: Registry
) -> Comparison:
    """Challenger and champion on the same holdout."""
    job.enter("evaluating")
    champion = registry.find_champion(spec.name)
    if champion is not None:
        job.note(version_before=champion.version, version_after=champion.version)
    return compare(
        spec, prepared.judging, prepared.fingerprint, scoring, champion=champion, load=registry.load
    )


@step
def register(
    job: Job,
    comparison: Comparison,
    plot: bytes,
    prepared: Prepared,
    model: Any,
    parameters: TrainingParameters,
    as_of: datetime,
    registry: Registry,
) -> ModelVersion:
    """The challenger as a version in MLflow, with all that explains it and without any alias."""
    job.enter("registering")
    spec, parts = comparison.spec, comparison.parts
    example = features_of(parts.holdout.head(EXAMPLE_ROWS), spec)
    version = registry.register(
        spec.name,
        Challenger(
            model=model,
            input_example=example,
            output_example=comparison.challenger_scores[:EXAMPLE_ROWS],
            metrics=comparison.challenger,
            parameters=parameters.model_dump(mode="json"),
            fingerprint=comparison.fingerprint,
            holdout=holdout_record(spec, parts.classes),
            job_id=str(job.id),
            correlation_id=job.correlation_id,
            as_of=as_of,
            trusted_types=spec.trusted_types,
            files={
                "comparison.png": plot,
                **prepared.reference,
                **performance_reference(spec, parts, comparison.challenger_scores),
            },
        ),
    )
    job.note(challenger_version=version.version, mlflow_run_url=version.run_url)
    job.tell()
    if version.run_url is not None:
        job.link_mlflow(version.run_url, version.version)
    return version


@step
def decide(
    job: Job, comparison: Comparison, scoring: ScoringModel, version: ModelVersion, registry: Registry
) -> tuple[Comparison, PromotionDecision]:
    """Promote the challenger, or say why not; compare anew if the champion changed since the comparison."""
    job.enter("deciding")
    for comparisons_left in reversed(range(COMPARISONS_AT_MOST)):
        decision = comparison.decide(version.version)
        try:
            if decision.promote:
                promote(job, comparison, version, decision, registry)
            break
        except ChampionChanged:
            if not comparisons_left:
                raise
            champion = registry.find_champion(version.model_name)
            comparison = compare(
                comparison.spec,
                comparison.parts,
                comparison.fingerprint,
                scoring,
                champion=champion,
                load=registry.load,
            )
    registry.record_decision(version, decision.reason)
    job.note(
        decision=decision.reason,
        promoted=str(decision.promote).lower(),
        peak_memory_mib=job.peak_memory(),
    )
    job.tell()
    return comparison, decision


def promote(
    job: Job, comparison: Comparison, version: ModelVersion, decision: PromotionDecision, registry: Registry
) -> None:
    """Move the aliases, if the champion is still the one that the challenger was compared with."""
    job.enter("promoting")
    compared_with = None if comparison.champion_version is None else comparison.champion_version.version
    with promotion_lock_sync(version.model_name):
        stop_if_over(job.id)
        registry.promote(
            version.model_name,
            version.version,
            by=f"job {job.id}",
            reason=decision.reason,
            job_id=str(job.id),
            expected_champion=compared_with,
        )
    job.note(version_before=compared_with, version_after=version.version)


def _aware(as_of: datetime | None) -> datetime:
    if as_of is None:
        return datetime.now(UTC)
    return as_of.replace(tzinfo=UTC) if as_of.tzinfo is None else as_of.astimezone(UTC)
