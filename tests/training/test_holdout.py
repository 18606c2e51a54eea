import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retraining import EntityHoldout, ModelSpec, TimeHoldout
from retraining.errors import DataProblem, InsufficientTrainingData, UnusableLabels
from retraining.registry.values import ModelVersion
from retraining.training.holdout import entity_side, holdout_record, leak_reason, split
from tests.training.specs import START, fingerprint_until, rows, spec_for, version

BY_CUSTOMER = EntityHoldout(column="customer", fraction=0.3)


def by_customer(**given: object) -> ModelSpec:
    return spec_for(holdout=BY_CUSTOMER, **given)


def day(number: int) -> datetime:
    return START + timedelta(days=number)


class TestByEntity:
    def test_no_customer_is_on_both_sides(self) -> None:
        parts = split(rows(), by_customer())
        assert not set(parts.train["customer"]) & set(parts.holdout["customer"])
        assert parts.train.height + parts.holdout.height == 400

    def test_the_fraction_is_about_that_of_the_customers(self) -> None:
        parts = split(rows(4000), by_customer())
        assert parts.holdout.height / 4000 == pytest.approx(0.3, abs=0.03)

    def test_a_customer_keeps_its_side_when_others_come_and_go(self) -> None:
        everybody = split(rows(), by_customer()).holdout
        half = split(rows().filter(pl.col("customer") % 2 == 0), by_customer()).holdout
        assert half.equals(everybody.filter(pl.col("customer") % 2 == 0))

    @pytest.mark.parametrize("dtype", [pl.Int16, pl.UInt64, pl.Float64, pl.String, pl.Categorical])
    def test_a_customer_keeps_its_side_whatever_the_type_of_the_id(self, dtype: pl.DataType) -> None:
        texts = pl.col("customer").cast(pl.String)
        column = texts.cast(dtype) if dtype == pl.Categorical else pl.col("customer").cast(dtype)
        found = split(rows().with_columns(column), by_customer()).holdout
        assert found["x"].equals(split(rows(), by_customer()).holdout["x"])

    def test_a_customer_keeps_its_side_in_every_process_and_release(self) -> None:
        """The hash is part of the product's promise: these sides never change."""
        sides = "".join("h" if entity_side(customer, BY_CUSTOMER) else "t" for customer in range(40))
        assert sides == SIDES_OF_FORTY
        program = (
            "from retraining import EntityHoldout; from retraining.training.holdout import entity_side;"
            "rule = EntityHoldout(column='customer', fraction=0.3);"
            "print(''.join('h' if entity_side(str(c), rule) else 't' for c in range(40)))"
        )
        other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert other.stdout.strip() == SIDES_OF_FORTY

    def test_another_salt_holds_out_other_customers(self) -> None:
        other = EntityHoldout(column="customer", fraction=0.3, salt="other")
        first, second = (split(rows(), spec_for(holdout=rule)).holdout for rule in (BY_CUSTOMER, other))
        assert set(first["customer"]) != set(second["customer"])

    def test_a_larger_fraction_holds_out_the_same_customers_and_more(self) -> None:
        larger = EntityHoldout(column="customer", fraction=0.6)
        small, large = (split(rows(), spec_for(holdout=rule)).holdout for rule in (BY_CUSTOMER, larger))
        assert set(small["customer"]) < set(large["customer"])

    def test_the_description_counts_customers_and_rows(self) -> None:
        parts = split(rows(), by_customer())
        assert parts.holdout_start is None
        assert parts.description == (
            f"{parts.holdout['customer'].n_unique()} of 200 customer held out by hash: "
            f"{parts.holdout.height} rows judge, {parts.train.height} train"
        )

    def test_a_row_without_a_customer_is_refused(self) -> None:
        frame = rows().with_columns(
            pl.when(pl.col("customer") > 2).then(pl.col("customer")).alias("customer")
        )
        with pytest.raises(DataProblem, match=r"rows of a test: 6 rows have no customer, which says whether"):
            split(frame, by_customer())

    def test_one_customer_cannot_be_on_both_sides(self) -> None:
        with pytest.raises(DataProblem, match=r"has 0 of 400 rows, needs 10 \(. of 1 customer"):
            split(rows().with_columns(customer=pl.lit(1)), by_customer())


