"""Keeps production models fresh.

What a team needs to bring its model is importable from here; everything is imported when it is first asked
for, so that `import retraining` and the modules below it cost nothing that they do not use.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retraining.catalog.parameters import TrainingParameters
    from retraining.catalog.policy import EntityHoldout, Guard, PromotionPolicy, TimeHoldout
    from retraining.catalog.resources import Resources
    from retraining.catalog.spec import ModelSpec, TrainingInput
    from retraining.sources.csv import CsvSource
    from retraining.sources.parquet import ParquetSource
    from retraining.sources.source import DataSource
    from retraining.sources.sql import SqlSource
    from retraining.sources.window import Window
    from retraining.training.fitting import fit_with_progress
    from retraining.training.metrics import Metric
    from retraining.training.progress import Progress

__all__ = [
    "CsvSource",
    "DataSource",
    "EntityHoldout",
    "Guard",
    "Metric",
    "ModelSpec",
    "ParquetSource",
    "Progress",
    "PromotionPolicy",
    "Resources",
    "SqlSource",
    "TimeHoldout",
    "TrainingInput",
    "TrainingParameters",
    "Window",
    "fit_with_progress",
]

_HOMES = {
    "CsvSource": "retraining.sources.csv",
    "DataSource": "retraining.sources.source",
    "EntityHoldout": "retraining.catalog.policy",
    "Guard": "retraining.catalog.policy",
    "Metric": "retraining.training.metrics",
    "ModelSpec": "retraining.catalog.spec",
    "ParquetSource": "retraining.sources.parquet",
    "Progress": "retraining.training.progress",
    "PromotionPolicy": "retraining.catalog.policy",
    "Resources": "retraining.catalog.resources",
    "SqlSource": "retraining.sources.sql",
    "TimeHoldout": "retraining.catalog.policy",
    "TrainingInput": "retraining.catalog.spec",
    "TrainingParameters": "retraining.catalog.parameters",
    "Window": "retraining.sources.window",
    "fit_with_progress": "retraining.training.fitting",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
