"""What a version keeps of its holdout, so that later checks can tell whether it got worse.

One Parquet file, logged with the version: labels and the version's scores of its held-out rows, as a random
part where they are many. From it come the baseline of a metric that nobody thought of when the version was
trained, the baseline's own sampling error, and what an estimate without labels learns from. A regression
keeps the features of those rows as well, because how large its errors are depends on them.
"""

import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl

from retraining.catalog.spec import ModelSpec
from retraining.registry.values import ModelVersion, Registry
from retraining.training.bootstrap import SEED, Codes, entity_codes
from retraining.training.holdout import Split
from retraining.training.inputs import Classes, encode_labels
from retraining.training.metrics import Labels, Scores

FILE_NAME = "performance_reference.parquet"
MAX_ROWS = 50_000
"""Rows kept at most; an interval from so many is narrow enough."""
MAX_ROWS_WITH_FEATURES = 20_000
MAX_SCORES = 1_000_000
"""Rows times classes kept at most: 8 MB."""
_FORMAT = "1"
_FACTS = "retraining"
_FEATURE = "feature:"


@dataclass(frozen=True, eq=False)
class PerformanceReference:
    """The holdout of a version, or a random part of it."""

    labels: Labels
    scores: Scores
    entities: Codes | None
    """(rows,) a number for each entity where the rows are not independent."""
    features: pl.DataFrame | None
    """rows x features, of a regression."""
    classes: Classes
    """What the label's numbers mean; empty for a regression."""
    rows: int
    """Of the whole holdout."""
    end: datetime
    """Time of its newest row, UTC."""


def performance_reference(spec: ModelSpec, parts: Split, scores: Scores) -> dict[str, bytes]:
    """The files to log with a version: its scores on `parts.holdout`, by path."""
    holdout = parts.holdout
    labels = encode_labels(holdout, spec, parts.classes)
    wide = scores if scores.ndim == 2 else scores[:, None]
    columns: dict[str, Any] = {"label": labels}
    columns |= {f"score_{index}": wide[:, index] for index in range(wide.shape[1])}
    if spec.entity_column is not None:
        codes = entity_codes(holdout[spec.entity_column].to_numpy())
        columns["entity"] = np.arange(len(labels)) if codes is None else codes
    frame = pl.DataFrame(columns)
    most = min(MAX_ROWS, MAX_SCORES // wide.shape[1])
    if spec.task == "regression":
        frame = frame.hstack(holdout.select(pl.col(name).alias(_FEATURE + name) for name in spec.features))
        most = MAX_ROWS_WITH_FEATURES
    if frame.height > most:
        kept = np.random.default_rng(SEED).choice(frame.height, most, replace=False)
        frame = frame[np.sort(kept)]
    newest = holdout.select(pl.col(spec.time_column).max()).item()
    facts = {
        "format": _FORMAT,
        "rows": holdout.height,
        "end": _utc(newest).isoformat(),
        "classes": list(parts.classes),
    }
    file = io.BytesIO()
    frame.write_parquet(file, metadata={_FACTS: json.dumps(facts)})
    return {FILE_NAME: file.getvalue()}


def find_performance_reference(registry: Registry, version: ModelVersion) -> PerformanceReference | None:
    """What the version keeps of its holdout; None if it keeps none that can be read.

    Raises:
        RegistryUnavailable, RegistryRefused.
    """
    content = registry.read_file(version, FILE_NAME)
    if content is None:
        return None
    try:
        facts = json.loads(pl.read_parquet_metadata(io.BytesIO(content))[_FACTS])
        if facts["format"] != _FORMAT:
            return None
        frame = pl.read_parquet(io.BytesIO(content))
        # A score that is no number says nothing about the others.
        frame = frame.filter(pl.all_horizontal(pl.col("^(label|score_.*)$").is_finite()))
        scores = frame.select("^score_.*$").to_numpy().astype(np.float64)
        features = frame.select(pl.col(f"^{_FEATURE}.*$").name.replace(f"^{_FEATURE}", ""))
        return PerformanceReference(
            labels=frame["label"].to_numpy(),
            scores=scores if facts["classes"] and scores.shape[1] > 1 else scores[:, 0],
            entities=frame["entity"].to_numpy().astype(np.intp) if "entity" in frame.columns else None,
            features=features if features.width else None,
            classes=tuple(facts["classes"]),
            rows=facts["rows"],
            end=datetime.fromisoformat(facts["end"]),
        )
    # Whatever somebody stored there: the check goes on with what the version's metrics say.
    except (pl.exceptions.PolarsError, ValueError, KeyError, TypeError, IndexError):
        return None


def _utc(at: Any) -> datetime:
    """A date or datetime of a source, aware."""
    if not isinstance(at, datetime):
        return datetime(at.year, at.month, at.day, tzinfo=UTC)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
