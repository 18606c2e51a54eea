"""Has the window drifted? The decision for each column and for the whole, with its reasons."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from retraining.drift import calibration, findings
from retraining.drift.bins import CategoryBins, NumericBins
from retraining.drift.comparison import Comparison, compare_categories, compare_numbers
from retraining.drift.counts import CategoryCounts, ColumnCounts, NumericCounts
from retraining.drift.kinds import Kind
from retraining.drift.methods import Method
from retraining.drift.profile import ColumnProfile, ReferenceProfile
from retraining.drift.scan import Retyped, Vanished, WindowScan
from retraining.errors import MissingColumns

DEFAULT_DRIFT_SHARE = 0.5
"""Of all columns, as in Evidently. Of chosen columns one is enough: they were chosen because they matter."""
LEAST_VALUES = 20
"""With fewer values on either side a column's distribution is not judged."""
IDENTIFIER_SHARE = 0.5
"""With more categories than half of its values a column has no distribution to compare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSettings:
    """What counts as drift."""

    method: Method | Literal["auto"] = "auto"
    threshold: float | Literal["auto"] = "auto"
    """A score that counts as drift whatever the number of rows, or `auto` (see calibration.py)."""
    false_alarm_rate: float = 0.01
    """The chance that a check without any drift finds some, in whichever of its columns."""
    columns: tuple[str, ...] | None = None
    """The columns that decide; None for all of the profile."""
    drift_share: float | None = None
    """The share of columns that must have drifted; None for half of all, or any of the chosen ones."""
    min_rows: int = 100
    """Smaller windows are not judged."""

    def __post_init__(self) -> None:
        if not 0 < self.false_alarm_rate < 1:
            raise ValueError(f"false_alarm_rate lies between 0 and 1, not {self.false_alarm_rate}")
        if self.drift_share is not None and not 0 < self.drift_share <= 1:
            raise ValueError(f"drift_share lies above 0 and is at most 1, not {self.drift_share}")
        if self.threshold != "auto" and not self.threshold > 0:
            raise ValueError(f"threshold is above 0, not {self.threshold}")
        if self.columns is not None and not self.columns:
            raise ValueError("columns are empty; leave them out to check all")


@dataclass(frozen=True, slots=True)
class ColumnVerdict:
    """What became of one column. Method, score, threshold and p-value are None where nothing was compared."""

    column: str
    kind: Kind
    method: Method | None
    score: float | None
    threshold: float | None
    p_value: float | None
    """The chance of so large a difference without drift; decides along with the score if `auto`."""
    drifted: bool
    reason: str

    @property
    def counts(self) -> bool:
        """Whether the column says anything; one without enough values, or of identifiers, does not."""
        return self.method is not None or self.drifted


@dataclass(frozen=True, slots=True)
class DriftVerdict:
    """What became of the window."""

    drifted: bool
    share: float
    """The share of the compared columns that drifted."""
    needed: float | None
    """The share that counts as drift of the whole; None if no column could be compared."""
    columns: tuple[ColumnVerdict, ...]
    rows: int
    reason: str


def check_drift(
    profile: ReferenceProfile, scan: WindowScan, settings: DriftSettings | None = None
) -> DriftVerdict:
    """Decide whether the scanned window has drifted away from the profile's reference.

    Raises:
        MissingColumns: the settings name columns that the profile does not have.
    """
    settings = settings or DriftSettings()
    names = tuple(profile.columns) if settings.columns is None else tuple(dict.fromkeys(settings.columns))
    if unknown := [name for name in names if name not in profile.columns]:
        raise MissingColumns("the reference profile", unknown, list(profile.columns))
    if scan.rows < settings.min_rows:
        reason = f"not judged: {scan.rows:,} rows, needs {settings.min_rows:,}"
        return DriftVerdict(drifted=False, share=0.0, needed=None, columns=(), rows=scan.rows, reason=reason)
    alpha = calibration.alpha_per_question(settings.false_alarm_rate, len(names))
    columns = tuple(_judge(name, profile.columns[name], scan, settings, alpha) for name in names)
    compared = sum(column.counts for column in columns)
    if not compared:
        reason = f"no column can be compared: {_listed(columns)}"
        return DriftVerdict(
            drifted=False, share=0.0, needed=None, columns=columns, rows=scan.rows, reason=reason
        )
    needed = settings.drift_share
    if needed is None:
        needed = DEFAULT_DRIFT_SHARE if settings.columns is None else 1 / compared
    drifted = [column.column for column in columns if column.drifted]
    return DriftVerdict(
        drifted=len(drifted) >= needed * compared - 1e-9 and bool(drifted),
        share=len(drifted) / compared,
        needed=needed,
        columns=columns,
        rows=scan.rows,
        reason=_summary(drifted, compared, needed),
    )


def _judge(
    name: str, profile: ColumnProfile, scan: WindowScan, settings: DriftSettings, alpha: float
) -> ColumnVerdict:
    match scan.columns[name]:
        case Vanished():
            return _broken(name, profile.kind, "vanished: the window has no such column")
        case Retyped(found):
            return _broken(
                name, profile.kind, f"changed its type: {profile.kind} in the reference, now {found}"
            )
        case NumericCounts() | CategoryCounts() as current:
            return _judge_values(name, profile, current, settings, alpha)


def _broken(name: str, kind: Kind, reason: str) -> ColumnVerdict:
    return ColumnVerdict(
        name, kind, method=None, score=None, threshold=None, p_value=None, drifted=True, reason=reason
    )


def _judge_values(
    name: str, profile: ColumnProfile, current: ColumnCounts, settings: DriftSettings, alpha: float
) -> ColumnVerdict:
    found = [
        finding
        for finding in (
            findings.find_missing(profile.counts, current, alpha),
            findings.find_constant(profile, current, alpha),
            findings.find_unseen(profile, current, alpha),
        )
        if finding is not None
    ]
    if (obstacle := _why_incomparable(profile, current)) is not None:
        reason = "; ".join(found) or obstacle
        return ColumnVerdict(name, profile.kind, None, None, None, None, drifted=bool(found), reason=reason)
    comparison = _compare(profile, current, settings, alpha)
    threshold, moved, why = _weigh(comparison, settings, alpha, current.present)
    if moved:
        why = f"{why}: {_movement(profile, current)}"
    elif not found and (unseen := findings.describe_unseen(profile, current)):
        why = f"{why}; {unseen}"
    return ColumnVerdict(
        name,
        profile.kind,
        comparison.method,
        comparison.score,
        threshold,
        comparison.p_value,
        drifted=moved or bool(found),
        reason="; ".join([*found, why]),
    )


def _why_incomparable(profile: ColumnProfile, current: ColumnCounts) -> str | None:
    before, after = profile.counts.present, current.present
    if not before and not after:
        return "no values, as in the reference"
    if min(before, after) < LEAST_VALUES:
        return f"not compared: {before:,} values in the reference and {after:,} now, needs {LEAST_VALUES}"
    if isinstance(profile.bins, CategoryBins) and profile.bins.distinct > IDENTIFIER_SHARE * before:
        return f"not compared: {profile.bins.distinct:,} categories in {before:,} values, as identifiers have"
    return None


def _compare(
    profile: ColumnProfile, current: ColumnCounts, settings: DriftSettings, alpha: float
) -> Comparison:
    reference = profile.counts
    if isinstance(reference, NumericCounts) and isinstance(current, NumericCounts):
        assert isinstance(profile.bins, NumericBins)
        return compare_numbers(settings.method, profile.kind, profile.bins, reference, current, alpha)
    assert isinstance(reference, CategoryCounts)
    assert isinstance(current, CategoryCounts)
    return compare_categories(settings.method, profile.kind, reference, current, alpha)


def _weigh(
    comparison: Comparison, settings: DriftSettings, alpha: float, rows: int
) -> tuple[float, bool, str]:
    """The threshold, whether the score is drift, and why."""
    method, score = comparison.method, comparison.score
    if settings.threshold != "auto":
        moved = score >= settings.threshold
        word = "reaches" if moved else "is below"
        return settings.threshold, moved, f"{method} {score:.3g} {word} {settings.threshold:.3g}"
    effect = calibration.EFFECT_SIZES[method]
    threshold = max(effect, comparison.noise_level)
    if score < threshold:
        by_chance = f", which chance alone may reach with {rows:,} values" if threshold > effect else ""
        return threshold, False, f"{method} {score:.3g} is below {threshold:.3g}{by_chance}"
    if comparison.p_value > alpha:
        by_chance = f"the test finds chance enough (p = {comparison.p_value:.2g}, needs {alpha:.2g})"
        return threshold, False, f"{method} {score:.3g} reaches {threshold:.3g}, but {by_chance}"
    beyond = f"p = {comparison.p_value:.2g}" if comparison.p_value > 1e-12 else "p < 1e-12"
    return threshold, True, f"{method} {score:.3g} reaches {threshold:.3g}, beyond chance ({beyond})"


def _movement(profile: ColumnProfile, current: ColumnCounts) -> str:
    """Where the values went, in figures that people know from the data."""
    reference = profile.counts
    if isinstance(reference, NumericCounts) and isinstance(current, NumericCounts):
        if profile.kind == "datetime":
            return f"mean went from {reference.mean / 86_400:,.4g} to {current.mean / 86_400:,.4g} days"
        return f"mean went from {reference.mean:,.5g} to {current.mean:,.5g}"
    assert isinstance(reference, CategoryCounts)
    assert isinstance(current, CategoryCounts)
    assert isinstance(profile.bins, CategoryBins)
    before = np.append(reference.counts, reference.other) / reference.present
    after = np.append(current.counts, current.other) / current.present
    most = int(np.argmax(np.abs(after - before)))
    names = (*map(repr, profile.bins.categories), "all other categories")
    return f"{names[most]} went from {before[most]:.1%} to {after[most]:.1%}"


def _listed(columns: tuple[ColumnVerdict, ...]) -> str:
    listed = "; ".join(f"{column.column}: {column.reason}" for column in columns[:5])
    return listed + (f"; and {len(columns) - 5} more" if len(columns) > 5 else "")


def _summary(drifted: list[str], compared: int, needed: float) -> str:
    demand = f"needs {needed:.0%}" if needed * compared > 1 else "one is enough"
    if not drifted:
        return f"none of {compared} columns drifted"
    listed = ", ".join(drifted[:5]) + (f" and {len(drifted) - 5} more" if len(drifted) > 5 else "")
    return f"{len(drifted)} of {compared} columns drifted ({len(drifted) / compared:.0%}, {demand}): {listed}"
