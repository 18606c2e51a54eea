"""What a version keeps of its holdout."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from retraining import EntityHoldout, ModelSpec
from retraining.monitoring import performance_reference as kept
from retraining.monitoring.performance_reference import find_performance_reference, performance_reference
from retraining.training.holdout import Split, split
from retraining.training.inputs import encode_labels
from tests.registry.factories import challenger
from tests.registry.fake import FakeRegistry
from tests.training.specs import START, rows, spec_for

TREES = ("birch", "cedar", "apple")


def parts_of(spec: ModelSpec, frame: pl.DataFrame) -> Split:
    return split(frame, spec)


def read_back(files: dict[str, bytes]) -> kept.PerformanceReference:
    registry = FakeRegistry()
    found = find_performance_reference(registry, registry.register("tested", challenger(files=files)))
    assert found is not None
    return found


def test_a_binary_holdout_comes_back_as_it_was() -> None:
    spec = spec_for()
    parts = parts_of(spec, rows())
    scores = np.random.default_rng(0).random(parts.holdout.height)
    found = read_back(performance_reference(spec, parts, scores))
    assert np.array_equal(found.scores, scores)
    assert np.array_equal(found.labels, encode_labels(parts.holdout, spec, parts.classes))
    assert (found.classes, found.rows, found.end) == ((0, 1), 80, START + timedelta(hours=399))
    assert found.entities is None
    assert found.features is None


def test_several_classes_keep_their_names_and_a_score_each() -> None:
    spec = spec_for("multiclass", holdout=EntityHoldout(column="customer", fraction=0.5))
    frame = rows(label=lambda values: np.array(TREES)[np.digitize(values, [-0.5, 0.5])])
    parts = parts_of(spec, frame)
    scores = np.random.default_rng(0).dirichlet(np.ones(3), parts.holdout.height)
    found = read_back(performance_reference(spec, parts, scores))
    assert np.array_equal(found.scores, scores)
    assert found.classes == ("apple", "birch", "cedar")
    assert found.entities is not None
    assert len(np.unique(found.entities)) == parts.holdout["customer"].n_unique()


def test_a_regression_keeps_its_features() -> None:
    spec = spec_for("regression")
    parts = parts_of(spec, rows(label=lambda values: values))
    found = read_back(performance_reference(spec, parts, np.zeros(parts.holdout.height)))
    assert found.features is not None
    assert found.features.equals(parts.holdout.select("x", "noise"))


def test_a_large_holdout_is_kept_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MAX_ROWS", 30)
    spec = spec_for()
    parts = parts_of(spec, rows())
    found = read_back(performance_reference(spec, parts, np.linspace(0, 1, parts.holdout.height)))
    assert (len(found.labels), found.rows) == (30, 80)


def test_scores_that_are_no_numbers_are_left_out() -> None:
    spec = spec_for()
    parts = parts_of(spec, rows())
    scores = np.linspace(0, 1, parts.holdout.height)
    scores[:5] = np.nan
    assert len(read_back(performance_reference(spec, parts, scores)).labels) == 75


@pytest.mark.parametrize("content", [None, b"", b"no parquet"])
def test_what_is_not_there_or_damaged_is_none(content: bytes | None) -> None:
    registry = FakeRegistry()
    files = {} if content is None else {kept.FILE_NAME: content}
    assert find_performance_reference(registry, registry.register("tested", challenger(files=files))) is None
