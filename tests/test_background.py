"""Background work goes on whatever fails, and ends with its owner."""

import asyncio
import logging

import pytest

from retraining.background import in_background
from retraining.errors import StoreUnavailable
from tests.jobs.waiting import until


class Failing:
    """Work that fails the first two times it is done."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure
        self.done = 0
        self.__name__ = "failing"

    async def __call__(self) -> None:
        self.done += 1
        if self.done <= 2:
            raise self.failure
        await asyncio.sleep(0)

    async def well(self) -> bool:
        return self.done > 4


@pytest.mark.parametrize(
    ("failure", "level", "said"),
    [
        (StoreUnavailable("reading"), logging.WARNING, "things are not followed for the moment"),
        (ValueError("a defect"), logging.ERROR, "following things failed, going on"),
    ],
)
async def test_work_that_fails_is_tried_again_and_holds_up_no_other(
    failure: Exception, level: int, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    failing, other = Failing(failure), Failing(failure)
    other.done = 2
    async with in_background("things", failing, other):
        await until(other.well)
        assert failing.done < other.done
        await until(failing.well)
    said_so = [record for record in caplog.records if said in record.getMessage()]
    assert [record.levelno for record in said_so] == [level] * 2


async def test_it_ends_with_its_owner() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def waiting() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with in_background("things", waiting):
        await started.wait()
    assert ended.is_set()
