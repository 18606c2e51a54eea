"""News come from the stream into the table in their order, and no gap in the stream stays open."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

import pytest

from retraining.errors import OrchestratorUnavailable, StoreUnavailable
from retraining.inbox import BATCH, SIZE, Inbox, write_together_or_singly
from tests.jobs.waiting import until
from tests.orchestrator.fake_server import FakeServer


class Numbers(FakeServer[int]):
    """Tells numbers."""

    def numbers(self) -> AbstractAsyncContextManager[AsyncIterator[int]]:
        return self._followed("numbers")

    def tell(self, *numbers: int) -> None:
        for number in numbers:
            self._tell(number)


class Table:
    """Takes numbers, and whatever the stream did not tell when it is reconciled."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.failures: list[Exception] = []
        """What writing and reconciling raise, the first one first."""
        self.reconciled = 0
        self.open = asyncio.Event()
        self.open.set()

    async def write(self, numbers: Sequence[int]) -> None:
        await self.open.wait()
        self._fail()
        self.batches.append([*numbers])

    async def reconcile(self) -> None:
        self._fail()
        self.reconciled += 1

    @property
    def rows(self) -> list[int]:
        return [number for batch in self.batches for number in batch]

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


@pytest.fixture
def server() -> Numbers:
    return Numbers()


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def inbox(server: Numbers, table: Table) -> Inbox[int]:
    return Inbox(
        "numbers",
        follow=server.numbers,
        write=table.write,
        reconcile=table.reconcile,
        reconcile_seconds=3_600,
    )


async def quiet(inbox: Inbox[int]) -> None:
    """Wait until the stream is open, and the gap before it closed."""

    async def is_quiet() -> bool:
        return inbox.live and not inbox._gap.is_set()

    await until(is_quiet)


async def has(table: Table, rows: Sequence[int]) -> None:
    """Wait until the table has these rows."""

    async def has_them() -> bool:
        return len(table.rows) >= len(rows)

    await until(has_them)
    assert table.rows == [*rows]


async def reconciled_after(table: Table, before: int) -> None:
    """Wait until it was reconciled again."""

    async def again() -> bool:
        return table.reconciled > before

    await until(again)


async def test_what_arrives_is_written_in_batches_and_in_its_order(
    inbox: Inbox[int], server: Numbers, table: Table
) -> None:
    async with inbox.running():
        await quiet(inbox)
        table.open.clear()
        server.tell(*range(2 * BATCH + 1))
        table.open.set()
        await has(table, range(2 * BATCH + 1))
    assert max(map(len, table.batches)) <= BATCH


async def test_news_wait_while_they_cannot_be_written(
    inbox: Inbox[int], server: Numbers, table: Table
) -> None:
    async with inbox.running():
        await quiet(inbox)
        table.failures = [StoreUnavailable("writing"), OrchestratorUnavailable("read a run")]
        server.tell(1, 2)
        await has(table, [1, 2])


async def test_what_can_never_be_written_is_dropped_and_found_by_reconciling(
    inbox: Inbox[int], server: Numbers, table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    async with inbox.running():
        await quiet(inbox)
        before = table.reconciled
        table.failures = [ValueError("a defect")]
        server.tell(1)
        await reconciled_after(table, before)
        server.tell(2)
        await has(table, [2])
    assert [record.getMessage() for record in caplog.records] == ["events about numbers dropped"]


async def test_more_news_than_are_kept_are_found_by_reconciling(
    inbox: Inbox[int], server: Numbers, table: Table
) -> None:
    async with inbox.running():
        await quiet(inbox)
        before = table.reconciled
        table.open.clear()
        server.tell(*range(SIZE + 1))
        await reconciled_after(table, before)
        table.open.set()
        await has(table, range(SIZE))


async def test_a_cut_stream_is_opened_again_and_reconciled(
    inbox: Inbox[int], server: Numbers, table: Table
) -> None:
    async with inbox.running():
        await quiet(inbox)
        before = table.reconciled
        server.cut_events()
        await reconciled_after(table, before)
        assert server.followers == 1
        server.tell(1)
        await has(table, [1])
    assert (inbox.live, server.followers) == (False, 0)


async def test_a_reconciliation_that_fails_is_made_again(inbox: Inbox[int], table: Table) -> None:
    table.failures = [OrchestratorUnavailable("list flow runs"), ValueError("a defect")]
    async with inbox.running():
        await reconciled_after(table, 0)


async def test_it_reconciles_at_intervals_without_a_gap(server: Numbers, table: Table) -> None:
    inbox = Inbox(
        "numbers", follow=server.numbers, write=table.write, reconcile=table.reconcile, reconcile_seconds=0.01
    )
    async with inbox.running():
        await quiet(inbox)
        await reconciled_after(table, table.reconciled + 2)


async def test_it_runs_again_and_begins_with_reconciling(
    inbox: Inbox[int], server: Numbers, table: Table
) -> None:
    server.go_down()  # so that no stream begins
    for _ in range(2):
        before = table.reconciled
        async with inbox.running():
            await reconciled_after(table, before)


# Together, or one by one


class Picky:
    """Refuses one number, and everything that comes with it; the last failure again and again."""

    def __init__(self, refused: int, *failures: Exception) -> None:
        self.refused = refused
        self.failures = [*failures]
        self.written: list[int] = []

    async def __call__(self, numbers: Sequence[int]) -> int:
        if self.refused in numbers:
            raise self.failures.pop(0) if len(self.failures) > 1 else self.failures[0]
        self.written += numbers
        return len(numbers)


async def written(numbers: Sequence[int], write: Picky) -> list[int]:
    return await write_together_or_singly(
        numbers, write, several="numbers", one="a number", facts=lambda number: {"job_id": f"number {number}"}
    )


async def test_what_can_be_written_together_is() -> None:
    write = Picky(0, ValueError())
    assert await written([1, 2, 3], write) == [3]
    assert await written([], write) == []
    assert write.written == [1, 2, 3]


async def test_one_that_cannot_be_written_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    write = Picky(2, ValueError())
    assert await written([1, 2, 3], write) == [1, 1]
    assert write.written == [1, 3]
    together, alone = caplog.records
    assert together.getMessage() == "numbers not written together, trying one by one"
    assert (alone.getMessage(), alone.__dict__["job_id"]) == ("a number cannot be written", "number 2")
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


@pytest.mark.parametrize(
    ("failures", "before"),
    [([StoreUnavailable("writing")], []), ([ValueError(), StoreUnavailable("writing")], [1])],
)
async def test_a_database_that_does_not_answer_is_asked_no_further(
    failures: list[Exception], before: list[int]
) -> None:
    write = Picky(2, *failures)
    with pytest.raises(StoreUnavailable):
        await written([1, 2, 3], write)
    assert write.written == before
