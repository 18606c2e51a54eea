"""The facts of the built-in models on the real data, from 1997 to 1998."""

import subprocess
import sys
from datetime import datetime

import numpy as np
import pytest

from retraining import ModelSpec
from retraining.builtin.boosting import BoostingParameters
from retraining.builtin.churn import churn
from retraining.builtin.profitability import profitability
from retraining.catalog.parameters import parse_parameters
from retraining.errors import EmptyWindow, InvalidParameters
from retraining.sources.training_set import load_training_set
from retraining.training.inputs import features_of
from tests.builtin.jobs import at, compared, parts_of, trained

FIRST, LATER, LAST, TODAY = at(1997, 7), at(1998, 4), at(1998, 7), at(2026, 1)
BOTH = pytest.mark.parametrize("spec", [churn, profitability], ids=lambda spec: spec.name)


def test_retrained_profitability_has_at_least_forty_percent_less_error_than_the_champion_of_1997() -> None:
    """On the snapshot of 1998-04, the last with complete labels."""
    comparison, decision = compared(profitability, LAST, champion_as_of=FIRST)
    assert comparison.champion is not None
    assert comparison.challenger["mae"] <= 0.6 * comparison.champion["mae"]
    assert comparison.challenger["r2"] > 0.2
    assert (decision.promote, decision.outcome) == (True, "better")


def test_retrained_churn_ranks_customers_better_than_the_champion_of_1997() -> None:
    comparison, decision = compared(churn, LATER, champion_as_of=FIRST)
    assert comparison.champion is not None
    assert comparison.improvement is not None
    assert comparison.challenger["roc_auc"] > comparison.champion["roc_auc"]
    assert comparison.improvement.interval.low > 0
    assert (decision.promote, decision.outcome) == (True, "better")


@BOTH
def test_the_newest_labels_make_a_better_version_still(spec: ModelSpec) -> None:
    """A job without `as_of` trains on 1998-04-01, the last snapshot whose labels are known."""
    _, decision = compared(spec, TODAY, champion_as_of=FIRST)
    assert decision.outcome == "better"


def test_three_months_are_too_little_to_tell_churn_versions_apart() -> None:
    _, decision = compared(churn, TODAY, champion_as_of=LATER)
    assert (decision.promote, decision.outcome) == (False, "noise")


def test_profitability_from_shuffled_labels_wins_on_its_metric_and_is_refused_by_the_guard() -> None:
    comparison, decision = compared(profitability, LAST, champion_as_of=FIRST, shuffle_labels=True)
    assert comparison.champion is not None
    assert comparison.challenger["mae"] < comparison.champion["mae"]
    assert (decision.promote, decision.outcome) == (False, "guard")
    assert decision.reason.startswith("r2 -0.0")


def test_churn_from_shuffled_labels_is_refused_as_worse() -> None:
    comparison, decision = compared(churn, LATER, champion_as_of=FIRST, shuffle_labels=True)
    assert comparison.challenger["roc_auc"] == pytest.approx(0.5, abs=0.1)
    assert (decision.promote, decision.outcome) == (False, "worse")


@BOTH
def test_a_replay_of_the_past_does_not_replace_todays_champion(spec: ModelSpec) -> None:
    _, decision = compared(spec, FIRST, champion_as_of=LATER)
    assert decision.outcome == "not_comparable"
    assert "an older replay does not replace it" in decision.reason


@BOTH
def test_a_job_that_is_run_again_is_no_improvement(spec: ModelSpec) -> None:
    _, decision = compared(spec, LATER, champion_as_of=LATER)
    assert decision.outcome == "noise"


@BOTH
def test_no_customer_trains_and_judges(spec: ModelSpec) -> None:
    """Not in one job, nor in two jobs months apart."""
    earlier, later = parts_of(spec, FIRST), parts_of(spec, LATER)
    trains = set(earlier.train["customer_id"]) | set(later.train["customer_id"])
    judges = set(earlier.holdout["customer_id"]) | set(later.holdout["customer_id"])
    assert trains.isdisjoint(judges)
    assert len(trains) + len(judges) == 23_570


@BOTH
@pytest.mark.parametrize("as_of", [at(1997, 2), at(1997, 4), at(1990, 1)])
def test_a_time_before_any_label_is_known_is_a_clear_error(spec: ModelSpec, as_of: datetime) -> None:
    with pytest.raises(
        EmptyWindow, match=r"CDNOW purchases \(packaged with retraining\): no rows in the window"
    ):
        load_training_set(spec, as_of)


@BOTH
def test_the_same_job_gives_the_same_model(spec: ModelSpec) -> None:
    parts = parts_of(spec, FIRST)
    features = features_of(parts.holdout, spec)
    first, again = trained(spec, FIRST), trained.__wrapped__(spec, FIRST)
    assert first is not again
    np.testing.assert_array_equal(first.score(features), again.score(features))


def test_parameters_reach_the_estimator() -> None:
    given = {
        "learning_rate": 0.2,
        "max_iter": 7,
        "max_leaf_nodes": 5,
        "min_samples_leaf": 40,
        "l2_regularization": 1.5,
    }
    model = trained(churn, FIRST, **given).model
    assert {name: model.get_params()[name] for name in given} == given
    assert model.n_iter_ == 7


def test_as_many_trees_are_grown_as_were_asked_for() -> None:
    """No early stopping, which scikit-learn switches on by itself at 10,000 rows."""
    assert parts_of(profitability, FIRST).train.height > 10_000
    assert trained(profitability, FIRST).model.n_iter_ == 100


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"max_iter": 20_001}, "max_iter"),
        ({"max_iter": "many"}, "max_iter"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"max_leaf_nodes": 1}, "max_leaf_nodes"),
        ({"trees": 3}, "trees"),
    ],
)
def test_parameters_out_of_bounds_are_refused_by_name(given: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidParameters) as refused:
        parse_parameters("churn", BoostingParameters, given)
    assert [name for name, _ in refused.value.problems] == [field]


def test_a_catalog_of_the_built_in_models_costs_no_scikit_learn() -> None:
    program = (
        "import sys, retraining.builtin.churn, retraining.builtin.profitability;"
        "print('sklearn' in sys.modules, 'mlflow' in sys.modules, 'prefect' in sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == ["False", "False", "False"]
