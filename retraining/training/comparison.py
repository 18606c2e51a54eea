"""Champion against challenger on the same holdout, and how people read it."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from retraining.catalog.spec import ModelSpec
from retraining.errors import RetrainingError, TrainingFailed, Unavailable
from retraining.promotion import PromotionDecision, decide_promotion, figures
from retraining.registry.values import DataFingerprint, ModelVersion, ScoringModel
from retraining.sources.window import Window
from retraining.training.bootstrap import Improvement, bootstrap_improvement
from retraining.training.evaluation import evaluate
from retraining.training.holdout import Split, leak_reason
from retraining.training.inputs import encode_labels, features_of
from retraining.training.metrics import Labels, Scores


@dataclass(frozen=True, eq=False)
class Comparison:
    """Both versions' scores on the same holdout; only the challenger's where no champion can be judged."""

    spec: ModelSpec
    parts: Split
    fingerprint: DataFingerprint
    """Of the rows that trained the challenger."""
    labels: Labels
    challenger_scores: Scores
    challenger: Mapping[str, float]
    champion_version: ModelVersion | None = None
    champion_scores: Scores | None = None
    champion: Mapping[str, float] | None = None
    improvement: Improvement | None = None
    """Of the primary metric."""
    leak_reason: str | None = None
    """Why the champion that there is was not judged."""

    def decide(self, version: str) -> PromotionDecision:
        """Whether the challenger, registered as `version`, replaces the champion."""
        return decide_promotion(
            metric=self.spec.primary_metric,
            policy=self.spec.promotion,
            challenger=self.challenger,
            champion=self.champion,
            interval=None if self.improvement is None else self.improvement.interval,
            leak_reason=self.leak_reason,
            model_name=self.spec.name,
            version=version,
        )


def compare(
    spec: ModelSpec,
    parts: Split,
    fingerprint: DataFingerprint,
    challenger: ScoringModel,
    *,
    champion: ModelVersion | None,
    load: Callable[[ModelVersion], ScoringModel],
) -> Comparison:
    """Score the challenger and, if it can be judged fairly, the champion on the holdout.

    `fingerprint` is that of `parts.train`. `load` fetches the champion's model; it is called only for a
    champion that can be judged. A champion that cannot score today's columns is not comparable.

    Raises:
        TrainingFailed: the challenger cannot score the holdout.
        Unavailable: what `load` needs does not answer.
    """
    features = features_of(parts.holdout, spec)
    labels = encode_labels(parts.holdout, spec, parts.classes)
    try:
        scores = challenger.score(features)
    except RetrainingError:
        raise
    except Exception as exc:
        raise TrainingFailed(spec.name, "scoring", f"{type(exc).__name__}: {exc}") from exc
    alone = Comparison(
        spec, parts, fingerprint, labels, scores, evaluate(spec, labels, scores), champion_version=champion
    )
    if champion is None:
        return alone
    reason = leak_reason(champion, fingerprint, parts, spec)
    if reason is not None:
        return replace(alone, leak_reason=reason)
    try:
        champion_scores = load(champion).score(features)
        champion_metrics = evaluate(spec, labels, champion_scores)
    except Unavailable:
        raise
    except Exception as exc:  # an old model may fail in any way; the new one is trained all the same
        reason = f"version {champion.version} cannot score this holdout ({type(exc).__name__}: {exc})"
        return replace(alone, leak_reason=reason)
    both = replace(alone, champion_scores=champion_scores, champion=champion_metrics)
    primary, policy = spec.primary_metric, spec.promotion
    if not (math.isfinite(champion_metrics[primary.name]) and math.isfinite(alone.challenger[primary.name])):
        return both  # `decide_promotion` says which of them is not a number
    improvement = bootstrap_improvement(
        primary,
        labels,
        champion_scores,
        scores,
        entities=parts.holdout[spec.entity_column].to_numpy() if spec.entity_column else None,
        resamples=policy.resamples,
        confidence=policy.confidence,
    )
    return replace(both, improvement=improvement)


def comparison_markdown(
    comparison: Comparison,
    decision: PromotionDecision,
    *,
    version: str,
    window: Window | None = None,
    as_of: datetime | None = None,
) -> str:
    """The comparison as a page of markdown: the decision and its reason, all metrics, and the data."""
    verdict = "is promoted" if decision.promote else "is not promoted"
    lines = [
        f"## {comparison.spec.name}: version {version} {verdict}",
        "",
        f"Reason: {decision.reason}.",
        "",
        *_metric_table(comparison, version),
        "",
    ]
    if comparison.improvement is not None and comparison.improvement.interval.tells_nothing_apart:
        lines += ["Both versions score the same on every resample of the holdout.", ""]
    elif comparison.improvement is not None:
        estimate, low, high = figures(
            comparison.improvement.estimate,
            comparison.improvement.interval.low,
            comparison.improvement.interval.high,
        )
        lines += [
            f"Improvement in {comparison.spec.primary_metric.name}: **{estimate}**, "
            f"{comparison.improvement.interval.confidence:.0%} interval {low} to {high} "
            f"({len(comparison.improvement.resamples):,} paired bootstrap resamples of the holdout).",
            "",
        ]
    lines += ["| Data | |", "|---|---|"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in _data_facts(comparison, window, as_of)]
    return "\n".join(lines) + "\n"


def _metric_table(comparison: Comparison, version: str) -> Iterator[str]:
    if comparison.champion is None or comparison.champion_version is None:
        yield f"| Metric | Challenger (version {version}) |"
        yield "|---|---:|"
    else:
        champion = comparison.champion_version.version
        yield f"| Metric | Champion (version {champion}) | Challenger (version {version}) | Improvement |"
        yield "|---|---:|---:|---:|"
    for metric in comparison.spec.metrics:
        name = f"**{metric.name}**" if metric == comparison.spec.primary_metric else metric.name
        label = f"{name} ({'higher' if metric.direction == 'maximize' else 'lower'} is better)"
        after = comparison.challenger[metric.name]
        if comparison.champion is None:
            yield f"| {label} | {figures(after)[0]} |"
        else:
            before = comparison.champion[metric.name]
            old, new, gain = figures(before, after, metric.improvement(before, after))
            yield f"| {label} | {old} | {new} | {gain} |"


def _data_facts(
    comparison: Comparison, window: Window | None, as_of: datetime | None
) -> Iterator[tuple[str, str]]:
    if as_of is not None:
        yield "As of", f"{as_of:%Y-%m-%d %H:%M %Z}"
    if window is not None:
        yield "Window", str(window)
    yield "Source", comparison.spec.source.describe()
    yield "Challenger trained on", _rows(comparison.fingerprint)
    if comparison.champion_version is not None and comparison.champion_version.fingerprint is not None:
        yield "Champion trained on", _rows(comparison.champion_version.fingerprint)
    yield "Holdout", comparison.parts.description


def _rows(fingerprint: DataFingerprint) -> str:
    start, end = f"{fingerprint.start:%Y-%m-%d %H:%M}", f"{fingerprint.end:%Y-%m-%d %H:%M}"
    return f"{fingerprint.rows:,} rows of {start} to {end} UTC, SHA-256 `{fingerprint.content_hash[:12]}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
