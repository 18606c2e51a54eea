"""The README's own model, exactly as it stands there, through catalog and job."""

import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows.retrain import retrain
from retraining.registry.mlflow_registry import MlflowRegistry

README = Path(__file__).parents[2] / "README.md"
AS_OF = datetime(2026, 6, 1, tzinfo=UTC)
PROMISED_LINES = 25


def example() -> str:
    [code] = re.findall(r"```python\n(# invoices\.py\n.*?)```", README.read_text(), flags=re.DOTALL)
    return str(code)


def write_invoices(folder: Path) -> None:
    """Two years of invoices, a file for each; large ones are paid late."""
    rng = np.random.default_rng(3)
    for year in (2025, 2026):
        amount = rng.lognormal(5, 1, size=2_000)
        invoices = pl.DataFrame(
            {
                "issued_at": [
                    datetime(year, 1, 1, tzinfo=UTC) + timedelta(hours=2 * n) for n in range(2_000)
                ],
                "amount": amount,
                "days_to_due": rng.integers(7, 60, size=2_000),
                "late_before": rng.integers(0, 5, size=2_000),
                "paid_late": np.log(amount) + rng.normal(size=2_000) > 5.5,
            }
        )
        invoices.write_parquet(folder / f"{year}.parquet")


def test_the_example_has_at_most_25_lines() -> None:
    assert len([line for line in example().splitlines() if line.strip()]) <= PROMISED_LINES


@pytest.mark.usefixtures("servers")
def test_the_example_is_retrained_and_promoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: MlflowRegistry
) -> None:
    """A team writes the module, names it in RETRAINING_MODELS, and the job runs."""
    (tmp_path / "invoices.py").write_text(example())
    (tmp_path / "invoices").mkdir()
    write_invoices(tmp_path / "invoices")
    monkeypatch.setenv("RETRAINING_MODELS", "invoices:late_payment")
    monkeypatch.setenv("RETRAINING_MODELS_PATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [*sys.path])
    state = retrain("late-payment", {"n_estimators": 20}, AS_OF, return_state=True)
    assert state.is_completed(), state.message
    champion = registry.find_champion("late-payment")
    assert champion is not None
    assert champion.metrics["roc_auc"] > 0.7
    assert champion.fingerprint is not None
    assert champion.fingerprint.end <= AS_OF - timedelta(days=30)
    assert champion.fingerprint.start > AS_OF - timedelta(days=395)
