import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retraining import Guard, Metric, PromotionPolicy
from retraining.promotion import PromotionDecision, decide_promotion, figures
from retraining.training.bootstrap import Interval, bootstrap_improvement
from retraining.training.metrics import METRICS, find_metric

AUC, MAE = find_metric("roc_auc"), find_metric("mae")
R2_GUARD = PromotionPolicy(guards=(Guard(metric="r2", minimum=0.0),))
MANUAL = PromotionPolicy(approval="manual")
APPROVE = "POST /api/retraining/models/churn/versions/8/promote"


def between(low: float, high: float) -> Interval:
    return Interval(low, high, 0.95)


def decide(
    champion: float | None,
    challenger: float,
    interval: Interval | None = None,
    *,
    metric: Metric = AUC,
    leak_reason: str | None = None,
    **policy: Any,
) -> PromotionDecision:
    return decide_promotion(
        metric=metric,
        policy=PromotionPolicy(**policy),
        challenger={metric.name: challenger},
        champion=None if champion is None else {metric.name: champion},
        interval=interval,
        leak_reason=leak_reason,
        model_name="churn",
        version="8",
    )


@pytest.mark.parametrize(
    ("decision", "promote", "outcome", "reason"),
    [
        (decide(None, 0.7), True, "first_version", "first version, roc_auc 0.700"),
        (
            decide(0.845, 0.812, between(-0.05, -0.01), tolerance=0.005),
            False,
            "worse",
            "roc_auc 0.812 is below the champion's 0.845 (tolerance 0.005)",
        ),
        (
            decide(20.3, 25.1, between(-6, -3), metric=MAE),
            False,
            "worse",
            "mae 25.10 is above the champion's 20.30 (tolerance 0)",
        ),
        (
            decide(0.778, 0.8, between(0.013, 0.029)),
            True,
            "better",
            "roc_auc 0.800 improves on the champion's 0.778 (95% interval of the improvement 0.013 to 0.029)",
        ),
        (
            decide(25.11, 13.76, between(10.66, 12.04), metric=MAE),
            True,
            "better",
            "mae 13.76 improves on the champion's 25.11 (95% interval of the improvement 10.66 to 12.04)",
        ),
        (
            decide(0.749, 0.752, between(-0.003, 0.011)),
            False,
            "noise",
            "roc_auc 0.752 is no clear improvement on the champion's 0.749 "
            "(95% interval of the improvement -0.003 to 0.011)",
        ),
        (
            decide(0.8, 0.8, between(0, 0)),
            False,
            "noise",
            "roc_auc 0.800 is no clear improvement on the champion's 0.800 "
            "(both score the same on every resample of the holdout)",
        ),
        (
            decide(0.8, 0.798, between(-0.004, 0.001), tolerance=0.005),
            False,
            "noise",
            "roc_auc 0.798 is no clear improvement on the champion's 0.800 "
            "(95% interval of the improvement -0.004 to 0.001)",
        ),
        (
            decide(0.8, 0.802, between(0.001, 0.003), minimum_improvement=0.01),
            False,
            "too_small",
            "roc_auc 0.802 improves on the champion's 0.800 by 0.002, "
            "less than the least worth a promotion, 0.010",
        ),
        (
            decide(0.8, 0.798, between(-0.004, 0.001), tolerance=0.005, when_level="promote"),
            True,
            "level",
            "roc_auc 0.798 is level with the champion's 0.800 within the tolerance 0.005 "
            "(95% interval of the improvement -0.004 to 0.001), and the fresher model serves",
        ),
        (
            decide(0.8, 0.798, between(-0.006, 0.001), tolerance=0.005, when_level="promote"),
            False,
            "noise",
            "roc_auc 0.798 is no clear improvement on the champion's 0.800 "
            "(95% interval of the improvement -0.006 to 0.001)",
        ),
        (
            decide(0.8, 0.79, between(-0.012, -0.008), tolerance=0.005, when_level="promote"),
            False,
            "worse",
            "roc_auc 0.790 is below the champion's 0.800 (tolerance 0.005)",
        ),
        (
            decide(0.8, math.nan, None),
            False,
            "undefined",
            "the challenger's roc_auc is not a number; look at its predictions",
        ),
        (
            decide(math.nan, 0.8, None),
            False,
            "not_comparable",
            f"the champion cannot be judged fairly: its roc_auc on this holdout is not a number; {APPROVE} "
            "promotes the challenger all the same",
        ),
        (
            decide(None, 0.8, None, leak_reason="version 3 has seen the holdout"),
            False,
            "not_comparable",
            f"the champion cannot be judged fairly: version 3 has seen the holdout; {APPROVE} "
            "promotes the challenger all the same",
        ),
        (
            decide(None, 0.7, approval="manual"),
            False,
            "approval",
            f"first version, roc_auc 0.700; waits for approval, which {APPROVE} gives",
        ),
        (
            decide(0.778, 0.8, between(0.013, 0.029), approval="manual"),
            False,
            "approval",
            "roc_auc 0.800 improves on the champion's 0.778 (95% interval of the improvement 0.013 to "
            f"0.029); waits for approval, which {APPROVE} gives",
        ),
        (
            decide(0.8, 0.7, between(-0.2, -0.1), approval="manual"),
            False,
            "worse",
            "roc_auc 0.700 is below the champion's 0.800 (tolerance 0)",
        ),
        (
            decide(0.8, 0.9, Interval(-math.inf, math.inf, 0.9)),
            False,
            "noise",
            "roc_auc 0.900 is no clear improvement on the champion's 0.800 "
            "(90% interval of the improvement minus infinity to infinity)",
        ),
    ],
    ids=lambda value: value.outcome if isinstance(value, PromotionDecision) else "",
)
def test_a_decision_gives_its_reason(
    decision: PromotionDecision, promote: bool, outcome: str, reason: str
) -> None:
    assert decision == PromotionDecision(promote, outcome, reason)  # type: ignore[arg-type]  # a plain str


