"""Does the champion still predict as well as on its holdout?

What is looked at: rows that neither trained the champion nor made its baseline, so the window begins where
its training set ended, holdout included, and one that a condition makes longer is cut there. It ends where
labels are complete (`label_delay` before `as_of`); a row whose label is null has none yet. Where entities
were held out, only these count, as they did for the baseline: a champion knows the others from training, and
does better on them than it will on anybody new.

A label that the champion has never seen is a class that it gives no probability to: its rows count as wrong.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import Any, cast

import numpy as np
import polars as pl

from retraining.catalog.policy import EntityHoldout
from retraining.catalog.spec import ModelSpec
from retraining.errors import (
    RetrainingError,
    SourceUnreachable,
    TrainingFailed,
    Unavailable,
    UnusableLabels,
)
from retraining.monitoring.degradation import Baseline, decide_degradation, limit_for
from retraining.monitoring.estimation import MIN_REFERENCE_ROWS, estimate_classification
from retraining.monitoring.performance_reference import PerformanceReference, find_performance_reference
from retraining.monitoring.permutation import ScoredRows, chance_of_drop
from retraining.monitoring.window import current_window
from retraining.registry.values import ModelVersion, Registry
from retraining.sources.time_column import require_columns, require_time
from retraining.sources.window import Window
from retraining.training.bootstrap import (
    SEED,
    BootstrappedScore,
    bootstrap_score,
    entity_codes,
    score_once,
    some_rows,
)
from retraining.training.evaluation import check_scores
from retraining.training.holdout import held_out, recorded_classes, recorded_rule
from retraining.training.inputs import Classes, classes_of, drop_unlabelled, encode_labels, features_of
from retraining.training.metrics import Labels, Metric, Scores
from retraining.training.weighted import Vector
from retraining.triggers.condition import PerformanceCondition
from retraining.triggers.evaluation import Finding, MetricScore, Outcome
from retraining.triggers.model_fit import judged_metric, refuse_unfit

ROWS_AT_ONCE = 100_000
"""Rows that are scored in one call: features as pandas are several times as large as the source's."""

BASELINE_ROWS = 20_000
"""Held-out rows that tell how sure the baseline is, at most: surer than that makes no difference."""


class _CannotJudge(Exception):
    """The reason why this check comes to no verdict."""


def check_performance(
    spec: ModelSpec, condition: PerformanceCondition, registry: Registry, as_of: datetime
) -> Finding:
    """Compare the champion's metric on rows with complete labels as of `as_of` (aware) with the limit.

    What goes wrong in the check is its finding, with the outcome `failed`.

    Raises:
        RegistryUnavailable, SourceUnreachable: trying again later may work.
    """
    champion = registry.find_champion(spec.name)
    if champion is None:
        return Finding(outcome=Outcome.NOT_JUDGED, reason=f"{spec.name} has no champion yet")
    window: Window | None = None
    try:
        refuse_unfit(condition, spec)
        reference = find_performance_reference(registry, champion)
        window, note = _judged_window(spec, condition, champion, reference, as_of)
        check = _Check(spec, condition, registry, champion, reference, window)
        finding = check.run()
        return finding.model_copy(update={"reason": f"{finding.reason}{note}"})
    except (Unavailable, SourceUnreachable):
        raise
    except _CannotJudge as unjudged:
        outcome, reason = Outcome.NOT_JUDGED, str(unjudged)
    except RetrainingError as problem:
        outcome, reason = Outcome.FAILED, str(problem)
    except Exception as exc:  # an old model and a team's own metric may fail in any way
        outcome, reason = Outcome.FAILED, f"the check failed: {type(exc).__name__}: {exc}"
    return Finding(outcome=outcome, reason=reason, champion_version=champion.version, **_ends(window))


