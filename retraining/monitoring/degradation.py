"""Is the champion really worse than it was? Pure.

The limit is the threshold, or the baseline (the champion's score on its own holdout) worsened by the share
`max_drop` of its absolute value: an MAE of 20 with 0.05 may rise to 21, an R2 of -0.20 may fall to -0.21. A
share of nothing is nothing, so at a baseline of zero every sure worsening breaches; for metrics that cross
zero a `threshold` says better what is meant.

A score beyond the limit breaches only if chance does not explain it. Where the champion was better than the
limit on its holdout, the interval of the change since then must exclude "no change at all". It is the
interval of a difference of two samples: the current labels and the holdout are both finite. Two-sided at 95%,
so a champion that is as good as ever breaches in about 2.5% of the checks at most, however few or many labels
there are and however small the allowed drop is. The score's own interval must exclude the baseline as well,
which decides where a score was estimated from the holdout itself. And shuffling the rows of both must make
such a drop in at most 2.5% of the shuffles, which decides where a few rows weigh as much as all others. Where
no baseline is known, or it was beyond the threshold already, being worse than before cannot be asked, and the
score's own interval must lie beyond the limit as a whole.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from retraining.promotion import figures
from retraining.training.bootstrap import BootstrappedScore, Interval, percentile_interval
from retraining.training.metrics import Metric
from retraining.training.weighted import Vector


@dataclass(frozen=True, eq=False)
class Baseline:
    """The champion's score on its own holdout."""

    value: float
    draw: Callable[[], Vector] | None = None
    """Its bootstrap resamples, (resamples,), drawn only where they decide; None where only the value was
    kept: then it counts as exact."""
    rows: int | None = None
    """How many held-out rows made it."""


@dataclass(frozen=True)
class Degradation:
    """Whether the champion is worse than its limit allows, and why."""

    breached: bool
    reason: str


def limit_for(
    metric: Metric, baseline: Baseline | None, *, threshold: float | None, allowed_drop: float | None
) -> float | None:
    """The score that counts as bad enough if it is passed; None if a drop has no baseline to count from."""
    if threshold is not None:
        return threshold
    if baseline is None or allowed_drop is None:
        return None
    drop = allowed_drop * abs(baseline.value)
    return baseline.value - drop if metric.direction == "maximize" else baseline.value + drop


def change_since(metric: Metric, baseline: Baseline, current: BootstrappedScore) -> Interval:
    """The interval of the improvement since the holdout; below zero the champion is worse.

    Resample by resample: where both were drawn together (an estimate and the holdout it learned from), what
    they share cancels out; where they were drawn apart, their errors add up.
    """
    after = current.resamples
    before: Vector = np.full(len(after), baseline.value) if baseline.draw is None else baseline.draw()
    count = min(len(before), len(after))
    change = after[:count] - before[:count]
    change = change if metric.direction == "maximize" else -change
    return percentile_interval(change, max(count, 1), current.interval.confidence)


def decide_degradation(
    metric: Metric,
    current: BootstrappedScore,
    *,
    limit: float,
    baseline: Baseline | None,
    labels: int,
    estimated: bool = False,
    chance: Callable[[], float] | None = None,
) -> Degradation:
    """Decide whether a score is a breach of its limit.

    `current` and its interval are finite. `labels` is how many rows made it. `chance` is how likely such a
    drop is if nothing has changed (`permutation`), and asked only where all else speaks for a breach.
    """
    score = f"{'estimated ' if estimated else ''}{metric.name}"
    counted = "rows" if estimated else "labels"
    on = f"on {labels:,} {counted}"
    beyond = metric.improvement(limit, current.estimate) < 0
    interval = current.interval
    if baseline is None or metric.improvement(limit, baseline.value) < 0:
        return _by_the_limit_alone(metric, score, on, current, limit, baseline)

    value, before, bound, low, high = figures(
        current.estimate, baseline.value, limit, interval.low, interval.high
    )
    gain = metric.improvement(baseline.value, current.estimate)
    share = f"{abs(gain / baseline.value):.1%} " if baseline.value and abs(gain / baseline.value) < 10 else ""
    compared = f"{share}worse than the champion's {before} on its holdout"
    if gain >= 0:
        return Degradation(
            False, f"{score} is {value} {on}, no worse than the champion's {before} on its holdout"
        )
    if not beyond:
        return Degradation(False, f"{score} is {value} {on}, {compared}, within the limit of {bound}")
    change = change_since(metric, baseline, current)
    best = interval.high if metric.direction == "maximize" else interval.low
    sure = change.high < 0 and metric.improvement(baseline.value, best) < 0
    if sure and (chance is None or chance() <= (1 - interval.confidence) / 2):
        return Degradation(
            True,
            f"{score} is {value} {on} (95% interval {low} to {high}), {compared}, "
            f"beyond the limit of {bound}",
        )
    change_low, change_high = figures(change.low, change.high)
    holdout = f" and {baseline.rows:,} held-out rows" if baseline.rows is not None else ""
    return Degradation(
        False,
        f"{score} is {value} {on}, {compared}, beyond the limit of {bound}, but so few {counted}"
        f"{holdout} may differ by chance (95% interval of the change {change_low} to {change_high})",
    )


def _by_the_limit_alone(
    metric: Metric,
    score: str,
    on: str,
    current: BootstrappedScore,
    limit: float,
    baseline: Baseline | None,
) -> Degradation:
    interval = current.interval
    best = interval.high if metric.direction == "maximize" else interval.low
    value, bound, low, high = figures(current.estimate, limit, interval.low, interval.high)
    stated = f"{score} is {value} {on} (95% interval {low} to {high})"
    why = (
        "the champion's own baseline is not known"
        if baseline is None
        else f"the champion's {figures(baseline.value)[0]} on its holdout was beyond it already"
    )
    if metric.improvement(limit, current.estimate) >= 0:
        return Degradation(False, f"{stated}, within the limit of {bound}")
    if math.isfinite(best) and metric.improvement(limit, best) < 0:
        return Degradation(True, f"{stated}, as a whole beyond the limit of {bound}; {why}")
    return Degradation(
        False, f"{stated}, beyond the limit of {bound}, though not surely: the interval reaches it; {why}"
    )
