"""What a champion's data is compared with: made by the job that trains it, kept with its version in MLflow.

Three files: the drift profile of all labelled rows (what a check needs), a few facts about them, and a sample
of at most 20,000 rows for the report that people look at.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from retraining.catalog.spec import ModelSpec
from retraining.drift.profile import ReferenceProfile, build_profile
from retraining.drift.profile_format import FILE_NAME, dump_profile, load_profile
from retraining.errors import InvalidDriftProfile
from retraining.monitoring.identifiers import find_counters
from retraining.monitoring.sample import sample_rows
from retraining.monitoring.window import between
from retraining.registry.values import DataFingerprint, ModelVersion, Registry
from retraining.sources import files
from retraining.sources.fingerprint import span
from retraining.sources.lazy import LazyRows, scan_rows
from retraining.sources.training_set import TrainingSet
from retraining.sources.window import Window

FACTS_FILE = "drift_reference.json"
SAMPLE_FILE = "drift_sample.parquet"


class _Facts(BaseModel):
    """Whose rows the profile is of."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    start: datetime
    end: datetime
    rows: int
    left_out: dict[str, str] = {}


@dataclass(frozen=True)
class Reference:
    """What a window is compared with."""

    profile: ReferenceProfile
    end: datetime
    """Time of its last row: a check without a window of its own begins here."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Features that no later row can be compared with, and why."""


def reference_files(training_set: TrainingSet, spec: ModelSpec) -> dict[str, bytes]:
    """The files that a job logs with its version, of all labelled rows: both sides of its split."""
    frame = training_set.frame
    start, end = span(frame[spec.time_column])
    left_out = find_counters(frame, spec.features, spec.time_column)
    rows = LazyRows([frame])
    facts = _Facts(
        start=start,
        end=end,
        rows=frame.height,
        left_out=left_out,
    )
    sample = io.BytesIO()
    sample_rows(rows, sampled_columns(spec)).write_parquet(sample)
    return {
        FILE_NAME: dump_profile(_profile(rows, spec, left_out)),
        FACTS_FILE: facts.model_dump_json(indent=1).encode(),
        SAMPLE_FILE: sample.getvalue(),
    }


def find_reference(spec: ModelSpec, champion: ModelVersion, registry: Registry) -> Reference | None:
    """The champion's reference: the stored one, else made again of the rows that its fingerprint names.

    None if neither is to be had: the version was trained outside of the product.

    Raises:
        InvalidDriftProfile: what is stored is damaged.
        DataProblem: the source cannot be read, or does not have those rows any more.
    """
    stored, told = (registry.read_file(champion, name) for name in (FILE_NAME, FACTS_FILE))
    if stored is not None and told is not None:
        try:
            facts = _Facts.model_validate_json(told)
        except ValidationError as exc:
            raise InvalidDriftProfile(f"{FACTS_FILE} is damaged") from exc
        return Reference(load_profile(stored), facts.end, facts.left_out)
    if champion.fingerprint is None:
        return None
    rows = _trained_on(champion.fingerprint, spec)
    with files.reading(spec.source.describe()):
        left_out = find_counters(sample_rows(rows, sampled_columns(spec)), spec.features, spec.time_column)
        return Reference(_profile(rows, spec, left_out), champion.fingerprint.end, left_out)


def find_reference_sample(spec: ModelSpec, champion: ModelVersion, registry: Registry) -> pl.DataFrame | None:
    """At most 20,000 rows of the champion's reference: time and features; None if it has no reference."""
    stored = registry.read_file(champion, SAMPLE_FILE)
    if stored is not None:
        return pl.read_parquet(io.BytesIO(stored))
    if champion.fingerprint is None:
        return None
    with files.reading(spec.source.describe()):
        return sample_rows(_trained_on(champion.fingerprint, spec), sampled_columns(spec))


def window_sample(spec: ModelSpec, window: Window) -> pl.DataFrame:
    """At most 20,000 rows of a window: time and features, those that there are."""
    columns = sampled_columns(spec)
    rows = scan_rows(spec.source, window, time_column=spec.time_column, columns=columns)
    with files.reading(spec.source.describe()):
        return sample_rows(rows, columns)


def sampled_columns(spec: ModelSpec) -> tuple[str, ...]:
    """The columns of a sample."""
    return tuple(dict.fromkeys((spec.time_column, *spec.features)))


def _trained_on(fingerprint: DataFingerprint, spec: ModelSpec) -> LazyRows:
    window = between(fingerprint.start, fingerprint.end)
    return scan_rows(spec.source, window, time_column=spec.time_column, columns=spec.features)


def _profile(rows: LazyRows, spec: ModelSpec, left_out: Mapping[str, str]) -> ReferenceProfile:
    return build_profile(
        rows.parts,
        [name for name in spec.features if name not in left_out],
        where=rows.where,
        time_column=spec.time_column,
        source=spec.source.describe(),
    )
