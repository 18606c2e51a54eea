import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from retraining.errors import (
    MissingColumns,
    SourceUnreachable,
    UnreadableSource,
    WrongColumnType,
)
from retraining.sources import SqlSource, Window
from tests.sources.rows import MARCH, utc

EVER = Window(None, utc(2100, 1, 1))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "shop.db", isolation_level=None)
    yield connection
    connection.close()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'shop.db'}"


@pytest.fixture
def statements() -> Iterator[list[tuple[str, Any]]]:
    """Every statement that reaches a database, with its bound parameters."""
    seen: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        seen.append((" ".join(statement.split()), parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(sa.Engine, "before_cursor_execute", note)


def fill(
    database: sqlite3.Connection, *rows: tuple[Any, ...], columns: str = "at datetime, amount real"
) -> None:
    database.execute(f"create table orders ({columns})")
    if rows:
        database.execute("begin")
        database.executemany(f"insert into orders values ({', '.join('?' * len(rows[0]))})", rows)
        database.execute("commit")


def read(source: SqlSource, *columns: str, window: Window = EVER) -> pl.DataFrame:
    return source.read(window, time_column="at", columns=columns or ("at", "amount"))


def test_the_window_and_the_columns_are_selected_by_the_database(
    database: sqlite3.Connection, url: str, statements: list[tuple[str, Any]]
):
    """Bound parameters, no value in the text; the index on the time finds the rows."""
    hours = pl.datetime_range(utc(2024, 1, 1), utc(2024, 12, 31), "1h", eager=True).dt.strftime(
        "%Y-%m-%d %H:%M:%S"
    )
    fill(database, *((hour, 1.0, "x" * 100) for hour in hours), columns="at datetime, amount real, note text")
    database.execute("create index orders_at on orders (at)")

    found = read(SqlSource(url, table="orders"), "amount", window=MARCH)

    statement, parameters = statements[-1]
    assert found.height == 31 * 24
    assert statement == "SELECT amount, at FROM orders WHERE at >= ? AND at < ?"
    assert parameters == ("2024-02-28", "2024-04-02")
    assert "orders_at" in str(database.execute(f"explain query plan {statement}", parameters).fetchall())


def test_results_come_in_batches(database: sqlite3.Connection, url: str):
    """Far more rows than a batch, the last one not full."""
    fill(database, *((f"2024-01-01 00:00:{number % 60:02}", float(number)) for number in range(1_234)))

    found = read(SqlSource(url, table="orders", batch_rows=100))

    assert sorted(found["amount"]) == [float(number) for number in range(1_234)]


@pytest.mark.parametrize(
    ("first", "inside", "last", "outside"),
    [
        ("2024-02-29 00:00:00", "2024-02-29 00:00:01", "2024-03-31 00:00:00", "2024-03-31 00:00:01"),
        ("2024-02-29T00:00:00", "2024-02-29T00:00:00.000001", "2024-03-31T00:00", "2024-03-31T00:00:00.5"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:01Z", "2024-03-31T00:00:00Z", "2024-03-31T00:01Z"),
        # The same moments as written in Auckland, in Honolulu, in UTC and in Berlin.
        (
            "2024-02-29 13:00+13:00",
            "2024-02-28 14:01-10:00",
            "2024-03-31 00:00+00:00",
            "2024-03-31 01:01+01:00",
        ),
    ],
)
def test_the_start_is_outside_and_the_end_inside_however_text_writes_it(
    database: sqlite3.Connection, url: str, first: str, inside: str, last: str, outside: str
):
    fill(database, (first, 1.0), (inside, 2.0), (last, 3.0), (outside, 4.0), (None, 5.0))

    found = read(SqlSource(url, table="orders"), window=MARCH)

    assert found["amount"].to_list() == [2.0, 3.0]
    assert found.schema["at"] == pl.Datetime("us", "UTC")


def test_rows_come_in_one_order_without_an_order_by(database: sqlite3.Connection, url: str):
    fill(database, ("2024-01-02", 1.0), ("2024-01-01", 3.0), ("2024-01-01", None), ("2024-01-01", 2.0))
    shuffled = "select * from orders order by random()"

    found = {str(read(SqlSource(url, query=shuffled)).rows()) for _ in range(5)}

    day = "datetime.date(2024, 1, 1)"
    assert found == {f"[({day}, None), ({day}, 2.0), ({day}, 3.0), (datetime.date(2024, 1, 2), 1.0)]"}


@pytest.mark.parametrize(
    "query",
    [
        "select at, amount * 2 as amount from orders where note = 'a:b' -- twice: the amount",
        "with a as (select at, note from orders) select at, 2.0 as amount from a where note like '%:b';",
        "select at, sum(amount) * 2 as amount from orders where note <> ' :c' group by at order by 1;\n",
    ],
)
def test_a_query_may_hold_colons_comments_percent_signs_and_a_semicolon(
    database: sqlite3.Connection, url: str, query: str
):
    columns = "at datetime, amount real, note text"
    fill(database, ("2024-01-01", 1.0, "a:b"), ("2024-01-01", 1.0, " :c"), columns=columns)

    found = read(SqlSource(url, query=query), "amount")

    assert found["amount"].to_list() == [2.0]


def test_a_table_of_another_schema_is_found(database: sqlite3.Connection, url: str):
    fill(database, ("2024-01-01", 1.0))

    assert read(SqlSource(url, table="main.orders")).height == 1


def test_a_view_is_a_table(database: sqlite3.Connection, url: str):
    fill(database, ("2024-01-01", 1.0))
    database.execute("create view paid as select * from orders")

    assert read(SqlSource(url, table="paid")).height == 1


def test_names_are_quoted_where_they_need_it(database: sqlite3.Connection, url: str):
    database.execute('create table "Order Lines" (at datetime, "the ""amount""" real)')
    database.execute("""insert into "Order Lines" values ('2024-01-01', 1.0)""")

    assert read(SqlSource(url, table="Order Lines"), 'the "amount"').rows() == [(1.0,)]


def test_a_name_with_sql_in_it_is_a_name(database: sqlite3.Connection, url: str):
    fill(database, ("2024-01-01", 1.0))

    with pytest.raises(UnreadableSource, match="there is no such table; the database has orders"):
        read(SqlSource(url, table='orders" where 1=1; drop table orders; --'))
    with pytest.raises(MissingColumns):
        read(SqlSource(url, table="orders"), '1; drop table orders; --"')
    assert database.execute("select count(*) from orders").fetchone() == (1,)


def test_whole_numbers_among_decimals_are_floats(database: sqlite3.Connection, url: str):
    """SQLite keeps 3.0 of a NUMERIC column as 3: a batch of them must not change the column's type."""
    rows = [("2024-01-01", number if number < 30 else number + 0.5) for number in range(60)]
    fill(database, *rows, columns="at datetime, amount numeric")

    found = read(SqlSource(url, table="orders", batch_rows=20), "amount")

    assert found.schema["amount"] == pl.Float64()
    assert sorted(found["amount"]) == [float(amount) for _, amount in rows]


@pytest.mark.parametrize("batch_rows", [1, 10])
def test_a_column_that_mixes_types_is_refused_by_name(
    database: sqlite3.Connection, url: str, batch_rows: int
):
    fill(database, ("2024-01-01", 1), ("2024-01-01", "one"), columns="at datetime, amount")

    with pytest.raises(UnreadableSource, match=r"table orders at .*: column amount mixes \w+ and \w+"):
        read(SqlSource(url, table="orders", batch_rows=batch_rows))


def test_a_column_without_any_value_stays_without_a_type(database: sqlite3.Connection, url: str):
    fill(database, ("2024-01-01", None))

    assert read(SqlSource(url, table="orders"), "amount").schema["amount"] == pl.Null()


def test_a_table_without_rows_or_without_times_is_an_empty_window(database: sqlite3.Connection, url: str):
    fill(database)
    assert read(SqlSource(url, table="orders")).is_empty()

    database.execute("insert into orders values (null, 1.0)")
    found = read(SqlSource(url, table="orders"))
    assert found.is_empty()
    assert found.schema["at"] == pl.Datetime("us", "UTC")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (1_704_067_200, "column at is int like '1704067200', needs a date or a datetime"),
        ("01.02.2024", "column at is str like '01.02.2024', needs a date or a datetime (ISO 8601 text)"),
    ],
)
def test_a_time_column_that_is_no_time_is_refused(
    database: sqlite3.Connection, url: str, value: object, problem: str
):
    fill(database, (value, 1.0), columns="at, amount real")

    with pytest.raises(WrongColumnType) as caught:
        read(SqlSource(url, table="orders"))
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("good", "bad"), [("2024-01-01", "2024-01-02 10:00"), ("2024-01-01 10:00", "2024-01-02 25:00")]
)
def test_a_time_that_is_unlike_the_others_is_named(
    database: sqlite3.Connection, url: str, good: str, bad: str
):
    fill(database, (good, 1.0), (bad, 1.0))

    with pytest.raises(UnreadableSource, match=f"column at holds '{bad}', which is not "):
        read(SqlSource(url, table="orders"))


