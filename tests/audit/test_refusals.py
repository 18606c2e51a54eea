"""Refused requests are counted, and nobody fills the disk with them."""

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retraining.audit.entry import Action, Actor, AuditEntry, AuditFilter
from retraining.audit.log import AuditLog
from retraining.audit.refusals import Refusal, Refusals
from retraining.store.database import Database


def refusal(address: str = "192.0.2.7", reason: str = "wrong key", correlation_id: str = "req") -> Refusal:
    return Refusal(Actor("", "", address, correlation_id), Action.AUTHENTICATE, reason, target="operation x")


async def written(log: AuditLog) -> list[AuditEntry]:
    return [*(await log.list(AuditFilter(), limit=500)).entries]


async def test_the_first_is_written_at_once_and_repetitions_as_a_number(log: AuditLog) -> None:
    refusals = Refusals(log)
    async with refusals.running():
        for number in range(1_000):
            refusals.note(refusal(correlation_id=f"req-{number}"))
        await refusals.settle()
        [first] = await written(log)
        assert (first.details["count"], first.correlation_id, first.outcome) == (1, "req-0", "refused")
    rest, _ = await written(log)
    assert rest.details == {"reason": "wrong key", "count": 999}
    assert rest.address == "192.0.2.7"


async def test_kinds_are_told_apart_up_to_a_bound(log: AuditLog) -> None:
    refusals = Refusals(log, places=3)
    async with refusals.running():
        for number in range(500):
            refusals.note(refusal(address=f"192.0.{number // 250}.{number % 250}"))
    entries = await written(log)
    assert len(entries) <= 3 + 2
    assert sum(one.details["count"] for one in entries) == 500
    assert {one.address for one in entries} == {"192.0.0.0", "192.0.0.1", "192.0.0.2", None}


async def test_a_window_ends_by_itself_and_the_next_one_writes_again(log: AuditLog) -> None:
    refusals = Refusals(log, window_seconds=0.05)
    async with refusals.running():
        until = datetime.now(UTC) + timedelta(seconds=20)
        while len(await written(log)) < 4:
            refusals.note(refusal())
            await asyncio.sleep(0.01)
            assert datetime.now(UTC) < until


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("testclient", "testclient"),
        (None, None),
    ],
)
async def test_an_address_of_version_six_stands_for_its_network(
    log: AuditLog, address: str, shown: str | None
) -> None:
    refusals = Refusals(log)
    async with refusals.running():
        refusals.note(refusal(address))
    assert (await written(log))[0].address == shown


async def test_a_locked_database_costs_the_entry_and_nothing_else(
    sqlite: Database, locked_path: Path
) -> None:
    log = AuditLog(sqlite)
    refusals = Refusals(log)
    other = sqlite3.connect(locked_path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    refusals.note(refusal())
    await refusals.settle()
    other.rollback()
    other.close()
    assert await written(log) == []
    refusals.note(refusal(reason="another"))
    await refusals.settle()
    assert len(await written(log)) == 1
