"""Steps that meet an outage, a cancellation or each other: both sides agree in the end."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlmodel import select

from retraining.errors import StoreUnavailable, TriggerNotFound
from retraining.jobs.records import SyncMark
from retraining.orchestrator.values import TriggerOrder
from retraining.store.database import Database
from retraining.triggers.service import TriggerService
from retraining.triggers.sync import TriggerSync
from retraining.triggers.trigger import TriggerChange, TriggerFilter, TriggerPhase
from tests.jobs.asking import locked
from tests.jobs.waiting import until
from tests.orchestrator.fake_triggers import FakeTriggers
from tests.triggers.evaluating import an_evaluation
from tests.triggers.looking import following, leave, recorded
from tests.triggers.making import create, evaluation_rows, fire, held, rows
from tests.triggers.models import CATALOG


class Watched(FakeTriggers):
    """Something happens when Prefect has taken an order, before the answer is there."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def put_trigger(self, order: TriggerOrder) -> None:
        await super().put_trigger(order)
        await self._now()

    async def remove_trigger(self, trigger_id: object, model_name: str) -> None:
        await super().remove_trigger(trigger_id, model_name)  # type: ignore[arg-type]  # passed on
        await self._now()

    async def _now(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()


@pytest.fixture
def orchestrator() -> Watched:
    return Watched()


async def shown(service: TriggerService) -> set[object]:
    return {trigger.id for trigger in (await service.list(TriggerFilter())).triggers}


# The database does not answer


async def test_a_locked_database_creates_nothing(
    sqlite: Database, locked_path: Path, orchestrator: Watched
) -> None:
    service = TriggerService(sqlite, orchestrator, CATALOG)
    with locked(locked_path), pytest.raises(StoreUnavailable):
        await create(service)
    assert (held(orchestrator), await rows(sqlite)) == (set(), {})


async def test_a_database_that_locks_half_way_leaves_nothing_in_prefect(
    sqlite: Database, locked_path: Path, orchestrator: Watched
) -> None:
    service, sync = TriggerService(sqlite, orchestrator, CATALOG), TriggerSync(sqlite, orchestrator)
    with ExitStack() as stack:

        async def lock() -> None:
            stack.enter_context(locked(locked_path))

        orchestrator.meanwhile = lock
        with pytest.raises(StoreUnavailable):
            await create(service)
        assert held(orchestrator) == set()
    assert await shown(service) == set()
    [left] = await rows(sqlite)
    await leave(sqlite, left, TriggerPhase.CREATING)
    await sync.compare()
    assert await rows(sqlite) == {}


async def test_a_delete_that_the_database_did_not_take_to_its_end_is_ended_later(
    sqlite: Database, locked_path: Path, orchestrator: Watched
) -> None:
    service, sync = TriggerService(sqlite, orchestrator, CATALOG), TriggerSync(sqlite, orchestrator)
    trigger = await create(service)
    with ExitStack() as stack:

        async def lock() -> None:
            stack.enter_context(locked(locked_path))

        orchestrator.meanwhile = lock
        with pytest.raises(StoreUnavailable):
            await service.delete(trigger.id, by="ci")
    assert (held(orchestrator), await shown(service)) == (set(), set())
    await leave(sqlite, trigger.id, TriggerPhase.REMOVING)
    await sync.compare()
    assert (await rows(sqlite))[trigger.id].phase is TriggerPhase.DELETED


async def test_a_locked_database_takes_no_signal(
    sqlite: Database, locked_path: Path, orchestrator: Watched
) -> None:
    service = TriggerService(sqlite, orchestrator, CATALOG)
    trigger = await create(service)
    with locked(locked_path), pytest.raises(StoreUnavailable):
        await fire(service, trigger.id, "k")
    assert (orchestrator.breaches, await evaluation_rows(sqlite)) == ([], [])
    assert (await fire(service, trigger.id, "k")).action == "fired"


async def test_evaluations_wait_while_the_database_is_locked(
    sqlite: Database, locked_path: Path, orchestrator: Watched
) -> None:
    found = an_evaluation()

    async def begun() -> bool:
        async with sqlite.session() as session:
            marks = set(await session.exec(select(SyncMark.name)))
        return {"evaluations", "deployed retrain/churn"} <= marks

    async with TriggerSync(sqlite, orchestrator).running():
        await until(following(orchestrator))
        await until(begun)  # its first writes are done: locking would wait for them, and they for this loop
        with locked(locked_path):
            await orchestrator.keep_evaluation(found)
            with pytest.raises(TimeoutError):
                await until(recorded(sqlite, found.id), seconds=0.3)
        await until(recorded(sqlite, found.id))


# The caller is gone


async def test_a_creation_that_is_cancelled_leaves_nothing_to_fire(
    database: Database, orchestrator: Watched
) -> None:
    service = TriggerService(database, orchestrator, CATALOG)

    async def cancel() -> None:
        creation.cancel()
        await asyncio.sleep(0)

    orchestrator.meanwhile = cancel
    creation = asyncio.create_task(create(service))
    with pytest.raises(asyncio.CancelledError):
        await creation
    assert (held(orchestrator), await shown(service)) == (set(), set())


# Two at once


async def test_changes_at_once_come_one_after_the_other(database: Database, orchestrator: Watched) -> None:
    service = TriggerService(database, orchestrator, CATALOG)
    trigger = await create(service)
    changes = [TriggerChange(enabled=False), TriggerChange(trigger_condition={"patience": 3})] * 3
    await asyncio.gather(*(service.change(trigger.id, change, by="ci") for change in changes))
    after = await service.get(trigger.id)
    assert (after.enabled, after.trigger_condition["patience"]) == (False, 3)
    order = orchestrator.orders[trigger.id]
    assert (order.enabled, order.condition.model_dump()["patience"]) == (False, 3)


async def test_a_change_waits_for_the_one_before(database: Database, orchestrator: Watched) -> None:
    service = TriggerService(database, orchestrator, CATALOG)
    trigger = await create(service)
    second: list[asyncio.Task[object]] = []

    async def begin_another() -> None:
        orchestrator.calls.clear()
        change = TriggerChange(trigger_condition={"patience": 3})
        second.append(asyncio.create_task(service.change(trigger.id, change, by="ops")))
        await asyncio.wait(second, timeout=0.3)
        assert orchestrator.calls == []

    orchestrator.meanwhile = begin_another
    first = await service.change(trigger.id, TriggerChange(enabled=False), by="ci")
    assert first.trigger_condition["patience"] == 1
    await second[0]
    assert orchestrator.calls == ["put_trigger"]


async def test_a_trigger_deleted_while_it_is_changed_stays_deleted(
    database: Database, orchestrator: Watched
) -> None:
    service = TriggerService(database, orchestrator, CATALOG)
    trigger = await create(service)

    async def delete() -> None:
        await service.delete(trigger.id, by="ops")
        # The order of the change reaches Prefect after that of the deletion.
        await FakeTriggers.put_trigger(orchestrator, changed)

    changed = orchestrator.orders[trigger.id]
    orchestrator.meanwhile = delete
    with pytest.raises(TriggerNotFound):
        await service.change(trigger.id, TriggerChange(enabled=False), by="ci")
    assert (held(orchestrator), await shown(service)) == (set(), set())


async def test_a_trigger_can_be_deleted_while_a_change_of_it_hangs(
    database: Database, orchestrator: Watched
) -> None:
    service = TriggerService(database, orchestrator, CATALOG)
    trigger = await create(service)
    await leave(database, trigger.id, TriggerPhase.CHANGING, seconds=1)
    await service.delete(trigger.id, by="ops")
    assert (held(orchestrator), await shown(service)) == (set(), set())


async def test_deletes_at_once_are_one(database: Database, orchestrator: Watched) -> None:
    service = TriggerService(database, orchestrator, CATALOG)
    trigger = await create(service)
    answers = await asyncio.gather(
        *(service.delete(trigger.id, by="ci") for _ in range(4)), return_exceptions=True
    )
    assert {type(answer) for answer in answers} <= {type(None), TriggerNotFound}
    assert (held(orchestrator), (await rows(database))[trigger.id].phase) == (set(), TriggerPhase.DELETED)