def test_a_table_that_does_not_exist_is_named_with_those_that_do(database: sqlite3.Connection, url: str):
    fill(database)

    with pytest.raises(UnreadableSource) as caught:
        read(SqlSource(url, table="order"))
    assert str(caught.value) == f"table order at {url}: there is no such table; the database has orders"


def test_a_query_that_fails_says_why(database: sqlite3.Connection, url: str):
    fill(database)

    with pytest.raises(UnreadableSource, match=r"query .*: the query fails: no such column: price"):
        read(SqlSource(url, query="select at, price as amount from orders"))


def test_a_query_that_writes_does_not(database: sqlite3.Connection, url: str):
    fill(database, ("2024-01-01", 1.0))

    with pytest.raises(UnreadableSource, match="the query fails"):
        read(SqlSource(url, query="delete from orders"))
    assert database.execute("select count(*) from orders").fetchone() == (1,)


@pytest.mark.parametrize("dialect", ["sqlite", "sqlite+aiosqlite"])
def test_a_database_file_that_does_not_exist_is_not_made(dialect: str, tmp_path: Path):
    with pytest.raises(UnreadableSource, match=r"the database file .*none\.db does not exist"):
        read(SqlSource(f"{dialect}:///{tmp_path}/none.db", table="orders"))
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_database_is_unreadable(tmp_path: Path):
    (tmp_path / "shop.db").write_text("not a database, and long enough to be sure of it" * 100)

    with pytest.raises(UnreadableSource, match="file is not a database"):
        read(SqlSource(f"sqlite:///{tmp_path}/shop.db", table="orders"))


