"""The drift check through a specification alone: published data with default settings, and refusals."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from retraining.builtin.churn import churn
from retraining.catalog.policy import EntityHoldout
from retraining.catalog.spec import ModelSpec
from retraining.errors import InvalidDriftProfile, MissingColumns
from retraining.monitoring.drift_check import check_drift
from retraining.sources.parquet import ParquetSource
from retraining.sources.window import Window
from retraining.triggers.condition import DriftCondition
from retraining.triggers.evaluation import Finding, Outcome
from tests.monitoring import car_loans
from tests.monitoring.car_loans import CAR_LOAN, END, MISSING, REFERENCE_END
from tests.monitoring.champions import crown
from tests.registry.fake import FakeRegistry

DAY = datetime(2026, 1, 1, tzinfo=UTC)


def flagged(finding: Finding) -> set[str]:
    return {column.column for column in finding.columns if column.drifted}


@pytest.mark.parametrize("window", ["before", "after"])
def test_car_loans_are_judged_as_expected(tmp_path: Path, window: car_loans.Window) -> None:
    expected = CAR_LOAN["windows"][window]
    spec, registry = car_loans.car_loans(tmp_path, window), FakeRegistry()
    crown(registry, spec, REFERENCE_END)

    finding = check_drift(spec, DriftCondition(), registry, END[window])

    fires = expected["drift_trigger"] == "fire"
    assert finding.outcome is (Outcome.BREACHED if fires else Outcome.QUIET)
    assert flagged(finding) == set(expected["columns_must_be_flagged"])
    assert finding.rows == expected["rows"]
    assert finding.champion_version == "1"
    assert finding.threshold == 0.5
    assert [column.drifted for column in finding.columns] == sorted(
        (column.drifted for column in finding.columns), reverse=True
    )
    if fires:
        assert finding.columns[0].column == "car_value"
        assert "car_value: wasserstein 0.939 reaches 0.1" in finding.reason


@pytest.mark.parametrize("window", ["before", "after"])
def test_car_loans_with_missing_values_are_judged_as_expected(
    tmp_path: Path, window: car_loans.Window
) -> None:
    spec, registry = car_loans.car_loans_with_missing_values(tmp_path, window), FakeRegistry()
    crown(registry, spec, REFERENCE_END)

    finding = check_drift(spec, DriftCondition(), registry, END[window])

    assert finding.breached is (MISSING["missing_share"][window] == "fire")
    if window == "after":
        reasons = {column.column: column.reason for column in finding.columns}
        for column in MISSING["columns_must_be_flagged_after"]:
            assert reasons[column].startswith("missing values rose from 10.0% to 22.0%")
        assert "missing values rose from 10.0% to 22.0%" in finding.reason
    else:
        assert flagged(finding) == set()


def test_cdnow_drifts_in_a_quarter() -> None:
    registry = FakeRegistry()
    crown(registry, churn, datetime(1997, 6, 30, tzinfo=UTC))

    finding = check_drift(
        churn, DriftCondition(window=timedelta(days=1)), registry, datetime(1997, 7, 1, tzinfo=UTC)
    )

    assert finding.breached
    assert len(flagged(finding)) == 10
    since_training = check_drift(churn, DriftCondition(), registry, datetime(1997, 7, 1, tzinfo=UTC))
    assert since_training.breached
    assert since_training.window_start == datetime(1997, 4, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Halves:
    """One snapshot of CDNOW's customers, half of whom are there a day later only."""

    seed: int

    def read(self, window: Window, *, time_column: str, columns: Sequence[str]) -> pl.DataFrame:
        at = datetime(1997, 4, 1, tzinfo=UTC)
        wanted = [*dict.fromkeys((*columns, "customer_id"))]
        customers = churn.source.read(
            Window(at - timedelta(days=1), at), time_column=time_column, columns=wanted
        )
        later = np.random.default_rng(self.seed).random(customers.height) < 0.5
        moment = pl.col(time_column)
        moved = customers.with_columns(
            pl.when(pl.Series(later)).then(moment + timedelta(days=1)).otherwise(moment).alias(time_column)
        )
        inside = moment <= window.end
        if window.start is not None:
            inside &= moment > window.start
        return moved.filter(inside).select(columns)

    def describe(self) -> str:
        return "halves of a snapshot"


@pytest.mark.parametrize("seed", range(3))
def test_random_halves_of_a_snapshot_of_cdnow_do_not_drift(seed: int) -> None:
    spec = churn.model_copy(update={"source": Halves(seed), "label_delay": timedelta(0)})
    registry = FakeRegistry()
    crown(registry, spec, datetime(1997, 4, 1, tzinfo=UTC))

    finding = check_drift(spec, DriftCondition(), registry, datetime(1997, 4, 2, tzinfo=UTC))

    assert finding.outcome is Outcome.QUIET
    assert flagged(finding) == set()
    assert finding.rows is not None
    assert finding.rows > 5_000