# 0 to 39 under the salt "retraining", 30% held out.
SIDES_OF_FORTY = "hththttttttttttttthhhhthhhtthtttthtttttt"


class TestByTime:
    def test_the_newest_rows_judge(self) -> None:
        parts = split(rows(), spec_for(holdout=TimeHoldout(fraction=0.2)))
        assert parts.holdout.equals(rows()[320:])
        assert parts.train.equals(rows()[:320])
        assert parts.holdout_start == START + timedelta(hours=320)
        assert parts.description == (
            "newest 20% by at held out, from 2024-01-14 08:00 UTC on: 80 rows judge, 320 train"
        )

    def test_rows_of_one_moment_stay_together(self) -> None:
        frame = rows().with_columns(pl.col("at").dt.truncate("7d"))
        parts = split(frame, spec_for(holdout=TimeHoldout(fraction=0.2)))
        assert parts.train["at"].max() < parts.holdout["at"].min()  # type: ignore[operator]  # datetimes
        assert parts.train.height + parts.holdout.height == 400

    def test_training_rows_whose_labels_reach_into_the_holdout_are_dropped(self) -> None:
        spec = spec_for(label_delay=timedelta(hours=50))
        parts = split(rows(), spec)
        assert parts.holdout_start == START + timedelta(hours=320)
        assert parts.train["at"].max() == START + timedelta(hours=270)
        assert parts.description.endswith("49 dropped, their labels reach into the holdout's time")

    @pytest.mark.parametrize(
        "dtype", [pl.Datetime("ms"), pl.Datetime("ns", "UTC"), pl.Datetime("us", "Asia/Tokyo")]
    )
    def test_every_type_of_time_splits_alike(self, dtype: pl.Datetime) -> None:
        column = pl.col("at").dt.convert_time_zone(dtype.time_zone or "UTC")
        column = column if dtype.time_zone else column.dt.replace_time_zone(None)
        frame = rows().with_columns(column.cast(dtype))
        parts = split(frame, spec_for(label_delay=timedelta(hours=50)))
        assert parts.holdout_start == START + timedelta(hours=320)
        assert parts.train.height == 271

    def test_dates_purge_by_whole_days(self) -> None:
        frame = rows().with_columns(pl.col("at").dt.date())
        parts = split(frame, spec_for(label_delay=timedelta(hours=30)))
        assert parts.holdout_start == datetime(2024, 1, 14, tzinfo=UTC)
        assert parts.train["at"].max() == datetime(2024, 1, 12).date()

    def test_a_single_moment_cannot_be_cut(self) -> None:
        with pytest.raises(DataProblem, match=r"all 400 rows have the same at.*hold out by entity instead"):
            split(rows().with_columns(at=pl.lit(START)), spec_for())

    def test_a_delay_as_long_as_the_data_leaves_nothing_to_train_on(self) -> None:
        with pytest.raises(
            DataProblem, match=r"training side has 0 of 400 rows, needs 10 \(newest 20% by at"
        ):
            split(rows(), spec_for(label_delay=timedelta(days=90)))

    @settings(max_examples=60, deadline=None)
    @given(
        hours=st.lists(st.integers(0, 60), min_size=60, max_size=120),
        fraction=st.floats(0.05, 0.95),
        delay=st.integers(0, 20),
    )
    def test_no_split_leaks(self, hours: list[int], fraction: float, delay: int) -> None:
        """Whatever the ties, every training row's label was complete when the holdout began."""
        frame = rows(len(hours)).with_columns(at=pl.Series([START + timedelta(hours=h) for h in hours]))
        spec = spec_for(
            task="regression", holdout=TimeHoldout(fraction=fraction), label_delay=timedelta(hours=delay)
        )
        try:
            parts = split(frame, spec)
        except DataProblem:
            return
        assert parts.holdout_start is not None
        assert parts.holdout["at"].min() == parts.holdout_start
        assert (parts.train["at"] < parts.holdout_start).all()
        assert (parts.train["at"] + timedelta(hours=delay) <= parts.holdout_start).all()


