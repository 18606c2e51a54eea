"""A flow whose first line writes down the time: MLflow, scikit-learn and pandas are imported by then."""

import time
from pathlib import Path

import mlflow.sklearn
import pandas as pd
import sklearn
from prefect import flow

IMPORTED = (mlflow, pd, sklearn)


@flow(name="first-line", persist_result=False)
def first_line(file: str) -> None:
    """Write down when the first line ran, in seconds since 1970."""
    now = time.time()
    written = Path(file)
    unfinished = written.with_suffix(".part")
    unfinished.write_text(str(now))
    unfinished.rename(written)
