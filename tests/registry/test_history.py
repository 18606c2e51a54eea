"""Reading and writing the history, without MLflow."""

from datetime import UTC, datetime, timedelta

import pytest

from retraining.registry.history import ModelState, intent_tag, read_state, record_tag
from retraining.registry.values import Promotion

NOON = datetime(1998, 4, 1, 12, tzinfo=UTC)


def promotion(version: str, previous: str | None = None, *, minutes: int = 0, reason: str = "") -> Promotion:
    at = NOON + timedelta(minutes=minutes)
    return Promotion("churn", version, previous, "promotion", at, "ann", reason, job_id="j1")


def state(champion: str | None, *records: Promotion, intents: tuple[Promotion, ...] = ()) -> ModelState:
    aliases = {} if champion is None else {"champion": champion}
    tags = dict(record_tag(record) for record in records)
    tags |= dict(intent_tag(intent, f"n{i}") for i, intent in enumerate(intents))
    return read_state("churn", aliases, tags)


def test_a_record_reads_back_as_it_was_written() -> None:
    record = promotion("2", "1", reason='it said "better"\nand was')

    key, value = record_tag(record)

    assert key == "retraining.promotion.19980401T120000.000000Z.2"
    assert read_state("churn", {"champion": "2"}, {key: value}).records == [record]


def test_keys_sort_by_time_and_records_come_newest_first() -> None:
    records = [promotion("3", "2", minutes=9), promotion("1"), promotion("2", "1", minutes=1)]

    keys = [record_tag(record)[0] for record in records]

    assert sorted(keys) == [keys[1], keys[2], keys[0]]
    assert [record.version for record in state("3", *records).records] == ["3", "2", "1"]


@pytest.mark.parametrize("reason", ["x" * 20_000, '"\n' * 20_000, "ü\u0001" * 20_000])
def test_a_reason_is_cut_to_what_the_database_keeps(reason: str) -> None:
    key, value = record_tag(promotion("1", reason=reason))

    kept = read_state("churn", {}, {key: value}).records[0].reason
    assert 4_980 < len(value) <= 5_000
    assert kept.endswith("…")
    assert reason.startswith(kept[:-1])


def test_tags_of_others_and_spoilt_ones_are_left_out() -> None:
    key, value = record_tag(promotion("1"))
    tags = {
        key: value,
        "team": "growth",
        "retraining.promotion.x": "by hand",
        "retraining.promotion.y": "[]",
        "retraining.promotion.z": '{"version": "7"}',
        "retraining.promoting.w": "null",
    }

    found = read_state("churn", {"champion": "1"}, tags)

    assert [record.version for record in found.records] == ["1"]
    assert found.intents == {}


@pytest.mark.parametrize(
    ("champion", "intents", "expected"),
    [
        ("1", (), [("1", "promotion")]),
        # It was interrupted after the alias had moved.
        ("2", (promotion("2", "1", minutes=1),), [("2", "promotion"), ("1", "promotion")]),
        # It was interrupted before.
        ("1", (promotion("2", "1", minutes=1),), [("1", "promotion")]),
        ("2", (), [("2", "outside"), ("1", "promotion")]),
        ("3", (promotion("2", "1", minutes=1),), [("3", "outside"), ("1", "promotion")]),
        # Somebody removed the alias: nobody is champion, and nothing can be named.
        (None, (), [("1", "promotion")]),
    ],
)
def test_the_history_ends_with_who_is_champion(
    champion: str | None, intents: tuple[Promotion, ...], expected: list[tuple[str, str]]
) -> None:
    found = state(champion, promotion("1"), intents=intents).history(NOON + timedelta(hours=1))

    assert [(entry.version, entry.kind) for entry in found] == expected


def test_a_change_comes_after_the_newest_record_even_on_a_clock_that_is_behind() -> None:
    known = state("1", promotion("1", minutes=5))

    assert known.next_time(NOON) == NOON + timedelta(minutes=5, microseconds=1)
    assert known.next_time(NOON + timedelta(minutes=6)) == NOON + timedelta(minutes=6)