def table(rows: int = 2_000, *, shift: float = 0.0) -> pl.DataFrame:
    """A row an hour; the second half moves by `shift`."""
    rng = np.random.default_rng(3)
    late = np.arange(rows) >= rows // 2
    return pl.DataFrame(
        {
            "at": [DAY + timedelta(hours=hour) for hour in range(1, rows + 1)],
            "number": np.arange(10_000, 10_000 + rows),
            "code": [f"order {row}" for row in range(rows)],
            "zip": rng.integers(10_000, 99_999, rows),
            "product": rng.choice([f"product {n}" for n in range(400)], rows),
            "x": rng.normal(size=rows) + shift * late,
            "z": rng.normal(size=rows) + shift * late,
            "y": rng.normal(size=rows),
        }
    )


HALF = DAY + timedelta(hours=1_000)
END_OF_TABLE = DAY + timedelta(hours=2_000)


def spec_over(folder: Path, frame: pl.DataFrame, features: tuple[str, ...] = ("x", "z")) -> ModelSpec:
    frame.write_parquet(folder / "rows.parquet")
    return ModelSpec(
        name="tested",
        task="regression",
        source=ParquetSource(folder),
        label="y",
        features=features,
        time_column="at",
        holdout=EntityHoldout(column="number"),
        metric="mae",
        estimator=lambda parameters: None,
    )


def test_identifiers_and_codes_make_no_false_alarm(tmp_path: Path) -> None:
    """They are never the same again; what counts is the share of the columns that can be compared."""
    features = ("number", "code", "zip", "product", "x")
    spec, registry = spec_over(tmp_path, table(), features), FakeRegistry()
    crown(registry, spec, HALF)

    finding = check_drift(spec, DriftCondition(drift_share=0.01), registry, END_OF_TABLE)

    assert finding.outcome is Outcome.QUIET
    reasons = {column.column: column.reason for column in finding.columns}
    assert reasons.keys() == set(features)
    assert reasons["number"] == "not compared: counts on with time, as identifiers and clocks do"
    assert reasons["code"].startswith("not compared: names single things")


def test_a_condition_that_asks_for_identifiers_alone_is_not_judged(tmp_path: Path) -> None:
    spec, registry = spec_over(tmp_path, table(), ("number", "x")), FakeRegistry()
    crown(registry, spec, HALF)

    finding = check_drift(spec, DriftCondition(columns=("number",)), registry, END_OF_TABLE)

    assert finding.outcome is Outcome.NOT_JUDGED
    assert finding.reason.startswith("no column can be compared: number counts on with time")


def test_chosen_columns_decide_and_one_is_enough(tmp_path: Path) -> None:
    frame = table(shift=1).with_columns(z=pl.Series(np.random.default_rng(9).normal(size=2_000)))
    spec, registry = spec_over(tmp_path, frame, ("x", "z", "zip")), FakeRegistry()
    crown(registry, spec, HALF)
    for columns, drift_share, outcome, threshold in (
        (None, None, Outcome.QUIET, 0.5),
        (("x", "z"), None, Outcome.BREACHED, 0.5),
        (("z",), None, Outcome.QUIET, 1.0),
        (None, 0.3, Outcome.BREACHED, 0.3),
    ):
        condition = DriftCondition(columns=columns, drift_share=drift_share)
        finding = check_drift(spec, condition, registry, END_OF_TABLE)
        assert (finding.outcome, finding.threshold) == (outcome, threshold)


def test_a_condition_names_columns_that_there_are(tmp_path: Path) -> None:
    spec, registry = spec_over(tmp_path, table()), FakeRegistry()
    crown(registry, spec, HALF)
    with pytest.raises(MissingColumns, match="the champion of tested: missing column age"):
        check_drift(spec, DriftCondition(columns=("x", "age")), registry, END_OF_TABLE)


def test_a_column_that_vanished_is_drift_and_named(tmp_path: Path) -> None:
    spec, registry = spec_over(tmp_path, table()), FakeRegistry()
    crown(registry, spec, HALF)
    table().drop("z").write_parquet(tmp_path / "rows.parquet")

    finding = check_drift(spec, DriftCondition(), registry, END_OF_TABLE)

    assert finding.breached
    assert "z: vanished: the window has no such column" in finding.reason


def test_without_a_champion_nothing_is_judged(tmp_path: Path) -> None:
    finding = check_drift(spec_over(tmp_path, table()), DriftCondition(), FakeRegistry(), END_OF_TABLE)
    assert finding.outcome is Outcome.NOT_JUDGED
    assert finding.reason == "tested has no champion yet to compare with"


