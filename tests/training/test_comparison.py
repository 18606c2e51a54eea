from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from retraining import EntityHoldout, Guard, ModelSpec, PromotionPolicy, Window
from retraining.errors import RegistryUnavailable, TrainingFailed, UnloadableVersion
from retraining.promotion import PromotionDecision
from retraining.registry.values import ModelVersion, ScoringModel
from retraining.training.bootstrap import bootstrap_improvement
from retraining.training.comparison import compare, comparison_markdown
from retraining.training.holdout import split
from tests.training.comparisons import NOW, by_x, by_x_and_noise, champion_of, compared, spec_of
from tests.training.specs import Scoring, rows, spec_for


def test_a_first_version_is_scored_alone() -> None:
    comparison = compared(spec_of(report=("brier",)), Scoring(by_x))
    assert list(comparison.challenger) == ["roc_auc", "brier"]
    assert comparison.champion is None
    assert comparison.improvement is None
    assert comparison.decide("1").outcome == "first_version"


def test_champion_and_challenger_are_scored_on_the_same_rows() -> None:
    spec = spec_of(promotion=PromotionPolicy(confidence=0.9, resamples=300))
    comparison = compared(spec, Scoring(by_x), Scoring(by_x_and_noise))
    assert comparison.champion is not None
    assert comparison.champion["roc_auc"] < comparison.challenger["roc_auc"]
    assert comparison.improvement is not None
    assert comparison.improvement.interval.confidence == 0.9
    assert len(comparison.improvement.resamples) == 300
    assert comparison.decide("4") == PromotionDecision(True, "better", comparison.decide("4").reason)


def test_a_customers_rows_are_resampled_together() -> None:
    """The holdout has each customer twice, so its interval is the cluster bootstrap's."""
    spec = spec_of()
    comparison = compared(spec, Scoring(by_x), Scoring(by_x_and_noise))
    assert comparison.improvement is not None
    expected = bootstrap_improvement(
        spec.primary_metric,
        comparison.labels,
        by_x_and_noise(_features(spec)),
        by_x(_features(spec)),
        entities=split(rows(), spec).holdout["customer"].to_numpy(),
    )
    assert comparison.improvement.interval == expected.interval


def _features(spec: ModelSpec) -> pd.DataFrame:
    return split(rows(), spec).holdout.select(spec.features).to_pandas()


def test_a_champion_that_saw_the_holdout_is_neither_loaded_nor_scored() -> None:
    spec = spec_of()
    champion = champion_of(spec_for(holdout=EntityHoldout(column="customer", fraction=0.1)))

    def load(of: ModelVersion) -> ScoringModel:
        raise AssertionError("loaded")

    comparison = compare(spec, split(rows(), spec), NOW, Scoring(by_x), champion=champion, load=load)
    assert comparison.champion is None
    assert comparison.decide("4").outcome == "not_comparable"
    assert "another holdout rule" in comparison.decide("4").reason


def test_a_champion_that_cannot_score_todays_columns_is_not_comparable() -> None:
    comparison = compared(spec_of(), Scoring(by_x), Scoring(lambda features: by_x(features[["gone"]])))
    decision = comparison.decide("4")
    assert decision.outcome == "not_comparable"
    assert "version 3 cannot score this holdout (KeyError: " in decision.reason
    assert "POST /api/retraining/models/tested/versions/4/promote" in decision.reason


def test_a_champion_that_cannot_be_loaded_is_not_comparable() -> None:
    spec = spec_of()

    def load(of: ModelVersion) -> ScoringModel:
        raise UnloadableVersion("tested", of.version, "its files are gone")

    comparison = compare(spec, split(rows(), spec), NOW, Scoring(by_x), champion=champion_of(spec), load=load)
    assert comparison.decide("4").outcome == "not_comparable"