class TestLabels:
    def test_rows_without_a_label_neither_train_nor_judge(self) -> None:
        frame = rows().with_columns(
            pl.when(pl.col("at") < START + timedelta(hours=300)).then(pl.col("label"))
        )
        parts = split(frame, by_customer())
        assert parts.train.height + parts.holdout.height == 300
        assert parts.description.endswith("100 rows without a label left out")

    def test_too_few_labelled_rows_are_refused(self) -> None:
        frame = rows(600).with_columns(
            pl.when(pl.col("at") < START + timedelta(hours=120)).then(pl.col("label"))
        )
        with pytest.raises(InsufficientTrainingData, match="insufficient training data: 120 rows, needs 500"):
            split(frame, by_customer(min_rows=500))

    def test_no_rows_at_all_are_refused(self) -> None:
        with pytest.raises(InsufficientTrainingData, match="0 rows, needs 10"):
            split(rows().clear(), by_customer())

    @pytest.mark.parametrize(("newest", "side"), [(True, "holdout"), (False, "training side")])
    def test_a_side_with_one_class_is_refused(self, newest: bool, side: str) -> None:
        is_newest = pl.col("at") >= START + timedelta(hours=320)
        constant = (
            pl.when(is_newest if newest else ~is_newest).then(1).otherwise(pl.col("label")).alias("label")
        )
        with pytest.raises(UnusableLabels, match=f"label label is 1 in every row of the {side}"):
            split(rows().with_columns(constant), spec_for())

    def test_a_binary_model_refuses_three_classes(self) -> None:
        frame = rows(label=lambda x: [["low", "middle", "high"][index % 3] for index in range(len(x))])
        with pytest.raises(UnusableLabels, match=r"has 3 classes in the training side \(high, low, middle\)"):
            split(frame, by_customer())

    def test_classes_come_sorted(self) -> None:
        frame = rows(label=lambda x: [["low", "middle", "high"][index % 3] for index in range(len(x))])
        assert split(frame, by_customer(task="multiclass")).classes == ("high", "low", "middle")
        assert split(rows(), by_customer()).classes == (0, 1)
        assert split(rows(label=lambda x: x), by_customer(task="regression")).classes == ()


