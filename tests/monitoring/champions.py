"""Champions as jobs leave them, without the training: registered and promoted with their reference."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from retraining.catalog.spec import ModelSpec
from retraining.monitoring.reference import reference_files
from retraining.registry.values import ModelVersion, Registry
from retraining.sources.fingerprint import fingerprint
from retraining.sources.training_set import load_training_set
from retraining.training.holdout import split
from tests.registry.factories import challenger


def crown(registry: Registry, spec: ModelSpec, as_of: datetime, **facts: Any) -> ModelVersion:
    """The champion of a job as of then; `facts` of its challenger may differ."""
    training_set = load_training_set(spec, as_of)
    trained_on = fingerprint(split(training_set.frame, spec).train, spec.time_column)
    made = challenger(fingerprint=trained_on, files=reference_files(training_set, spec), as_of=as_of)
    version = registry.register(spec.name, replace(made, **facts))
    registry.promote(spec.name, version.version, by="test", reason="a test's champion")
    return registry.get_version(spec.name, version.version)
