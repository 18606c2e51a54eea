from datetime import datetime, timedelta, timezone
from decimal import Decimal
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

import polars as pl
import pytest

from retraining.errors import UnreadableSource
from retraining.sources.sql_rows import FrameBuilder
from tests.sources.rows import utc


class DriversUUID(UUID):
    """asyncpg, for one, has its own."""


def test_decimals_come_as_floats_and_uuids_as_text():
    rows = FrameBuilder("orders", ["price", "id", "paid"])
    rows.add([(Decimal("1.50"), DriversUUID(int=1), True), (None, None, None)])
    rows.add([(Decimal(2), DriversUUID(int=2), False)])

    frame = rows.frame()

    assert frame.schema == {"price": pl.Float64(), "id": pl.String(), "paid": pl.Boolean()}
    assert frame["price"].to_list() == [1.5, None, 2.0]
    assert frame["id"][0] == "00000000-0000-0000-0000-000000000001"


def test_the_offsets_of_summer_and_winter_are_moments():
    """psycopg2 returns each timestamp with the offset that its own day has in the session's zone."""
    winter = datetime(2024, 3, 31, 1, 30, tzinfo=timezone(timedelta(hours=1)))
    summer = datetime(2024, 3, 31, 3, 30, tzinfo=timezone(timedelta(hours=2)))
    rows = FrameBuilder("orders", ["at"])
    rows.add([(winter,), (summer,), (None,)])
    rows.add([(summer,)])

    half_past = [utc(2024, 3, 31, 0, 30), utc(2024, 3, 31, 1, 30), None, utc(2024, 3, 31, 1, 30)]
    assert rows.frame()["at"].to_list() == half_past


@pytest.mark.parametrize(("value", "kind"), [(IPv4Address("10.0.0.1"), "IPv4Address"), (2**200, "int")])
def test_values_that_no_column_can_hold_are_refused_by_name(value: Any, kind: str):
    with pytest.raises(
        UnreadableSource, match=f"orders: column host holds {kind} values, .* cast it in a query"
    ):
        FrameBuilder("orders", ["host"]).add([(value,)])