@pytest.mark.parametrize(
    ("as_of", "condition", "reason"),
    [
        (HALF, DriftCondition(), "no rows in (2026-02-11 16:00, 2026-02-11 16:00] UTC: the champion was"),
        (
            HALF + timedelta(minutes=5),
            DriftCondition(),
            "no rows in (2026-02-11 16:00, 2026-02-11 16:05] UTC",
        ),
        (HALF + timedelta(hours=99), DriftCondition(), "99 rows in (2026-02-11 16:00, 2026-02-15 19:00] UTC"),
        (END_OF_TABLE, DriftCondition(min_rows=1_001), "1,000 rows in"),
        (END_OF_TABLE, DriftCondition(window=timedelta(hours=5)), "5 rows in"),
    ],
)
def test_too_few_rows_are_not_judged(
    tmp_path: Path, as_of: datetime, condition: DriftCondition, reason: str
) -> None:
    spec, registry = spec_over(tmp_path, table()), FakeRegistry()
    crown(registry, spec, HALF)

    finding = check_drift(spec, condition, registry, as_of)

    assert finding.outcome is Outcome.NOT_JUDGED
    assert finding.reason.startswith(reason)
    assert finding.champion_version == "1"


def test_nothing_is_judged_if_no_column_has_values_to_compare(tmp_path: Path) -> None:
    empty = table().with_columns(pl.lit(None, pl.Float64).alias("x"))
    spec, registry = spec_over(tmp_path, empty), FakeRegistry()
    crown(registry, spec, HALF)

    finding = check_drift(spec, DriftCondition(columns=("x",)), registry, END_OF_TABLE)

    assert finding.outcome is Outcome.NOT_JUDGED
    assert finding.reason == "no column can be compared: x: no values, as in the reference"
    assert (finding.score, finding.threshold) == (None, None)
    assert [column.column for column in finding.columns] == ["x"]


def test_columns_that_cannot_be_compared_do_not_count(tmp_path: Path) -> None:
    """One of two columns has drifted: half of all, if the empty one does not count."""
    frame = table(shift=1).with_columns(pl.lit(None, pl.Float64).alias("product"), pl.col("y").alias("zip"))
    spec, registry = spec_over(tmp_path, frame, ("x", "zip", "product")), FakeRegistry()
    crown(registry, spec, HALF)

    finding = check_drift(spec, DriftCondition(), registry, END_OF_TABLE)

    assert finding.breached
    assert (finding.score, finding.threshold) == (0.5, 0.5)


def test_the_window_of_a_condition_reaches_back_from_as_of(tmp_path: Path) -> None:
    spec, registry = spec_over(tmp_path, table(shift=1)), FakeRegistry()
    crown(registry, spec, HALF)

    finding = check_drift(spec, DriftCondition(window=timedelta(hours=300)), registry, END_OF_TABLE)

    assert finding.breached
    assert finding.rows == 300
    assert (finding.window_start, finding.window_end) == (END_OF_TABLE - timedelta(hours=300), END_OF_TABLE)


def test_an_older_champion_is_compared_by_the_rows_that_it_was_trained_on(tmp_path: Path) -> None:
    """Its job kept no profile; its fingerprint says which rows they were."""
    spec, registry = spec_over(tmp_path, table(shift=1), ("number", "x", "z")), FakeRegistry()
    version = crown(registry, spec, HALF, files={})
    assert registry.read_file(version, "drift_profile.json.gz") is None

    finding = check_drift(spec, DriftCondition(), registry, END_OF_TABLE)

    assert finding.breached
    assert flagged(finding) == {"x", "z"}
    assert finding.window_start == version.fingerprint.end if version.fingerprint else False


def test_a_champion_from_outside_has_nothing_to_compare_with(tmp_path: Path) -> None:
    spec, registry = spec_over(tmp_path, table()), FakeRegistry()
    crown(registry, spec, HALF, files={}, fingerprint=None)

    finding = check_drift(spec, DriftCondition(), registry, END_OF_TABLE)

    assert finding.outcome is Outcome.NOT_JUDGED
    assert finding.reason.startswith("version 1 has no reference to compare with")


def test_a_damaged_reference_is_refused(tmp_path: Path) -> None:
    spec, registry = spec_over(tmp_path, table()), FakeRegistry()
    files = {"drift_profile.json.gz": b"?", "drift_reference.json": b"{}"}
    crown(registry, spec, HALF, files=files)
    with pytest.raises(InvalidDriftProfile, match=r"drift_reference\.json is damaged"):
        check_drift(spec, DriftCondition(), registry, END_OF_TABLE)


def test_a_late_change_does_not_drown_in_a_long_window(tmp_path: Path) -> None:
    """Half of the rows since training are as before, so that all together have not drifted enough."""
    spec, registry = car_loans.car_loans(tmp_path, "before", "after"), FakeRegistry()
    crown(registry, spec, REFERENCE_END)

    assert check_drift(spec, DriftCondition(), registry, END["before"]).outcome is Outcome.QUIET
    finding = check_drift(spec, DriftCondition(), registry, END["after"])

    assert finding.breached
    assert flagged(finding) == set(CAR_LOAN["windows"]["after"]["columns_must_be_flagged"])
    assert finding.reason.startswith("since 2019-03-31 02:55 UTC 4 of 7 columns drifted")
    assert finding.rows == 25_000
    assert finding.window_end == END["after"]
    since_training = END["after"] - REFERENCE_END
    assert not check_drift(spec, DriftCondition(window=since_training), registry, END["after"]).breached
    assert not check_drift(spec, DriftCondition(threshold=0.1), registry, END["after"]).breached
