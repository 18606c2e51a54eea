"""Default settings on real and published predictions, whose verdicts are known from elsewhere."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from retraining import ModelSpec, TimeHoldout
from retraining.builtin.churn import churn
from retraining.builtin.profitability import profitability
from retraining.monitoring.performance_check import check_performance
from retraining.triggers.condition import PerformanceCondition
from retraining.triggers.evaluation import Finding, Outcome
from tests.monitoring.scored_champions import TimedRows, promote_champion, train_published
from tests.registry.fake import FakeRegistry

CAR_LOAN = Path(__file__).parents[1] / "data" / "car_loan"
EXPECTED = json.loads((CAR_LOAN / "expected.json").read_text())
WINDOWS: dict[str, Any] = EXPECTED["windows"]
CHUNKS: list[dict[str, Any]] = EXPECTED["chunk_windows"]
METRICS = ("roc_auc", "f1", "accuracy")


def loans(name: str) -> pl.DataFrame:
    """Published scores with labels, by time.

    The published predictions are those of a threshold of 0.65 where a model here has one half, so scores are
    stretched around it; their order and every metric stay what they are.
    """
    frame = pl.read_parquet(CAR_LOAN / f"{name}.parquet")
    if "repaid" not in frame.columns:
        labels = pl.read_parquet(CAR_LOAN / f"labels_{name.removeprefix('current_')}.parquet")
        frame = frame.join(labels, on="id")
    score, middle = pl.col("y_pred_proba"), 0.645
    stretched = pl.when(score < middle).then(score / middle / 2)
    return frame.sort("timestamp").select(
        pl.col("timestamp").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        pl.col("repaid").cast(pl.Int64),
        score=stretched.otherwise(0.5 + (score - middle) / (1 - middle) / 2),
    )


def spec_of(rows: pl.DataFrame) -> ModelSpec:
    """A team's model that passes the published score through; nearly the whole reference judges it."""
    return ModelSpec(
        name="car-loan",
        task="binary",
        source=TimedRows(rows),
        label="repaid",
        features=("score",),
        time_column="timestamp",
        train=train_published,
        metric="roc_auc",
        report=("f1", "accuracy"),
        holdout=TimeHoldout(fraction=0.9995),
    )


@pytest.fixture(scope="module")
def champion() -> FakeRegistry:
    reference = loans("reference")
    registry = FakeRegistry()
    promote_champion(spec_of(reference), registry, reference["timestamp"].max())  # type: ignore[arg-type]  # a time
    return registry


@pytest.fixture(scope="module")
def current() -> dict[str, pl.DataFrame]:
    return {
        name: loans(f"current_{name}") for name in WINDOWS if (CAR_LOAN / f"current_{name}.parquet").exists()
    }


def check_loans(registry: FakeRegistry, rows: pl.DataFrame, **condition: Any) -> Finding:
    end = rows["timestamp"].max()
    assert isinstance(end, datetime)
    return check_performance(spec_of(rows), PerformanceCondition(**condition), registry, end)


def assert_verdicts(
    registry: FakeRegistry, rows: pl.DataFrame, expected: dict[str, Any], metric: str
) -> None:
    """The two tolerances between which the verdict changes decide about all of them."""
    verdicts = {
        float(tolerance): verdict == "fire"
        for tolerance, verdict in expected["verdict_at_relative_tolerance"].items()
    }
    fires = max((tolerance for tolerance, fired in verdicts.items() if fired), default=None)
    quiet = min((tolerance for tolerance, fired in verdicts.items() if not fired), default=None)
    for tolerance in filter(None, (fires, quiet)):
        finding = check_loans(registry, rows, metric=metric, max_drop=tolerance)
        assert finding.breached is (tolerance == fires), finding.reason
        assert finding.score == pytest.approx(expected["current"], abs=6e-6)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("window", ["before", "after"])
def test_car_loan_is_judged_as_expected_at_every_tolerance(
    champion: FakeRegistry, current: dict[str, pl.DataFrame], window: str, metric: str
) -> None:
    assert_verdicts(champion, current[window], WINDOWS[window]["performance"][metric], metric)


def rows_of(chunk: dict[str, Any], current: dict[str, pl.DataFrame]) -> pl.DataFrame:
    name = chunk["file"].removeprefix("current_").removesuffix(".parquet")
    return current[name][slice(*chunk["rows"])]


@pytest.mark.parametrize("chunk", CHUNKS, ids=lambda chunk: f"chunk {chunk['chunk']}")
def test_chunks_of_car_loan_are_judged_as_expected(
    champion: FakeRegistry, current: dict[str, pl.DataFrame], chunk: dict[str, Any]
) -> None:
    for metric in METRICS:
        assert_verdicts(champion, rows_of(chunk, current), chunk["performance"][metric], metric)


@pytest.mark.parametrize("chunk", CHUNKS[::3], ids=lambda chunk: f"chunk {chunk['chunk']}")
def test_estimates_without_labels_are_nannymls(
    champion: FakeRegistry, current: dict[str, pl.DataFrame], chunk: dict[str, Any]
) -> None:
    """Within 0.0005 of what NannyML 0.13.1's CBPE says of the same chunks."""
    rows = rows_of(chunk, current).drop("repaid")
    for metric in METRICS:
        estimated = check_loans(champion, rows, metric=metric, estimate=True)
        assert estimated.score == pytest.approx(chunk["nannyml"]["estimated"][metric], abs=5e-4)


def test_cdnows_churn_champion_gets_better_in_a_year_and_stays_silent() -> None:
    registry = FakeRegistry()
    promote_champion(churn, registry, datetime(1997, 6, 30, tzinfo=UTC))
    as_of = datetime(1998, 6, 30, tzinfo=UTC)  # the labels of 1998-04-01 are complete
    for max_drop in (0.01, 0.05, 0.1):
        finding = check_performance(churn, PerformanceCondition(max_drop=max_drop), registry, as_of)
        assert finding.outcome is Outcome.QUIET
        assert finding.metric is not None
        assert finding.metric.baseline is not None
        assert finding.metric.value > finding.metric.baseline + 0.05


@pytest.mark.parametrize(("metric", "max_drop"), [("mae", 0.05), ("mae", 0.1), ("r2", 0.05)])
def test_cdnows_profitability_champion_gets_worse_in_a_year_and_breaches(
    metric: str, max_drop: float
) -> None:
    registry = FakeRegistry()
    promote_champion(profitability, registry, datetime(1997, 6, 30, tzinfo=UTC))
    condition = PerformanceCondition(metric=metric, max_drop=max_drop)
    a_quarter, a_year = datetime(1997, 9, 30, tzinfo=UTC), datetime(1998, 6, 30, tzinfo=UTC)
    assert check_performance(profitability, condition, registry, a_quarter).outcome is Outcome.QUIET
    assert check_performance(profitability, condition, registry, a_year).outcome is Outcome.BREACHED