def test_a_registry_that_does_not_answer_is_no_verdict_on_the_champion() -> None:
    """The step is tried again rather than the champion called incomparable."""
    spec = spec_of()

    def load(of: ModelVersion) -> ScoringModel:
        raise RegistryUnavailable("load a version")

    with pytest.raises(RegistryUnavailable):
        compare(spec, split(rows(), spec), NOW, Scoring(by_x), champion=champion_of(spec), load=load)


def test_a_champion_that_predicts_no_numbers_is_not_comparable() -> None:
    comparison = compared(spec_of(), Scoring(by_x), Scoring(lambda features: np.full(len(features), np.nan)))
    assert comparison.improvement is None
    assert comparison.decide("4").outcome == "not_comparable"


def test_a_challenger_that_predicts_no_numbers_is_refused() -> None:
    comparison = compared(spec_of(), Scoring(lambda features: np.full(len(features), np.nan)), Scoring(by_x))
    assert comparison.decide("4").outcome == "undefined"


def test_a_challenger_that_cannot_score_fails_the_job() -> None:
    with pytest.raises(TrainingFailed, match="scoring of 'tested' failed: KeyError: 'gone'"):
        compared(spec_of(), Scoring(lambda features: features["gone"]))


def test_guards_of_the_specification_are_kept() -> None:
    policy = PromotionPolicy(guards=(Guard(metric="brier", maximum=0.01),))
    comparison = compared(spec_of(promotion=policy), Scoring(by_x))
    assert comparison.decide("1").outcome == "guard"


def test_the_page_tells_the_decision_the_scores_and_the_data() -> None:
    spec = spec_of(report=("brier",))
    comparison = compared(spec, Scoring(by_x), Scoring(by_x_and_noise))
    moment, sha = datetime(2024, 2, 1, tzinfo=UTC), "SHA-256 `abababababab`"
    page = comparison_markdown(
        comparison, comparison.decide("4"), version="4", window=Window(None, moment), as_of=moment
    )
    assert page.startswith("## tested: version 4 is promoted\n\nReason: roc_auc 0.")
    for line in (
        "| Metric | Champion (version 3) | Challenger (version 4) | Improvement |",
        "| As of | 2024-02-01 00:00 UTC |",
        "| Window | (the beginning, 2024-02-01 00:00] UTC |",
        "| Source | rows of a test |",
        f"| Challenger trained on | 100 rows of 2024-01-01 00:00 to 2024-01-11 00:00 UTC, {sha} |",
        f"| Champion trained on | 100 rows of 2024-01-01 00:00 to 2024-01-06 00:00 UTC, {sha} |",
        f"| Holdout | {comparison.parts.description} |",
    ):
        assert line in page.splitlines()
    assert any(line.startswith("| **roc_auc** (higher is better) | 0.") for line in page.splitlines())
    assert any(line.startswith("| brier (lower is better) | 0.") for line in page.splitlines())
    assert "(1,000 paired bootstrap resamples of the holdout)" in page


def test_versions_that_predict_alike_are_said_to_score_the_same() -> None:
    comparison = compared(spec_of(), Scoring(by_x), Scoring(by_x))
    decision = comparison.decide("4")
    page = comparison_markdown(comparison, decision, version="4")
    assert decision.outcome == "noise"
    assert decision.reason.endswith("(both score the same on every resample of the holdout)")
    assert "\nBoth versions score the same on every resample of the holdout.\n" in page
    assert "0 to 0" not in page


def test_the_page_of_a_first_version_has_one_column_of_scores() -> None:
    comparison = compared(spec_of(), Scoring(by_x))
    page = comparison_markdown(comparison, comparison.decide("1"), version="1")
    assert "| Metric | Challenger (version 1) |" in page.splitlines()
    assert "Champion" not in page
    assert "bootstrap" not in page


def test_the_page_of_a_champion_that_was_not_judged_says_why() -> None:
    comparison = compared(spec_of(), Scoring(by_x), Scoring(by_x), classes=(0, 2))
    page = comparison_markdown(comparison, comparison.decide("4"), version="4")
    assert page.startswith(
        "## tested: version 4 is not promoted\n\nReason: the champion cannot be judged fairly: "
    )
