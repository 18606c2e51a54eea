"""Where training data comes from: Parquet, CSV, SQL, or a team's own source, each read by time window."""

from retraining.sources.csv import CsvSource
from retraining.sources.parquet import ParquetSource
from retraining.sources.source import DataSource
from retraining.sources.sql import SqlSource
from retraining.sources.training_set import TrainingSet, load_training_set
from retraining.sources.window import Window, labelled_window

__all__ = [
    "CsvSource",
    "DataSource",
    "ParquetSource",
    "SqlSource",
    "TrainingSet",
    "Window",
    "labelled_window",
    "load_training_set",
]
