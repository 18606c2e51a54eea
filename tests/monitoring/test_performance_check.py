"""The check of a champion on labelled rows, and on rows whose labels are still to come."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from retraining import EntityHoldout, ModelSpec, TimeHoldout, TrainingInput, Window
from retraining.errors import RegistryUnavailable, SourceUnreachable, UnloadableVersion
from retraining.monitoring.performance_check import check_performance
from retraining.registry.values import ModelVersion, ScoringModel
from retraining.training.metrics import Metric
from retraining.triggers.condition import PerformanceCondition
from retraining.triggers.evaluation import Outcome
from tests.monitoring.scored_champions import (
    TimedRows,
    promote_champion,
    train_published,
    train_published_values,
)
from tests.registry.fake import FakeRegistry

START = datetime(2024, 1, 1, tzinfo=UTC)
TRAINED_AT = START + timedelta(days=100)
NOW = START + timedelta(days=200)


def rows(
    count: int = 4_000,
    *,
    flipped_after: float = 0.0,
    seed: int = 1,
    labelled_until: datetime | None = None,
) -> pl.DataFrame:
    """Rows over 200 days whose score is the probability of their label; later, some labels are turned."""
    rng = np.random.default_rng(seed)
    at = [START + timedelta(days=200) * (index + 1) / count for index in range(count)]
    score = rng.beta(0.6, 0.6, count)
    label = rng.random(count) < score
    late = np.array([moment > TRAINED_AT for moment in at])
    label = np.where(late & (rng.random(count) < flipped_after), ~label, label)
    known = [labelled_until is None or moment <= labelled_until for moment in at]
    return pl.DataFrame(
        {
            "at": at,
            "customer": rng.integers(0, count // 4, count),
            "score": score,
            "label": [int(one) if there else None for one, there in zip(label, known, strict=True)],
        },
        schema_overrides={"at": pl.Datetime("us", "UTC")},
    )


def spec_of(frame: pl.DataFrame, **given: Any) -> ModelSpec:
    defaults: dict[str, Any] = {
        "name": "scored",
        "task": "binary",
        "source": TimedRows(frame),
        "label": "label",
        "features": ("score",),
        "time_column": "at",
        "train": train_published,
        "metric": "roc_auc",
        "report": ("accuracy", "log_loss"),
        "holdout": TimeHoldout(fraction=0.5),
    }
    return ModelSpec(**{**defaults, **given})


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


def check(spec: ModelSpec, registry: FakeRegistry, as_of: datetime = NOW, **condition: Any) -> Any:
    return check_performance(spec, PerformanceCondition(**condition), registry, as_of)


def test_without_champion_there_is_nothing_to_judge(registry: FakeRegistry) -> None:
    finding = check(spec_of(rows()), registry)
    assert finding.outcome is Outcome.NOT_JUDGED
    assert "no champion yet" in finding.reason


@pytest.mark.parametrize("metric", ["roc_auc", "accuracy", "log_loss", "f1", "brier", "average_precision"])
def test_a_champion_as_good_as_ever_is_quiet_and_a_worse_one_breaches(
    registry: FakeRegistry, metric: str
) -> None:
    """f1, brier and average precision were never logged: their baseline comes from the kept holdout."""
    promote_champion(spec_of(rows()), registry, TRAINED_AT)
    quiet = check(spec_of(rows()), registry, metric=metric)
    breached = check(spec_of(rows(flipped_after=0.3)), registry, metric=metric)
    assert (quiet.outcome, breached.outcome) == (Outcome.QUIET, Outcome.BREACHED)
    score = breached.metric
    assert score.labels == 2_000
    assert score.low < score.value < score.high
    assert not score.estimated
    assert (breached.score, breached.threshold) == (score.value, score.limit)
    assert (breached.window_start, breached.window_end) == (TRAINED_AT, NOW)


def test_an_improvement_never_breaches(registry: FakeRegistry) -> None:
    worse_first = rows(flipped_after=0.3).with_columns(pl.col("at").reverse()).sort("at")
    promote_champion(spec_of(worse_first), registry, TRAINED_AT)
    for metric in ("roc_auc", "log_loss"):
        finding = check(spec_of(worse_first), registry, metric=metric, max_drop=1e-6)
        assert finding.outcome is Outcome.QUIET
        assert "no worse than" in finding.reason


def test_a_threshold_is_the_limit(registry: FakeRegistry) -> None:
    promote_champion(spec_of(rows()), registry, TRAINED_AT)
    worse = spec_of(rows(flipped_after=0.1))
    value = check(worse, registry).metric.value
    assert check(worse, registry, threshold=value + 0.01).outcome is Outcome.BREACHED
    assert check(worse, registry, threshold=value - 0.01).outcome is Outcome.QUIET


def test_the_window_ends_where_labels_are_complete(registry: FakeRegistry) -> None:
    spec = spec_of(rows(), label_delay=timedelta(days=20))
    promote_champion(spec, registry, TRAINED_AT)
    finding = check(spec, registry)
    assert finding.window_end == NOW - timedelta(days=20)
    assert finding.metric.labels == 2_000  # from day 80, where the training set ended, to day 180
    assert check(spec, registry, label_delay="0d").window_end == NOW


def test_rows_without_label_do_not_count(registry: FakeRegistry) -> None:
    promote_champion(spec_of(rows()), registry, TRAINED_AT)
    half = spec_of(rows(labelled_until=TRAINED_AT + timedelta(days=50)))
    assert check(half, registry).metric.labels == 1_000
    none = check(spec_of(rows(labelled_until=TRAINED_AT + timedelta(days=2))), registry)
    assert none.outcome is Outcome.NOT_JUDGED
    assert "40 labelled rows in" in none.reason
    assert "needs 100, 1,960 more have no label yet" in none.reason


def test_few_labels_are_judged_if_that_is_wanted_and_do_not_fire_by_chance(registry: FakeRegistry) -> None:
    promote_champion(spec_of(rows()), registry, TRAINED_AT)
    worst: list[float] = []
    for day in range(1, 99, 3):
        finding = check(
            spec_of(rows()), registry, TRAINED_AT + timedelta(days=day + 2), window="2d", min_labels=40
        )
        assert finding.outcome is Outcome.QUIET
        worst.append(finding.metric.value - finding.metric.limit)
    assert min(worst) < 0  # some were beyond the limit


def test_the_champions_own_rows_never_count(registry: FakeRegistry) -> None:
    """Neither those that trained it nor its holdout, whatever window is asked for."""
    promote_champion(spec_of(rows()), registry, TRAINED_AT)
    finding = check(spec_of(rows()), registry, window="150d")
    assert finding.window_start == TRAINED_AT
    assert "cut to the rows after the champion's own (2024-04-10 00:00 UTC)" in finding.reason
    assert check(spec_of(rows()), registry, window="30d").window_start == NOW - timedelta(days=30)


def test_right_after_training_there_is_nothing_to_judge(registry: FakeRegistry) -> None:
    spec = spec_of(rows(), label_delay=timedelta(days=20))
    promote_champion(spec, registry, TRAINED_AT)
    finding = check(spec, registry, TRAINED_AT)
    assert finding.outcome is Outcome.NOT_JUDGED
    assert "labels are complete until 2024-03-21 00:00 UTC" in finding.reason


def test_a_version_that_keeps_no_holdout_has_its_logged_metrics(registry: FakeRegistry) -> None:
    promote_champion(spec_of(rows()), registry, TRAINED_AT, files=False)
    worse = spec_of(rows(flipped_after=0.3))
    assert check(worse, registry).outcome is Outcome.BREACHED
    unknown = check(worse, registry, metric="f1")
    assert unknown.outcome is Outcome.NOT_JUDGED
    assert "keeps neither its f1 on a holdout" in unknown.reason
    assert check(worse, registry, metric="f1", threshold=0.99).outcome is Outcome.BREACHED
    assert "an estimate without labels needs 100" in check(worse, registry, estimate=True).reason


def test_a_damaged_record_of_the_holdout_counts_as_none(registry: FakeRegistry) -> None:
    promote_champion(
        spec_of(rows()), registry, TRAINED_AT, files={"performance_reference.parquet": b"PAR1 cut off"}
    )
    assert check(spec_of(rows(flipped_after=0.3)), registry).outcome is Outcome.BREACHED


def test_a_champion_from_outside_needs_a_window_and_says_what_is_not_known(registry: FakeRegistry) -> None:
    version = promote_champion(spec_of(rows()), registry, TRAINED_AT, files=False)
    outside = replace(version, fingerprint=None, holdout=None)

    class Outside(FakeRegistry):
        def find_champion(self, model_name: str) -> ModelVersion | None:
            return outside

        def load(self, version: ModelVersion) -> ScoringModel:
            return registry.load(version)

    assert "give the condition a window" in check(spec_of(rows()), Outside()).reason
    finding = check(spec_of(rows(flipped_after=0.3)), Outside(), window="60d")
    assert finding.outcome is Outcome.BREACHED
    assert finding.reason.endswith("nobody knows which rows trained it")


def test_held_out_entities_alone_are_judged(registry: FakeRegistry) -> None:
    """A champion that knows the answer for customers it trained on is no better for it."""
    holdout = EntityHoldout(column="customer", fraction=0.4)
    spec = spec_of(rows(), holdout=holdout)
    promote_champion(spec, registry, TRAINED_AT)
    finding = check(spec, registry)
    assert finding.rows == 2_000
    assert 600 < finding.metric.labels < 1_000
    assert "labelled rows of held-out customer" in check(spec, registry, min_labels=1_500).reason


def test_rows_of_one_entity_count_as_one(registry: FakeRegistry) -> None:
    """Ten copies of every row make no interval narrower."""
    frame = rows(1_000).with_columns(customer=pl.int_range(pl.len()))
    holdout = EntityHoldout(column="customer", fraction=0.5)
    promote_champion(spec_of(frame, holdout=holdout), registry, TRAINED_AT)
    once = check(spec_of(frame, holdout=holdout), registry).metric
    tenfold = pl.concat([frame] * 10).sort("at")
    copied = check(spec_of(tenfold, holdout=holdout), registry).metric
    assert copied.high - copied.low == pytest.approx(once.high - once.low, rel=0.15)


@pytest.mark.parametrize("estimate", [False, True])
def test_a_champion_that_does_not_load_is_a_failed_check(registry: FakeRegistry, estimate: bool) -> None:
    promote_champion(spec_of(rows()), registry, TRAINED_AT)

    class Broken(FakeRegistry):
        find_champion = registry.find_champion  # type: ignore[assignment]  # of that very registry
        read_file = registry.read_file  # type: ignore[assignment]

        def load(self, version: ModelVersion) -> ScoringModel:
            raise UnloadableVersion(version.model_name, version.version, "its files were changed")

    finding = check(spec_of(rows()), Broken(), estimate=estimate)
    assert finding.outcome is Outcome.FAILED
    assert finding.reason == "version 1 of 'scored' cannot be loaded: its files were changed"
    assert finding.champion_version == "1"


def test_columns_that_are_gone_are_a_failed_check(registry: FakeRegistry) -> None:
    promote_champion(spec_of(rows()), registry, TRAINED_AT)
    finding = check(spec_of(rows().rename({"score": "points"})), registry)
    assert finding.outcome is Outcome.FAILED
    assert "score" in finding.reason


def test_a_metric_of_another_task_is_refused(registry: FakeRegistry) -> None:
    promote_champion(spec_of(rows()), registry, TRAINED_AT)
    finding = check(spec_of(rows()), registry, metric="mae")
    assert finding.outcome is Outcome.FAILED
    assert "'mae' does not fit the task; for binary models: accuracy, average_precision" in finding.reason


def test_what_does_not_answer_is_raised_so_that_it_is_tried_again(registry: FakeRegistry) -> None:
    @dataclass(frozen=True)
    class Unreachable(TimedRows):
        def read(self, window: Window, *, time_column: str, columns: Sequence[str]) -> pl.DataFrame:
            raise SourceUnreachable(self.describe(), "does not answer")

    promote_champion(spec_of(rows()), registry, TRAINED_AT)
    with pytest.raises(SourceUnreachable):
        check(spec_of(rows(), source=Unreachable(rows())), registry)
    registry.down = True
    with pytest.raises(RegistryUnavailable):
        check(spec_of(rows()), registry)


def test_an_undefined_metric_is_not_judged(registry: FakeRegistry) -> None:
    promote_champion(spec_of(rows()), registry, TRAINED_AT)
    one_class = rows().with_columns(
        label=pl.when(pl.col("at") > TRAINED_AT).then(1).otherwise(pl.col("label"))
    )
    finding = check(spec_of(one_class), registry)
    assert finding.outcome is Outcome.NOT_JUDGED
    assert "roc_auc is not defined on the 2,000 rows" in finding.reason


def test_a_third_class_in_a_binary_label_is_a_failed_check(registry: FakeRegistry) -> None:
    promote_champion(spec_of(rows()), registry, TRAINED_AT)
    third = rows().with_columns(
        label=pl.when(pl.col("at") > NOW - timedelta(days=9)).then(2).otherwise("label")
    )
    finding = check(spec_of(third), registry)
    assert finding.outcome is Outcome.FAILED
    assert "has classes that the champion does not know (2)" in finding.reason


def test_a_teams_own_metric_is_judged(registry: FakeRegistry) -> None:
    """Without `per_row` and `weighted`, from the computation alone."""
    caught = Metric(
        "caught", "maximize", ("binary",), lambda labels, scores: float((scores[labels == 1] > 0.5).mean())
    )
    spec = spec_of(rows(), metric=caught)
    promote_champion(spec, registry, TRAINED_AT)
    assert check(spec, registry).outcome is Outcome.QUIET
    assert check(spec_of(rows(flipped_after=0.3), metric=caught), registry).outcome is Outcome.BREACHED
    estimated = check(spec, registry, estimate=True).metric
    assert estimated.value == pytest.approx(check(spec, registry).metric.value, abs=0.03)


def three_classes(*, unseen_after: float = 0.0, count: int = 4_000) -> pl.DataFrame:
    """Rows whose three scores are the probabilities of their label; later some are of a fourth class."""
    rng = np.random.default_rng(3)
    scores = rng.dirichlet([0.5, 0.5, 0.5], count)
    label = (rng.random((count, 1)) > np.cumsum(scores, axis=1)).sum(axis=1).clip(max=2)
    frame = rows(count).select("at", "customer")
    late = (frame["at"] > TRAINED_AT).to_numpy() & (rng.random(count) < unseen_after)
    names = np.array(["apple", "birch", "cedar", "daisy"])
    return frame.with_columns(
        a=scores[:, 0], b=scores[:, 1], c=scores[:, 2], label=pl.Series(names[np.where(late, 3, label)])
    )


def multiclass(frame: pl.DataFrame) -> ModelSpec:
    return spec_of(
        frame,
        task="multiclass",
        features=("a", "b", "c"),
        metric="accuracy_multiclass",
        report=("f1_macro", "roc_auc_ovr", "log_loss_multiclass"),
    )


@pytest.mark.parametrize("metric", ["accuracy_multiclass", "f1_macro", "roc_auc_ovr", "log_loss_multiclass"])
def test_rows_of_a_class_never_seen_count_as_wrong(registry: FakeRegistry, metric: str) -> None:
    promote_champion(multiclass(three_classes()), registry, TRAINED_AT)
    same = check(multiclass(three_classes()), registry, metric=metric)
    assert same.outcome is Outcome.QUIET
    new = check(multiclass(three_classes(unseen_after=0.2)), registry, metric=metric)
    assert new.outcome is Outcome.BREACHED
    assert "rows of classes that the champion never saw (daisy) count as wrong" in new.reason


def values(*, worse: float = 0.0, farther: float = 0.0, count: int = 6_000) -> pl.DataFrame:
    """Rows whose errors grow with `spread`, which grows later by `farther`; `worse` is not explained."""
    rng = np.random.default_rng(5)
    frame = rows(count).select("at", "customer")
    late = (frame["at"] > TRAINED_AT).to_numpy()
    spread = rng.uniform(0.5, 1.5, count) + np.where(late, farther * rng.random(count), 0)
    predicted = 10 * rng.normal(size=count)
    error = spread * rng.normal(size=count) * np.where(late, 1 + worse, 1)
    return frame.with_columns(
        predicted=predicted,
        spread=spread,
        kind=pl.Series(np.where(spread > 1, "wide", "narrow")),
        label=predicted + error,
    )


def regression(frame: pl.DataFrame, **given: Any) -> ModelSpec:
    return spec_of(
        frame,
        **{
            "task": "regression",
            "features": ("predicted", "spread", "kind"),
            "train": train_published_values,
            "metric": "mae",
            "report": ("rmse", "r2"),
            **given,
        },
    )


@pytest.mark.parametrize("metric", ["mae", "rmse", "median_absolute_error"])
def test_a_regression_with_larger_errors_breaches(registry: FakeRegistry, metric: str) -> None:
    promote_champion(regression(values()), registry, TRAINED_AT)
    assert check(regression(values()), registry, metric=metric).outcome is Outcome.QUIET
    worse = check(regression(values(worse=0.3)), registry, metric=metric)
    assert worse.outcome is Outcome.BREACHED
    assert worse.metric.limit == pytest.approx(1.05 * worse.metric.baseline)


def test_an_r2_below_zero_has_a_limit_below_it(registry: FakeRegistry) -> None:
    """A model that explains nothing: it predicts its own noise."""
    features = ("spread", "predicted", "kind")
    promote_champion(regression(values(), features=features, metric="r2"), registry, TRAINED_AT)
    spec = regression(values(farther=40.0), features=features, metric="r2")
    finding = check(spec, registry)
    assert finding.metric.baseline < 0
    assert finding.metric.limit == pytest.approx(1.05 * finding.metric.baseline)
    assert finding.outcome is Outcome.BREACHED


class TestEstimated:
    """Without labels: covariate shift is seen, concept drift is not, and what cannot be had is refused."""

    def test_it_needs_no_labels_and_looks_at_rows_until_now(self, registry: FakeRegistry) -> None:
        spec = spec_of(rows(), label_delay=timedelta(days=20))
        promote_champion(spec, registry, TRAINED_AT)
        unlabelled = spec_of(rows(labelled_until=TRAINED_AT), label_delay=timedelta(days=20))
        finding = check(unlabelled, registry, estimate=True)
        assert finding.outcome is Outcome.QUIET
        assert finding.window_end == NOW
        assert finding.metric.estimated
        assert finding.metric.labels == 2_400
        assert finding.reason.endswith("estimated without labels")

    @pytest.mark.parametrize(
        "metric", ["roc_auc", "accuracy", "f1", "log_loss", "brier", "average_precision"]
    )
    def test_it_is_near_what_the_labels_show(self, registry: FakeRegistry, metric: str) -> None:
        promote_champion(spec_of(rows()), registry, TRAINED_AT)
        measured = check(spec_of(rows()), registry, metric=metric).metric
        estimated = check(spec_of(rows()), registry, metric=metric, estimate=True).metric
        assert estimated.low <= measured.value <= estimated.high
        assert estimated.value == pytest.approx(measured.value, abs=0.03)

    def test_more_doubtful_rows_breach(self, registry: FakeRegistry) -> None:
        promote_champion(spec_of(rows()), registry, TRAINED_AT)
        doubtful = rows().with_columns(
            score=pl.when(pl.col("at") > TRAINED_AT)
            .then(0.5 + (pl.col("score") - 0.5) / 4)
            .otherwise("score")
        )
        finding = check(spec_of(doubtful), registry, metric="accuracy", estimate=True)
        assert finding.outcome is Outcome.BREACHED

    def test_concept_drift_is_not_seen(self, registry: FakeRegistry) -> None:
        promote_champion(spec_of(rows()), registry, TRAINED_AT)
        turned = spec_of(rows(flipped_after=0.3))
        assert check(turned, registry).outcome is Outcome.BREACHED
        assert check(turned, registry, estimate=True).outcome is Outcome.QUIET

    @pytest.mark.parametrize(
        "metric", ["accuracy_multiclass", "f1_macro", "roc_auc_ovr", "log_loss_multiclass"]
    )
    def test_of_several_classes_it_is_near_what_the_labels_show(
        self, registry: FakeRegistry, metric: str
    ) -> None:
        spec = multiclass(three_classes())
        promote_champion(spec, registry, TRAINED_AT)
        measured = check(spec, registry, metric=metric).metric
        estimated = check(spec, registry, metric=metric, estimate=True).metric
        assert estimated.low <= measured.value <= estimated.high
        assert estimated.value == pytest.approx(measured.value, rel=0.05)

    @pytest.mark.parametrize("metric", ["mae", "rmse"])
    def test_of_a_regression_it_learns_where_errors_are_large(
        self, registry: FakeRegistry, metric: str
    ) -> None:
        promote_champion(regression(values()), registry, TRAINED_AT)
        same = check(regression(values()), registry, metric=metric, estimate=True)
        assert same.outcome is Outcome.QUIET
        measured = check(regression(values()), registry, metric=metric).metric.value
        assert same.metric.low <= measured <= same.metric.high
        farther = values(farther=0.5).filter(pl.col("spread") < 1.5)
        shifted = farther.filter((pl.col("at") <= TRAINED_AT) | (pl.col("spread") > 1))
        finding = check(regression(shifted), registry, metric=metric, estimate=True)
        assert finding.outcome is Outcome.BREACHED
        assert finding.metric.value == pytest.approx(
            check(regression(shifted), registry, metric=metric).metric.value, rel=0.05
        )


def test_a_model_that_scores_nonsense_is_a_failed_check(registry: FakeRegistry) -> None:
    promote_champion(spec_of(rows()), registry, TRAINED_AT)
    broken = rows().with_columns(
        score=pl.when(pl.col("at") > NOW - timedelta(days=1)).then(None).otherwise("score")
    )
    finding = check(spec_of(broken), registry)
    assert finding.outcome is Outcome.FAILED
    assert "20 rows get a score that is no number" in finding.reason


def test_the_same_check_gives_the_same_finding(registry: FakeRegistry) -> None:
    promote_champion(spec_of(rows()), registry, TRAINED_AT)
    for estimate in (False, True):
        first, again = (check(spec_of(rows()), registry, estimate=estimate) for _ in range(2))
        assert first == again


def test_training_sees_nothing_of_the_check(registry: FakeRegistry) -> None:
    """The model of these tests passes its input through, whatever it was trained on."""
    given = TrainingInput(pl.DataFrame({"s": [0.5]}).to_pandas(), pl.Series([1]).to_pandas(), None, print)
    assert train_published(given).predict_proba(given.features).tolist() == [[0.5, 0.5]]
