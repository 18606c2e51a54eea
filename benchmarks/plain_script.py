"""`plain_script.py FILE`: what a job's training is without a job. Reads the file and fits the estimator."""

import sys
from typing import Any

COLUMNS = tuple(f"x{number}" for number in range(8))


def make_estimator() -> Any:
    """A small estimator, not fitted."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression())


def main() -> None:
    """Read and fit."""
    import pandas as pd

    frame = pd.read_parquet(sys.argv[1])
    make_estimator().fit(frame[list(COLUMNS)], frame["label"])


if __name__ == "__main__":
    main()