@dataclass(frozen=True, eq=False)
class _Check:
    """One check of one champion in one window."""

    spec: ModelSpec
    condition: PerformanceCondition
    registry: Registry
    champion: ModelVersion
    reference: PerformanceReference | None
    window: Window

    def run(self) -> Finding:
        metric = judged_metric(self.condition, self.spec)
        assert metric is not None  # of a condition that fits the model
        baseline = _baseline(metric, self.champion, self.reference)
        limit = limit_for(
            metric,
            baseline,
            threshold=self.condition.threshold,
            allowed_drop=self.condition.allowed_drop,
        )
        if limit is None:
            raise _CannotJudge(
                f"version {self.champion.version} keeps neither its {metric.name} on a holdout nor scores to "
                "compute it from, so max_drop has nothing to count from; give a threshold"
            )
        if self.condition.estimate:
            rows, count, current, baseline, note = self._estimated(metric, baseline)
            chance = None
        else:
            rows, count, current, scored, note = self._measured(metric)
            chance = self._chance(metric, scored)
        if not np.isfinite([current.estimate, current.interval.low, current.interval.high]).all():
            raise _CannotJudge(f"{metric.name} is not defined on the {count:,} rows of {self.window}{note}")
        verdict = decide_degradation(
            metric,
            current,
            limit=limit,
            baseline=baseline,
            labels=count,
            estimated=self.condition.estimate,
            chance=chance,
        )
        return Finding(
            outcome=Outcome.BREACHED if verdict.breached else Outcome.QUIET,
            reason=f"{verdict.reason}{note}",
            champion_version=self.champion.version,
            rows=rows,
            score=current.estimate,
            threshold=limit,
            metric=MetricScore(
                metric=metric.name,
                value=current.estimate,
                low=current.interval.low,
                high=current.interval.high,
                baseline=None if baseline is None else baseline.value,
                limit=limit,
                labels=count,
                estimated=self.condition.estimate,
            ),
            **_ends(self.window),
        )

    def _chance(self, metric: Metric, scored: ScoredRows) -> Callable[[], float] | None:
        reference = self.reference
        if reference is None or len(reference.labels) < 2:
            return None
        holdout = ScoredRows(reference.labels, reference.scores, reference.entities)
        return partial(chance_of_drop, metric, holdout, scored)

    def _measured(self, metric: Metric) -> tuple[int, int, BootstrappedScore, ScoredRows, str]:
        """Rows of the window, those with a label, the champion's metric on them, and what to know of it."""
        read = self._read(self.spec.columns)
        rows = self._judging(read)
        labelled = drop_unlabelled(rows, self.spec)
        self._require_enough(labelled.height, rows.height)
        classes = self._classes(labelled)
        unseen = [label for label in classes_of(labelled, self.spec) if label not in classes]
        if unseen and self.spec.task == "binary":
            raise UnusableLabels(
                self.spec.source.describe(),
                self.spec.label,
                f"has classes that the champion does not know ({_some(unseen)}); "
                f"it tells {_some(classes)} apart",
            )
        labels = encode_labels(labelled, self.spec, cast("Classes", (*classes, *unseen)))
        scores = self._scores(labelled)
        note = ""
        if unseen:
            scores = np.hstack([scores, np.zeros((len(scores), len(unseen)))])
            rows_of_them = int((labels >= len(classes)).sum())
            note = (
                f"; {rows_of_them:,} rows of classes that the champion never saw ({_some(unseen)}) "
                "count as wrong"
            )
        self._require_usable(labels, scores)
        entities = self._entities(labelled)
        current = bootstrap_score(metric, labels, scores, entities=entities)
        scored = ScoredRows(labels, scores, None if entities is None else entity_codes(entities))
        return read.height, labelled.height, current, scored, note

    def _estimated(
        self, metric: Metric, baseline: Baseline | None
    ) -> tuple[int, int, BootstrappedScore, Baseline | None, str]:
        """As `_measured`, with the baseline in the same resamples as the estimate."""
        reference = self.reference
        if reference is None or len(reference.labels) < MIN_REFERENCE_ROWS:
            kept = 0 if reference is None else len(reference.labels)
            raise _CannotJudge(
                f"version {self.champion.version} keeps {kept} scored rows of its holdout, an estimate "
                f"without labels needs {MIN_REFERENCE_ROWS}; a new version with such a holdout keeps them"
            )
        read = self._read([column for column in self.spec.columns if column != self.spec.label])
        rows = self._judging(read)
        self._require_enough(rows.height, rows.height)
        scores = self._scores(rows)
        self._require_usable(np.zeros(len(scores)), scores)
        if scores.shape[1:] != reference.scores.shape[1:]:
            raise TrainingFailed(
                self.spec.name,
                "scoring",
                f"scores have the shape {scores.shape}, those of its holdout {reference.scores.shape}",
            )
        entities = self._entities(rows)
        if self.spec.task == "regression":
            from retraining.monitoring.error_estimation import estimate_regression

            features = features_of(rows, self.spec)
            estimate = estimate_regression(metric, reference, features, scores, self.spec, entities=entities)
        else:
            estimate = estimate_classification(metric, reference, scores, entities=entities)
        if baseline is not None:
            centre = baseline.value - score_once(metric, reference.labels, reference.scores)
            baseline = Baseline(baseline.value, lambda: estimate.holdout + centre, reference.rows)
        return read.height, rows.height, estimate.score, baseline, "; estimated without labels"

    @cached_property
    def _rule(self) -> EntityHoldout | None:
        """Whom the champion never trained on, where entities were held out."""
        rule = recorded_rule(self.champion.holdout)
        return rule if isinstance(rule, EntityHoldout) else None

    def _judging(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows if self._rule is None or rows.is_empty() else held_out(rows, self._rule, self.spec)

    def _read(self, columns: Sequence[str]) -> pl.DataFrame:
        if self._rule is not None:
            columns = list(dict.fromkeys([*columns, self._rule.column]))
        source = self.spec.source.describe()
        rows = self.spec.source.read(self.window, time_column=self.spec.time_column, columns=columns)
        require_columns(source, rows.columns, columns)
        require_time(source, self.spec.time_column, rows.schema[self.spec.time_column])
        return rows

    def _require_enough(self, found: int, rows: int) -> None:
        needed = self.condition.min_labels
        if found >= needed:
            return
        kind = "rows" if self.condition.estimate else "labelled rows"
        kind += f" of held-out {self._rule.column}" if self._rule is not None else ""
        waiting = f", {rows - found:,} more have no label yet" if rows > found else ""
        raise _CannotJudge(f"{found:,} {kind} in {self.window}, needs {needed:,}{waiting}")

    def _classes(self, labelled: pl.DataFrame) -> Classes:
        """What the champion's classes are; empty for a regression."""
        if self.spec.task == "regression":
            return ()
        recorded = recorded_classes(self.champion.holdout) or (
            self.reference.classes if self.reference is not None else ()
        )
        if recorded:
            return recorded
        # A champion from outside: a binary one's classes are those that there are.
        found = classes_of(labelled, self.spec)
        if self.spec.task == "binary" and len(found) == 2:
            return found
        raise _CannotJudge(f"version {self.champion.version} keeps no record of its classes")

    def _scores(self, rows: pl.DataFrame) -> Scores:
        """The champion's scores, (rows,) or rows x classes."""
        model = self.registry.load(self.champion)
        try:
            return np.concatenate(
                [model.score(features_of(part, self.spec)) for part in rows.iter_slices(ROWS_AT_ONCE)]
            )
        except RetrainingError:
            raise
        except Exception as exc:
            name = f"{self.spec.name} version {self.champion.version}"
            raise TrainingFailed(name, "scoring", f"{type(exc).__name__}: {exc}") from exc

    def _require_usable(self, labels: Labels, scores: Scores) -> None:
        check_scores(self.spec, labels, scores)
        broken = int((~np.isfinite(scores.reshape(len(scores), -1)).all(axis=1)).sum())
        if broken:
            raise TrainingFailed(self.spec.name, "scoring", f"{broken:,} rows get a score that is no number")
        if not np.isfinite(labels).all():
            raise UnusableLabels(self.spec.source.describe(), self.spec.label, "is infinite in some rows")

    def _entities(self, rows: pl.DataFrame) -> Any:
        column = self.spec.entity_column or (self._rule.column if self._rule is not None else None)
        return rows[column].to_numpy() if column else None


def _judged_window(
    spec: ModelSpec,
    condition: PerformanceCondition,
    champion: ModelVersion,
    reference: PerformanceReference | None,
    as_of: datetime,
) -> tuple[Window, str]:
    """The rows that may judge the champion, and what to know about them."""
    delay = timedelta(0) if condition.estimate else condition.label_delay
    end = as_of - (spec.label_delay if delay is None else delay)
    known = [] if champion.fingerprint is None else [champion.fingerprint.end]
    known += [] if reference is None else [reference.end]
    after = max(known, default=None)
    if after is None and condition.window is None:
        raise _CannotJudge(
            f"version {champion.version} keeps no record of the rows that trained it; "
            "give the condition a window"
        )
    window = current_window(condition.window, after=after, end=end)
    if window is None or (after is not None and after >= window.end):
        raise _CannotJudge(
            f"no rows after the champion's own yet: its data ends {after:%Y-%m-%d %H:%M} UTC, "
            f"{'the window' if condition.estimate else 'labels are complete until'} {end:%Y-%m-%d %H:%M} UTC"
        )
    if after is None:
        return window, "; nobody knows which rows trained it"
    if window.start is None or window.start < after:
        cut = Window(after, window.end)
        return cut, f"; cut to the rows after the champion's own ({after:%Y-%m-%d %H:%M} UTC)"
    return window, ""


def _baseline(
    metric: Metric, champion: ModelVersion, reference: PerformanceReference | None
) -> Baseline | None:
    """The champion's score on its holdout: the logged one, else computed from the rows it keeps."""
    logged = champion.metrics.get(metric.name)
    if logged is not None and not np.isfinite(logged):
        logged = None
    if reference is None or len(reference.labels) < 2:
        return None if logged is None else Baseline(logged)
    labels, scores = reference.labels, reference.scores
    of_kept = score_once(metric, labels, scores)
    value = of_kept if logged is None else logged
    if not np.isfinite(value):
        return None

    def draw() -> Vector:
        """Of a part of the holdout, and centred on the whole."""
        rows = some_rows(len(labels), reference.entities, np.random.default_rng(SEED), BASELINE_ROWS)
        entities = None if reference.entities is None else reference.entities[rows]
        drawn = bootstrap_score(metric, labels[rows], scores[rows], entities=entities, seed=SEED + 1)
        return drawn.resamples + (value - drawn.estimate)

    return Baseline(value, draw if np.isfinite(of_kept) else None, reference.rows)


def _some(values: Sequence[object], most: int = 5) -> str:
    return ", ".join(map(str, values[:most])) + (", ..." if len(values) > most else "")


def _ends(window: Window | None) -> Mapping[str, Any]:
    return {} if window is None else {"window_start": window.start, "window_end": window.end}
