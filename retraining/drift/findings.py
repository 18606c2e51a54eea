"""What can happen to a column besides a shift of its distribution, each named in a sentence.

Every function answers None, or what it found. `alpha` is the chance of a false alarm that it may take.
"""

import numpy as np

from retraining.drift import significance, statistics
from retraining.drift.bins import CategoryBins
from retraining.drift.calibration import EFFECT_SIZES
from retraining.drift.counts import CategoryCounts, ColumnCounts, NumericCounts
from retraining.drift.profile import ColumnProfile

LEAST_RISE = 0.005
"""A share of missing values that doubles from next to nothing is no drift below half a percentage point."""
LEAST_VARIED = 0.01
"""A column of which less varied in the reference is not missed when it is constant."""
LEAST_UNSEEN = 0.01
"""New categories in fewer rows are mentioned, but are no drift."""

_ONE_SIDED_95 = 1.645


def find_missing(reference: ColumnCounts, current: ColumnCounts, alpha: float) -> str | None:
    """A share of missing values that doubled, or moved as far as a category's share must to be drift.

    "Doubled" is anything that the 95 % confidence limit of the ratio (Katz et al. 1978) does not exclude,
    provided that the rise itself is beyond chance: otherwise a share that truly doubled would be missed
    every other time.
    """
    before, after = reference.missing, current.missing
    n, m = before + reference.present, after + current.present
    if not n or not m or significance.proportion_p_value(before, n, after, m) > alpha:
        return None
    share, current_share = before / n, after / m
    distance = statistics.jensen_shannon_distance(
        np.array([before, n - before]), np.array([after, m - after])
    )
    if not (_has_doubled(before, n, after, m) or distance >= EFFECT_SIZES["jensen_shannon"]):
        return None
    if after == m:
        return f"no values are left: missing went from {share:.1%} to 100%"
    direction = "rose" if current_share > share else "fell"
    return f"missing values {direction} from {share:.1%} to {current_share:.1%}"


def find_constant(profile: ColumnProfile, current: ColumnCounts, alpha: float) -> str | None:
    """A column of one value only, where the reference has others."""
    only = _only_value(profile, current)
    if only is None:
        return None
    value, same = only
    n, m = profile.counts.present, current.present
    others = n - same
    if others < LEAST_VARIED * n or significance.proportion_p_value(others, n, 0, m) > alpha:
        return None
    return f"constant: every value is {value}, where {others / n:.1%} of the reference's are others"


def find_unseen(profile: ColumnProfile, current: ColumnCounts, alpha: float) -> str | None:
    """Categories that the reference never had, in more rows than a sample of its size leaves unseen."""
    described = describe_unseen(profile, current)
    if described is None or not isinstance(current, CategoryCounts):
        return None
    rows, n = current.present, profile.counts.present
    if current.other < LEAST_UNSEEN * rows:
        return None
    assert isinstance(profile.counts, CategoryCounts)
    singletons = int(np.count_nonzero(profile.counts.counts == 1))
    bound = significance.most_unseen(singletons, n, alpha / 2)
    if significance.at_least_p_value(current.other, rows, bound) > alpha / 2:
        return None
    return described


def describe_unseen(profile: ColumnProfile, current: ColumnCounts) -> str | None:
    """How many rows have categories that the reference never had, whether that is much or not."""
    if not (isinstance(current, CategoryCounts) and isinstance(profile.bins, CategoryBins)):
        return None
    if not current.other or not profile.bins.complete or not profile.counts.present:
        return None
    examples = ", ".join(map(repr, current.examples[:3]))
    return f"categories never seen before ({examples}) in {current.other / current.present:.1%} of the values"


def _only_value(profile: ColumnProfile, current: ColumnCounts) -> tuple[str, int] | None:
    """The only value of a column that had several, and how often the reference has it."""
    bins, reference = profile.bins, profile.counts
    if isinstance(reference, NumericCounts) and isinstance(current, NumericCounts):
        # Without values these are NaN, which is not equal to itself.
        if current.minimum == current.maximum and reference.minimum < reference.maximum:
            same = reference.counts[reference.cells == current.cells[0]].sum()
            return f"{current.minimum:,.6g}", int(same)
    elif isinstance(bins, CategoryBins) and isinstance(reference, CategoryCounts):
        assert isinstance(current, CategoryCounts)
        had_several = np.count_nonzero(reference.counts) + bool(reference.other) > 1
        if had_several and np.count_nonzero(current.counts) == 1 and not current.other:
            position = int(np.argmax(current.counts))
            return repr(bins.categories[position]), int(reference.counts[position])
    return None


def _has_doubled(before: int, n: int, after: int, m: int) -> bool:
    rise = after / m - before / n
    if rise < LEAST_RISE:
        return False
    if not before:
        return True
    error = np.sqrt(1 / before - 1 / n + 1 / after - 1 / m)
    return bool(np.log(after / m * n / before) + _ONE_SIDED_95 * error >= np.log(2))
