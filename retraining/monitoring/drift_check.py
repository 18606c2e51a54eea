"""Has the data moved away from what the champion was trained on? From the source to the finding."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import reduce
from typing import Any

from retraining.catalog.spec import ModelSpec
from retraining.drift.merging import merge_scans
from retraining.drift.profile import ReferenceProfile
from retraining.drift.scan import WindowScan, scan_window
from retraining.drift.verdict import ColumnVerdict, DriftSettings, DriftVerdict
from retraining.drift.verdict import check_drift as compare
from retraining.errors import MissingColumns
from retraining.monitoring.reference import Reference, find_reference
from retraining.monitoring.window import current_window
from retraining.registry.values import Registry
from retraining.sources import files
from retraining.sources.lazy import scan_rows
from retraining.sources.window import Window
from retraining.triggers.condition import DriftCondition
from retraining.triggers.evaluation import ColumnScore, Finding, Outcome

EXPLAINED = 3
"""So many drifted columns are explained in the reason; the finding's columns explain all."""


def check_drift(spec: ModelSpec, condition: DriftCondition, registry: Registry, as_of: datetime) -> Finding:
    """Compare the features of the current window with the champion's reference.

    Without a window of its own the condition looks at all rows since the champion's, and at the newer half of
    that time by itself; the finding is of the half if only that has drifted. `as_of` is aware. Memory does
    not grow with the rows of a source that can be scanned (Parquet files on this machine).

    Raises:
        DataProblem: the source cannot be read, or lacks its time column.
        MissingColumns: the condition names columns that are no features of the model.
        InvalidDriftProfile: the champion's stored reference is damaged.
        RegistryUnavailable, RegistryRefused.
    """
    champion = registry.find_champion(spec.name)
    if champion is None:
        return Finding(outcome=Outcome.NOT_JUDGED, reason=f"{spec.name} has no champion yet to compare with")
    found = Finding(outcome=Outcome.NOT_JUDGED, reason="", champion_version=champion.version)
    reference = find_reference(spec, champion, registry)
    if reference is None:
        return _with(
            found,
            reason=f"version {champion.version} has no reference to compare with, it was trained outside; "
            "let a job train the next one",
        )
    return _compare(found, spec, condition, reference, as_of)


def _compare(
    found: Finding, spec: ModelSpec, condition: DriftCondition, reference: Reference, as_of: datetime
) -> Finding:
    left_out = _left_out(spec, condition, reference)
    window = current_window(condition.window, after=reference.end, end=as_of)
    if window is None:
        span = f"({reference.end:%Y-%m-%d %H:%M}, {as_of:%Y-%m-%d %H:%M}] UTC"
        return _with(found, reason=f"no rows in {span}: the champion was trained on later ones", rows=0)
    found = _with(found, window_start=window.start, window_end=window.end, columns=_not_compared(left_out))
    scans = _scan(spec, reference.profile, _parts(condition, window))
    whole = reduce(merge_scans, (scan for _, scan in scans))
    found = _with(found, rows=whole.rows)
    if whole.rows < condition.min_rows:
        few = f"{whole.rows:,} rows in {window}, needs {condition.min_rows:,}"
        return _with(found, reason=few if whole.rows else f"no rows in {window}")
    if not set(condition.columns or reference.profile.columns) - left_out.keys():
        return _with(found, reason=f"no column can be compared: {_listed(left_out)}")

    newer_half, newer = scans[-1]
    both = len(scans) > 1 and condition.min_rows <= newer.rows < whole.rows
    settings = _settings(condition, left_out, questions=2 if both else 1)
    verdict = compare(reference.profile, whole, settings)
    if both and not verdict.drifted:
        of_newer = compare(reference.profile, newer, settings)
        if of_newer.drifted:
            found = _with(found, window_start=newer_half.start, rows=newer.rows)
            return _judged(found, of_newer, f"since {newer_half.start:%Y-%m-%d %H:%M} UTC ")
    return _judged(found, verdict)