def test_a_locked_database_may_be_tried_again(database: sqlite3.Connection, url: str):
    fill(database, ("2024-01-01", 1.0))
    database.execute("begin exclusive")

    with pytest.raises(SourceUnreachable, match="the database does not answer: database is locked"):
        read(SqlSource(f"{url}?timeout=0.05", table="orders"))
    database.execute("commit")
    assert read(SqlSource(url, table="orders")).height == 1


def test_a_database_that_does_not_answer_may_be_tried_again():
    source = SqlSource("postgresql+asyncpg://ann:pa55@127.0.0.1:9/shop", table="orders")

    with pytest.raises(
        SourceUnreachable, match=r"at postgresql\+asyncpg://ann:\*\*\*@127\.0\.0\.1:9/shop: cannot connect"
    ):
        read(source)


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("nothing at all", "at a malformed address: the address is not a SQLAlchemy URL"),
        ("carrierpigeon://host/shop", "SQLAlchemy has no such dialect: .*carrierpigeon"),
        (
            "mysql+mysqldb://ann:pa55@host/shop",
            "the database's driver is not installed: No module named 'MySQLdb'",
        ),
    ],
)
def test_an_address_that_cannot_work_says_what_is_missing(address: str, problem: str):
    with pytest.raises(UnreadableSource, match=problem) as caught:
        read(SqlSource(address, table="orders"))
    assert not isinstance(caught.value, SourceUnreachable)


def test_the_address_may_be_in_the_environment(
    database: sqlite3.Connection, url: str, monkeypatch: pytest.MonkeyPatch
):
    """It is read when data is: a worker's environment decides, not the one that imported the catalog."""
    fill(database, ("2024-01-01", 1.0))
    source = SqlSource("env:TEST_WAREHOUSE_URL", table="orders")
    with pytest.raises(UnreadableSource) as caught:
        read(source)
    assert str(caught.value) == (
        "table orders at env:TEST_WAREHOUSE_URL: the environment variable TEST_WAREHOUSE_URL is not set"
    )

    monkeypatch.setenv("TEST_WAREHOUSE_URL", url)
    assert read(source).height == 1


def test_a_password_in_the_environment_is_in_no_message(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TEST_WAREHOUSE_URL", "postgresql+asyncpg://ann:pa55@127.0.0.1:9/shop")
    source = SqlSource("env:TEST_WAREHOUSE_URL", query="select * from orders")

    with pytest.raises(SourceUnreachable) as caught:
        read(source)
    assert "pa55" not in f"{caught.value}{caught.value.__cause__}{source!r}"
    assert source.describe() == "query 'select * from orders' at env:TEST_WAREHOUSE_URL"


async def test_an_asynchronous_driver_works_inside_a_running_loop(
    database: sqlite3.Connection, tmp_path: Path
):
    fill(database, ("2024-01-01", 1.0))
    source = SqlSource(f"sqlite+aiosqlite:///{tmp_path}/shop.db", table="orders")

    assert asyncio.get_running_loop().is_running()
    assert read(source).height == 1


@pytest.mark.parametrize("given", [{}, {"table": "orders", "query": "select 1"}])
def test_a_source_is_a_table_or_a_query(given: dict[str, str]):
    with pytest.raises(ValueError, match="exactly one of table and query"):
        SqlSource("sqlite:///shop.db", **given)


def test_the_database_is_open_to_others_afterwards(database: sqlite3.Connection, url: str):
    """No connection, transaction or lock is left behind, not by a failure either."""
    fill(database, ("2024-01-01", 1.0))
    read(SqlSource(url, table="orders"))
    with pytest.raises(MissingColumns):
        read(SqlSource(url, table="orders"), "label")

    database.execute("pragma busy_timeout = 0")
    database.execute("begin exclusive")
    database.execute("commit")
