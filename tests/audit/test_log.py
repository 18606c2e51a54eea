"""The audit log in real databases."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from retraining.audit.entry import Action, Actor, AuditEntry, AuditFilter, Outcome, entry
from retraining.audit.log import AuditLog
from retraining.auth.errors import KeyNameTaken
from retraining.auth.keys import KeyStore
from retraining.errors import InvalidRequest, NoChampion, StoreUnavailable
from retraining.jobs.cursor import Position
from retraining.store.database import Database
from tests.jobs.asking import locked

ADA = Actor("ada", "key 0123456789ab", "192.0.2.7", "req-1")
NOW = datetime(2026, 5, 4, 8, tzinfo=UTC)


def line(number: int = 0, actor: Actor = ADA, **facts: str) -> AuditEntry:
    return entry(actor, Action.JOB_START, Outcome.DONE, NOW + timedelta(seconds=number), **facts)  # type: ignore[arg-type]


async def shown(log: AuditLog, **wanted: object) -> list[AuditEntry]:
    return [*(await log.list(AuditFilter.model_validate(wanted))).entries]


async def test_an_action_is_asked_and_done(log: AuditLog) -> None:
    async with log.deed(ADA, Action.JOB_START, model_name="churn", details={"why": "test"}) as deed:
        [asked] = await shown(log)
        assert (asked.outcome, asked.target, asked.details) == (Outcome.ASKED, None, {"why": "test"})
        deed.target = "job 7"
    done, asked = await shown(log)
    assert (done.outcome, done.target, done.asked_id, done.model_name) == ("done", "job 7", asked.id, "churn")
    for one in (done, asked):
        assert (one.actor, one.credential, one.address) == ("ada", "key 0123456789ab", "192.0.2.7")
        assert (one.correlation_id, one.action) == ("req-1", "job.start")


async def test_an_action_that_fails_says_why(log: AuditLog) -> None:
    with pytest.raises(NoChampion):
        async with log.deed(ADA, Action.MODEL_ROLL_BACK, model_name="churn"):
            raise NoChampion("churn")
    failed = (await shown(log))[0]
    assert failed.outcome == Outcome.FAILED
    assert failed.details["error"] == "NoChampion"
    assert "no champion yet" in failed.details["message"]


async def test_what_nobody_expected_is_named_and_not_quoted(log: AuditLog) -> None:
    with pytest.raises(RuntimeError):
        async with log.deed(ADA, Action.JOB_START):
            raise RuntimeError("the password is hunter2")
    assert (await shown(log))[0].details == {"error": "RuntimeError"}


async def test_an_action_whose_caller_hangs_up_has_an_outcome_too(log: AuditLog) -> None:
    entered = asyncio.Event()

    async def act() -> None:
        async with log.deed(ADA, Action.JOB_START):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(act())
    await entered.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await log.settle()
    assert [one.outcome for one in await shown(log)] == ["failed", "asked"]


async def test_what_cannot_be_written_down_is_not_done(sqlite: Database, locked_path: Path) -> None:
    log = AuditLog(sqlite)
    with locked(locked_path), pytest.raises(StoreUnavailable):
        async with log.deed(ADA, Action.JOB_START):
            pytest.fail("it was done all the same")
    async with log.deed(ADA, Action.JOB_START, target="job 7"):
        locking = locked(locked_path)
        locking.__enter__()
    locking.__exit__(None, None, None)
    assert [one.outcome for one in await shown(log)] == ["asked"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE retraining_audit SET actor = 'nobody'",
        "DELETE FROM retraining_audit",
        "TRUNCATE retraining_audit",
    ],
)
async def test_the_database_refuses_to_change_or_delete_an_entry(
    database: Database, database_url: str, log: AuditLog, statement: str
) -> None:
    if "sqlite" in database_url and statement.startswith("TRUNCATE"):
        statement = "DELETE FROM retraining_audit WHERE 1"  # SQLite's way to empty a table
    await log.add(line())
    with pytest.raises(DBAPIError, match="append-only"):
        async with database.write() as session:
            await (await session.connection()).execute(text(statement))
    assert [one.actor for one in await shown(log)] == ["ada"]


async def test_pages_hold_every_entry_once_newest_first_while_others_are_added(log: AuditLog) -> None:
    await log.add(*(line(number, target=f"job {number}") for number in range(5)))
    seen, cursor = [], None
    while True:
        page = await log.list(AuditFilter(), limit=2, cursor=cursor)
        seen += [one.target for one in page.entries]
        await log.add(line(99, target="job new"))
        if (cursor := page.next_cursor) is None:
            break
    assert seen == [f"job {number}" for number in reversed(range(5))]


async def test_entries_are_found_by_each_of_their_facts(log: AuditLog) -> None:
    eve = Actor("eve", "token", "192.0.2.8", "req-2")
    await log.add(line(model_name="churn", target="job 1"), line(1, eve, model_name="other", target="job 2"))
    for wanted in (
        {"actor": "eve"},
        {"model_name": "other"},
        {"target": "job 2"},
        {"correlation_id": "req-2"},
        {"actor": "eve", "action": "job.start", "outcome": "done"},
    ):
        assert [one.actor for one in await shown(log, **wanted)] == ["eve"], wanted
    assert await shown(log, action="job.cancel") == []
    second = NOW + timedelta(seconds=1)
    assert [one.actor for one in (await log.list(AuditFilter(), since=second)).entries] == ["eve"]
    assert [one.actor for one in (await log.list(AuditFilter(), until=second)).entries] == ["ada"]


async def test_a_forged_cursor_is_harmless(log: AuditLog) -> None:
    await log.add(line())
    with pytest.raises(InvalidRequest, match="cursor"):
        await log.list(AuditFilter(), cursor="forged")
    huge = Position(NOW, UUID(int=2**128 - 1)).encode()
    assert len((await log.list(AuditFilter(), cursor=huge)).entries) == 1


async def test_text_that_a_database_refuses_is_mended(log: AuditLog) -> None:
    async with log.deed(ADA, Action.JOB_START, model_name="a\x00b", target="x" * 5_000) as deed:
        deed.details = {"said": "\ud800\x00"}
    done, asked = await shown(log)
    assert asked.model_name == "a\ufffdb"
    assert len(asked.target or "") == 300
    assert "\x00" not in done.details["said"]


async def test_a_key_and_its_entry_are_of_one_transaction(database: Database, log: AuditLog) -> None:
    keys = KeyStore(database)
    new = await keys.create(name="ci", scopes=["operator"], models=["churn"], by=ADA)
    with pytest.raises(KeyNameTaken):
        await keys.create(name="ci", scopes=["read"], by=ADA)
    for _ in range(2):
        await keys.revoke(new.key.id, by=ADA)
    revoked, created = await shown(log)
    assert (revoked.action, revoked.outcome, revoked.target) == ("key.revoke", "done", f"key {new.key.id}")
    assert created.details["name"] == "ci"
    assert created.details["models"] == ["churn"]
    assert new.secret not in str(created.details)