@pytest.mark.parametrize("champion", [None, {"mae": 25.0, "r2": -0.9}])
@pytest.mark.parametrize("leak_reason", [None, "version 3 has seen the holdout"])
def test_a_guard_comes_before_everything_else(
    champion: dict[str, float] | None, leak_reason: str | None
) -> None:
    """A challenger that wins on the primary metric, or is the first, is refused all the same."""
    decision = decide_promotion(
        metric=MAE,
        policy=R2_GUARD,
        challenger={"mae": 20.3, "r2": -0.05},
        champion=champion,
        interval=between(4, 5),
        leak_reason=leak_reason,
    )
    assert decision == PromotionDecision(False, "guard", "r2 -0.050 is below the guard's minimum 0")


@pytest.mark.parametrize(
    ("guard", "value", "refused"),
    [
        (Guard(metric="r2", minimum=0.0), 0.0, None),
        (Guard(metric="r2", minimum=0.0), -0.0004, "r2 -0.0004 is below the guard's minimum 0"),
        (Guard(metric="rmse", maximum=40), 40.0, None),
        (Guard(metric="rmse", maximum=40), 41.234, "rmse 41.23 is above the guard's maximum 40.00"),
        (Guard(metric="rmse", minimum=1, maximum=40), 0.5, "rmse 0.500 is below the guard's minimum 1.000"),
        (
            Guard(metric="r2", minimum=0.0),
            math.nan,
            "the challenger's r2 is not a number; look at its predictions",
        ),
    ],
)
def test_a_guard_keeps_its_bounds(guard: Guard, value: float, refused: str | None) -> None:
    decision = decide_promotion(
        metric=MAE,
        policy=PromotionPolicy(guards=(guard,)),
        challenger={"mae": 20.0, guard.metric: value},
        champion=None,
    )
    assert decision.promote == (refused is None)
    if refused:
        assert decision.reason == refused


def test_a_champion_with_scores_needs_an_interval() -> None:
    with pytest.raises(ValueError, match="needs the interval"):
        decide(0.8, 0.9, None)


