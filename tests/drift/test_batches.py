from pathlib import Path

import polars as pl
import pytest

from retraining.drift.batches import COLUMNS_PER_BATCH, ROWS_PER_BATCH, Table, read_batches, schema_of

ROWS = 2 * ROWS_PER_BATCH + 10


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("batches") / "rows.parquet"
    pl.select(row=pl.int_range(ROWS)).write_parquet(path, row_group_size=100_000)
    return path


def tables(file: Path) -> dict[str, Table]:
    frame = pl.read_parquet(file)
    return {
        "frame": frame,
        "scan": pl.scan_parquet(file),
        "parts": [frame[:5], pl.scan_parquet(file).slice(5, ROWS), frame[:0]],
    }


@pytest.mark.parametrize("kind", ["frame", "scan", "parts"])
def test_every_row_comes_once_in_order_and_in_bounded_batches(file: Path, kind: str) -> None:
    batches = [batch for _, batch in read_batches(tables(file)[kind], {"row": [pl.col("row")]})]
    assert max(batch.height for batch in batches) <= ROWS_PER_BATCH
    assert pl.concat(batches)["row"].to_list() == list(range(ROWS))


@pytest.mark.parametrize("kind", ["frame", "scan", "parts"])
def test_only_rows_that_meet_the_condition_come(file: Path, kind: str) -> None:
    where = pl.col("row").is_between(10, ROWS_PER_BATCH + 10)
    batches = read_batches(tables(file)[kind], {"row": [(pl.col("row") * 2).alias("twice")]}, where)
    assert pl.concat(batch for _, batch in batches)["twice"].to_list() == list(
        range(20, 2 * ROWS_PER_BATCH + 21, 2)
    )


def test_a_failing_read_is_raised_to_the_caller(file: Path) -> None:
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        list(read_batches(pl.scan_parquet(file), {"nowhere": [pl.col("nowhere")]}))


def test_a_reader_can_be_left_early(file: Path) -> None:
    batches = read_batches(pl.scan_parquet(file), {"row": [pl.col("row")]})
    assert next(batches)[1].height == ROWS_PER_BATCH
    batches.close()


def test_columns_come_in_groups_and_each_column_once(file: Path) -> None:
    readings = {f"c{n}": [(pl.col("row") + n).alias(f"c{n}")] for n in range(COLUMNS_PER_BATCH + 2)}
    groups = [
        names for names, batch in read_batches(pl.read_parquet(file)[:9], readings) if batch.height == 9
    ]
    assert groups == [tuple(readings)[:COLUMNS_PER_BATCH], tuple(readings)[COLUMNS_PER_BATCH:]]


def test_with_nothing_to_read_the_rows_are_still_counted(file: Path) -> None:
    assert sum(batch.height for _, batch in read_batches(pl.scan_parquet(file), {})) == ROWS


def test_the_first_part_has_the_schema(file: Path) -> None:
    assert schema_of(tables(file)["parts"]) == {"row": pl.Int64}
    assert schema_of([]) == {}
