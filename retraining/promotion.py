"""Whether a challenger replaces the champion, and the reason for people. No vendor in here."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from retraining.catalog.policy import PromotionPolicy
from retraining.training.bootstrap import Interval
from retraining.training.metrics import Metric

Outcome = Literal[
    "first_version",
    "better",
    "level",
    "worse",
    "noise",
    "too_small",
    "guard",
    "undefined",
    "not_comparable",
    "approval",
]
"""Promoted: first_version, better, level. Kept back: worse; noise (the interval reaches zero); too_small
(surely better, by less than the least improvement); guard; undefined (a score that is not a number);
not_comparable (the champion cannot be judged fairly); approval (would be promoted, waits for a person)."""


@dataclass(frozen=True)
class PromotionDecision:
    """Whether the challenger becomes champion, and why, in a sentence with figures."""

    promote: bool
    outcome: Outcome
    reason: str


def decide_promotion(
    *,
    metric: Metric,
    policy: PromotionPolicy,
    challenger: Mapping[str, float],
    champion: Mapping[str, float] | None,
    interval: Interval | None = None,
    leak_reason: str | None = None,
    model_name: str = "{name}",
    version: str = "{version}",
) -> PromotionDecision:
    """Decide on scores of both versions on the same holdout.

    `challenger` and `champion` map metric names to scores. `leak_reason` says why a champion that there is
    cannot be judged, its scores are not needed then; neither scores nor reason means a first version.
    `interval` is that of the improvement in `metric`, needed where both versions have scores. The two names
    appear in the address at which a person approves.

    Raises:
        ValueError: a champion that can be judged, and no interval.
    """
    approve = f"POST /api/retraining/models/{model_name}/versions/{version}/promote"
    decision = (
        _refuse_undefined(metric, policy, challenger)
        or _refuse_guarded(policy, challenger)
        or _first_version(metric, challenger, champion, leak_reason)
        or _refuse_incomparable(metric, champion, leak_reason, approve)
    )
    if decision is None:
        if champion is None or interval is None:
            raise ValueError("comparing with a champion needs the interval of the improvement")
        decision = _compare(metric, policy, champion[metric.name], challenger[metric.name], interval)
    if decision.promote and policy.approval == "manual":
        return PromotionDecision(
            False, "approval", f"{decision.reason}; waits for approval, which {approve} gives"
        )
    return decision


def _refuse_undefined(
    metric: Metric, policy: PromotionPolicy, challenger: Mapping[str, float]
) -> PromotionDecision | None:
    for name in (metric.name, *(guard.metric for guard in policy.guards)):
        if not math.isfinite(challenger.get(name, math.nan)):
            return PromotionDecision(
                False, "undefined", f"the challenger's {name} is not a number; look at its predictions"
            )
    return None


def _refuse_guarded(policy: PromotionPolicy, challenger: Mapping[str, float]) -> PromotionDecision | None:
    for guard in policy.guards:
        value = challenger[guard.metric]
        if guard.minimum is not None and value < guard.minimum:
            shown, bound = figures(value, guard.minimum)
            reason = f"{guard.metric} {shown} is below the guard's minimum {bound}"
        elif guard.maximum is not None and value > guard.maximum:
            shown, bound = figures(value, guard.maximum)
            reason = f"{guard.metric} {shown} is above the guard's maximum {bound}"
        else:
            continue
        return PromotionDecision(False, "guard", reason)
    return None


def _first_version(
    metric: Metric,
    challenger: Mapping[str, float],
    champion: Mapping[str, float] | None,
    leak_reason: str | None,
) -> PromotionDecision | None:
    if champion is not None or leak_reason is not None:
        return None
    (shown,) = figures(challenger[metric.name])
    return PromotionDecision(True, "first_version", f"first version, {metric.name} {shown}")


def _refuse_incomparable(
    metric: Metric, champion: Mapping[str, float] | None, leak_reason: str | None, approve: str
) -> PromotionDecision | None:
    if (
        leak_reason is None
        and champion is not None
        and not math.isfinite(champion.get(metric.name, math.nan))
    ):
        leak_reason = f"its {metric.name} on this holdout is not a number"
    if leak_reason is None:
        return None
    return PromotionDecision(
        False,
        "not_comparable",
        f"the champion cannot be judged fairly: {leak_reason}; "
        f"{approve} promotes the challenger all the same",
    )


def _compare(
    metric: Metric, policy: PromotionPolicy, before: float, after: float, interval: Interval
) -> PromotionDecision:
    improvement = metric.improvement(before, after)
    old, new, tolerance = figures(before, after, policy.tolerance)
    low, high = figures(interval.low, interval.high)
    if interval.tells_nothing_apart:
        sure = "both score the same on every resample of the holdout"
    else:
        sure = f"{interval.confidence:.0%} interval of the improvement {low} to {high}"
    side = "above" if after > before else "below" if after < before else "equal to"
    if improvement < -policy.tolerance:
        return PromotionDecision(
            False, "worse", f"{metric.name} {new} is {side} the champion's {old} (tolerance {tolerance})"
        )
    if interval.low > 0 and improvement > 0 and improvement >= policy.minimum_improvement:
        return PromotionDecision(
            True, "better", f"{metric.name} {new} improves on the champion's {old} ({sure})"
        )
    if policy.when_level == "promote" and interval.low > -policy.tolerance:
        return PromotionDecision(
            True,
            "level",
            f"{metric.name} {new} is level with the champion's {old} within the tolerance {tolerance} "
            f"({sure}), and the fresher model serves",
        )
    if interval.low > 0:
        gain, least = figures(improvement, policy.minimum_improvement)
        return PromotionDecision(
            False,
            "too_small",
            f"{metric.name} {new} improves on the champion's {old} by {gain}, "
            f"less than the least worth a promotion, {least}",
        )
    return PromotionDecision(
        False, "noise", f"{metric.name} {new} is no clear improvement on the champion's {old} ({sure})"
    )


def figures(*values: float) -> tuple[str, ...]:
    """Numbers for people: the digits that their size needs, and more where two of them would look alike."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    digits = 0 if largest >= 10_000 else 2 if largest >= 10 else 3
    for more in range(6):
        shown = tuple(_figure(value, digits + more) for value in values)
        tiny = any(value != 0 and not text.strip("-0.,") for value, text in zip(values, shown, strict=True))
        if len(set(shown)) == len(set(values)) and not tiny:
            break
    return shown


def _figure(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    if math.isinf(value):
        return "minus infinity" if value < 0 else "infinity"
    return f"{value:,.{digits}f}"
