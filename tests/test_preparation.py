"""What a job keeps of its data."""

import gc
import weakref
from datetime import UTC, datetime

import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from retraining import EntityHoldout, ModelSpec, TimeHoldout
from retraining.monitoring.reference import reference_files
from retraining.preparation import prepare
from retraining.sources.fingerprint import fingerprint
from retraining.sources.training_set import load_training_set
from retraining.training.holdout import split
from retraining.training.inputs import features_of, labels_of
from tests.flows.models import tiny

AS_OF = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize("holdout", [TimeHoldout(), EntityHoldout(column="customer")])
def test_prepared_data_is_what_its_parts_give_one_by_one(holdout: TimeHoldout | EntityHoldout) -> None:
    spec: ModelSpec = tiny.model_copy(update={"holdout": holdout})
    prepared = prepare(spec, AS_OF)
    whole = load_training_set(spec, AS_OF)
    parts = split(whole.frame, spec)
    pd.testing.assert_frame_equal(prepared.training.features, features_of(parts.train, spec))
    pd.testing.assert_series_equal(prepared.training.labels, labels_of(parts.train, spec))
    assert prepared.fingerprint == fingerprint(parts.train, spec.time_column)
    assert_frame_equal(prepared.judging.holdout, parts.holdout)
    assert prepared.judging.description == parts.description
    assert prepared.judging.train.is_empty()
    assert prepared.reference == reference_files(whole, spec)
    assert prepared.window == whole.window


def test_released_rows_are_gone() -> None:
    training = prepare(tiny, AS_OF).training
    features = weakref.ref(training.features)
    training.release()
    gc.collect()
    assert features() is None
    assert list(training.features.columns) == ["x"]


@pytest.mark.parametrize("seed", range(3))
def test_a_split_by_time_does_not_depend_on_the_order_of_rows(seed: int) -> None:
    """Rows in order of time take a way of their own."""
    spec = tiny.model_copy(update={"holdout": TimeHoldout(fraction=0.3)})
    frame = load_training_set(spec, AS_OF).frame
    shuffled = frame.sample(fraction=1, shuffle=True, seed=seed)
    ordered, other = split(frame, spec), split(shuffled, spec)
    assert_frame_equal(ordered.train, other.train.sort("at"))
    assert_frame_equal(ordered.holdout, other.holdout.sort("at"))
    assert (ordered.description, ordered.holdout_start) == (other.description, other.holdout_start)
    assert pl.concat([ordered.train, ordered.holdout]).equals(frame)