@given(
    champion=st.floats(0, 1),
    challenger=st.floats(0, 1),
    spread=st.floats(0, 0.5),
    tolerance=st.floats(0, 0.2),
    least=st.floats(0, 0.2),
    when_level=st.sampled_from(["keep", "promote"]),
    metric=st.sampled_from([AUC, METRICS["brier"]]),
)
def test_nothing_worse_than_the_tolerance_is_ever_promoted(
    champion: float,
    challenger: float,
    spread: float,
    tolerance: float,
    least: float,
    when_level: Any,
    metric: Metric,
) -> None:
    """And what is promoted as better is better, by no less than the least improvement."""
    gain = metric.improvement(champion, challenger)
    interval = Interval(gain - spread, gain + spread, 0.95)
    decision = decide(
        champion,
        challenger,
        interval,
        metric=metric,
        tolerance=tolerance,
        minimum_improvement=least,
        when_level=when_level,
    )
    if decision.promote:
        assert gain >= -tolerance
        assert decision.outcome == "better" or when_level == "promote"
    if decision.outcome == "better":
        assert gain >= least
        assert interval.low > 0
    assert decision.reason[-1] not in ".;,"


def test_versions_of_equal_worth_are_hardly_ever_exchanged() -> None:
    """Two hundred weekly retrainings that learn nothing new: a one-sided 2.5% of them may pass by chance."""
    rng = np.random.default_rng(7)
    promoted = 0
    for week in range(200):
        labels = rng.integers(0, 2, 500).astype(float)
        both = labels + rng.normal(size=500)
        champion, challenger = (1 / (1 + np.exp(-(both + 0.5 * rng.normal(size=500)))) for _ in range(2))
        drawn = bootstrap_improvement(AUC, labels, champion, challenger, resamples=300, seed=week)
        scores = [AUC.compute(labels, champion), AUC.compute(labels, challenger)]
        promoted += decide(scores[0], scores[1], drawn.interval).promote
    assert promoted <= 12  # 5 expected; 12 or more would be a chance of 1 in 200


def test_a_real_gain_is_promoted() -> None:
    """The rule is not just cautious: a challenger with less noise passes nearly always."""
    rng = np.random.default_rng(7)
    promoted = 0
    for week in range(40):
        labels = rng.integers(0, 2, 500).astype(float)
        both = labels + rng.normal(size=500)
        champion, challenger = (both + noise * rng.normal(size=500) for noise in (1.5, 0.2))
        drawn = bootstrap_improvement(AUC, labels, champion, challenger, resamples=300, seed=week)
        scores = [AUC.compute(labels, champion), AUC.compute(labels, challenger)]
        promoted += decide(scores[0], scores[1], drawn.interval).promote
    assert promoted >= 38


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ((0.8123, 0.845), ("0.812", "0.845")),
        ((0.84512, 0.84514), ("0.84512", "0.84514")),
        ((0.8, 0.8), ("0.800", "0.800")),
        ((13.7654, 25.1), ("13.77", "25.10")),
        ((1234567.8, 12.0), ("1,234,568", "12")),
        ((0.0, 0.005), ("0", "0.005")),
        ((-0.0001, 0.2), ("-0.0001", "0.2000")),
        ((-math.inf, 1.0), ("minus infinity", "1.000")),
        ((math.nan, 0.5), ("nan", "0.500")),
    ],
)
def test_figures_have_the_digits_that_tell_them_apart(
    values: tuple[float, ...], shown: tuple[str, ...]
) -> None:
    assert figures(*values) == shown


def test_the_rule_knows_no_vendor() -> None:
    """Importing it costs no Prefect, MLflow, SQL, FastAPI, scikit-learn or pandas."""
    program = "import sys, retraining.promotion; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    vendors = {"prefect", "mlflow", "sqlalchemy", "sqlmodel", "fastapi", "sklearn", "pandas", "evidently"}
    assert vendors.isdisjoint(loaded.stdout.split())
