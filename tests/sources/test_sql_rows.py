from decimal import Decimal
from uuid import UUID

import polars as pl

from retraining.sources.sql_rows import FrameBuilder


def test_decimals_come_as_floats_and_uuids_as_text():
    rows = FrameBuilder("orders", ["price", "id", "paid"])
    rows.add([(Decimal("1.50"), UUID(int=1), True), (None, None, None)])
    rows.add([(Decimal(2), UUID(int=2), False)])

    frame = rows.frame()

    assert frame.schema == {"price": pl.Float64(), "id": pl.String(), "paid": pl.Boolean()}
    assert frame["price"].to_list() == [1.5, None, 2.0]
    assert frame["id"][0] == "00000000-0000-0000-0000-000000000001"