class TestLeakReason:
    """Whether a champion may be judged."""

    parts_by_time = split(rows(), spec_for())  # the holdout starts 2024-01-14 08:00
    parts_by_customer = split(rows(), by_customer())

    def champion(self, spec: ModelSpec, until: datetime, classes: tuple[int, ...] = (0, 1)) -> ModelVersion:
        return version(fingerprint=fingerprint_until(until), holdout=holdout_record(spec, classes))

    def test_a_champion_of_the_past_under_the_same_rule_is_judged(self) -> None:
        spec = by_customer()
        champion = self.champion(spec, day(5))
        assert leak_reason(champion, fingerprint_until(day(10)), self.parts_by_customer, spec) is None

    def test_a_champion_of_the_same_rows_is_judged(self) -> None:
        """A job that is run again compares with itself."""
        for spec, parts in ((by_customer(), self.parts_by_customer), (spec_for(), self.parts_by_time)):
            champion = self.champion(spec, day(10))
            assert leak_reason(champion, fingerprint_until(day(10)), parts, spec) is None

    def test_an_older_replay_does_not_replace_a_newer_champion(self) -> None:
        spec = by_customer()
        reason = leak_reason(
            self.champion(spec, day(20)), fingerprint_until(day(10)), self.parts_by_customer, spec
        )
        assert reason == (
            "version 3 was trained on rows until 2024-01-21 00:00 UTC, newer than this challenger's "
            "(2024-01-11 00:00 UTC): an older replay does not replace it"
        )

    @pytest.mark.parametrize(
        "other",
        [
            EntityHoldout(column="customer", fraction=0.3, salt="other"),
            EntityHoldout(column="customer", fraction=0.2),
            EntityHoldout(column="x", fraction=0.3),
            TimeHoldout(),
        ],
    )
    def test_a_champion_of_another_rule_has_seen_entities_that_judge(
        self, other: EntityHoldout | TimeHoldout
    ) -> None:
        champion = self.champion(spec_for(holdout=other), day(5))
        reason = leak_reason(champion, fingerprint_until(day(10)), self.parts_by_customer, by_customer())
        assert reason is not None
        assert reason.startswith("version 3 was trained under another holdout rule (")
        assert reason.endswith(
            "; now 0.3 of customer, salt 'retraining'), so it has seen entities that would judge it"
        )

    @pytest.mark.parametrize(
        ("until", "delay_hours", "judged"),
        [
            (timedelta(hours=319), 0, True),
            (timedelta(hours=320), 0, False),
            (timedelta(hours=270), 50, True),
            (timedelta(hours=271), 50, False),
        ],
    )
    def test_a_champion_whose_labels_reach_into_the_holdouts_time_is_not_judged(
        self, until: timedelta, delay_hours: int, judged: bool
    ) -> None:
        spec = spec_for(label_delay=timedelta(hours=delay_hours))
        champion = self.champion(spec, START + until)
        reason = leak_reason(champion, fingerprint_until(day(100)), self.parts_by_time, spec)
        assert (reason is None) == judged
        if reason is not None:
            assert "whose labels reach into the holdout that starts 2024-01-14 08:00 UTC" in reason

    def test_a_split_by_time_does_not_mind_how_the_champion_was_judged(self) -> None:
        champion = self.champion(by_customer(), day(5))
        assert leak_reason(champion, fingerprint_until(day(12)), self.parts_by_time, spec_for()) is None

    def test_other_classes_cannot_be_compared(self) -> None:
        champion = self.champion(by_customer(), day(5), classes=(0, 2))
        reason = leak_reason(champion, fingerprint_until(day(10)), self.parts_by_customer, by_customer())
        assert reason == "version 3 predicts the classes 0, 2, this challenger 0, 1"

    @pytest.mark.parametrize(
        ("facts", "reason"),
        [
            ({}, "no record of the rows that trained it"),
            ({"fingerprint": fingerprint_until(day(5))}, "no record of the rows that trained it"),
            (
                {"fingerprint": fingerprint_until(day(5)), "holdout": "{"},
                "a holdout rule that cannot be read",
            ),
            (
                {"fingerprint": fingerprint_until(day(5)), "holdout": "[]"},
                "a holdout rule that cannot be read",
            ),
            (
                {"fingerprint": fingerprint_until(day(5)), "holdout": '{"by":"x"}'},
                "a holdout rule that cannot be read",
            ),
        ],
    )
    def test_a_champion_of_unknown_making_is_not_judged(self, facts: dict[str, object], reason: str) -> None:
        found = leak_reason(
            version(**facts), fingerprint_until(day(10)), self.parts_by_customer, by_customer()
        )
        assert found is not None
        assert reason in found


def test_a_record_of_the_holdout_is_canonical() -> None:
    """The same rule is the same text, whatever the order in which it was written."""
    record = holdout_record(by_customer(), ("a", "ü"))
    assert record == (
        '{"by":"entity","classes":["a","ü"],"column":"customer","fraction":0.3,"salt":"retraining"}'
    )
    assert "classes" not in json.loads(holdout_record(by_customer(task="regression"), ()))


def test_ids_are_hashed_at_a_rate_fit_for_millions() -> None:
    start = time.process_time()
    sides = [entity_side(customer, BY_CUSTOMER) for customer in range(200_000)]
    assert sum(sides) / 200_000 == pytest.approx(0.3, abs=0.005)
    assert time.process_time() - start < 4