def _parts(condition: DriftCondition, window: Window) -> list[Window]:
    """The window in the parts that are judged: the last one alone, and all together.

    The window since training grows from day to day, and in a long one a late change drowns. So its newer half
    is judged as well. Not by a threshold that somebody set: fewer rows would reach it by chance.
    """
    if condition.window is not None or condition.threshold != "auto" or window.start is None:
        return [window]
    middle = window.start + (window.end - window.start) / 2
    return [Window(window.start, middle), Window(middle, window.end)]


def _scan(
    spec: ModelSpec, profile: ReferenceProfile, windows: Sequence[Window]
) -> list[tuple[Window, WindowScan]]:
    scans = []
    for window in windows:
        rows = scan_rows(spec.source, window, time_column=spec.time_column, columns=spec.features)
        with files.reading(spec.source.describe()):
            scans.append((window, scan_window(profile, rows.parts, where=rows.where)))
    return scans


def _judged(found: Finding, verdict: DriftVerdict, when: str = "") -> Finding:
    compared = verdict.needed is not None
    if compared:
        found = _with(found, outcome=Outcome.BREACHED if verdict.drifted else Outcome.QUIET)
    return _with(
        found,
        reason=f"{when}{_reason(verdict)}",
        score=verdict.share if compared else None,
        threshold=verdict.needed,
        columns=(*_scores(verdict), *found.columns),
    )


def _with(finding: Finding, **facts: Any) -> Finding:
    return finding.model_copy(update=facts)


def _left_out(spec: ModelSpec, condition: DriftCondition, reference: Reference) -> dict[str, str]:
    """The deciding columns that nothing can be compared with; raises MissingColumns for unknown ones."""
    known = {*reference.profile.columns, *reference.left_out}
    wanted = tuple(known) if condition.columns is None else condition.columns
    if unknown := [name for name in wanted if name not in known]:
        raise MissingColumns(f"the champion of {spec.name}", unknown, sorted(known))
    return {name: reason for name, reason in reference.left_out.items() if name in wanted}


def _settings(condition: DriftCondition, left_out: Mapping[str, str], *, questions: int) -> DriftSettings:
    columns = condition.columns
    if columns is not None:
        columns = tuple(name for name in columns if name not in left_out)
    return DriftSettings(
        method=condition.method,
        threshold=condition.threshold,
        false_alarm_rate=condition.false_alarm_rate / questions,  # of one check, whatever it asks
        columns=columns,
        drift_share=condition.drift_share,
        min_rows=condition.min_rows,
    )


def _scores(verdict: DriftVerdict) -> list[ColumnScore]:
    """Drifted columns first, the farthest beyond their threshold first."""
    return [
        ColumnScore(
            column=column.column,
            kind=column.kind,
            method=column.method,
            score=column.score,
            threshold=column.threshold,
            p_value=column.p_value,
            drifted=column.drifted,
            reason=column.reason,
        )
        for column in sorted(verdict.columns, key=_distance, reverse=True)
    ]


def _distance(column: ColumnVerdict) -> tuple[bool, float]:
    if column.score is None or not column.threshold:
        return column.drifted, float("inf") if column.drifted else -1.0
    return column.drifted, column.score / column.threshold


def _not_compared(left_out: Mapping[str, str]) -> tuple[ColumnScore, ...]:
    return tuple(
        ColumnScore(
            column=name,
            kind="identifier",
            method=None,
            score=None,
            threshold=None,
            p_value=None,
            drifted=False,
            reason=f"not compared: {reason}",
        )
        for name, reason in left_out.items()
    )


def _reason(verdict: DriftVerdict) -> str:
    drifted = [column for column in sorted(verdict.columns, key=_distance, reverse=True) if column.drifted]
    explained = "".join(f"; {column.column}: {column.reason}" for column in drifted[:EXPLAINED])
    return f"{verdict.reason}{explained}"


def _listed(left_out: Mapping[str, str]) -> str:
    return "; ".join(f"{name} {reason}" for name, reason in left_out.items()) or "the reference has none"
