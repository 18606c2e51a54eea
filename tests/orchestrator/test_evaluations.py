"""Evaluations as a real Prefect server keeps them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient

from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.evaluations import keep_evaluation, latest_evaluation
from tests.triggers.evaluating import an_evaluation

T = TypeVar("T")


class Counted(PrefectConnection):
    """Counts the artifacts that it gets."""

    read = 0

    async def ask(
        self, doing: str, request: Callable[[PrefectClient], Awaitable[T]], seconds: float | None = None
    ) -> T:
        return await super().ask(doing, lambda client: request(cast("Any", _Reader(client, self))), seconds)


@dataclass
class _Reader:
    client: PrefectClient
    counted: Counted

    async def request(self, method: Any, path: Any, **given: Any) -> Any:
        answer = await self.client.request(method, path, **given)
        if path == "/artifacts/filter":
            self.counted.read += len(answer.json())
        return answer


@pytest.fixture
async def connection(prefect_api: str) -> AsyncIterator[Counted]:
    async with Counted(prefect_api, request_seconds=60) as connection:
        yield connection


async def artifacts_of(client: PrefectClient, trigger_id: UUID) -> list[dict[str, Any]]:
    wanted = {"artifacts": {"key": {"any_": [f"retraining-trigger-{trigger_id}"]}}}
    found: list[dict[str, Any]] = (await client.request("POST", "/artifacts/filter", json=wanted)).json()
    return found


async def test_a_check_reads_one_evaluation_of_many(connection: Counted) -> None:
    trigger_id = uuid4()
    for _ in range(4):
        newest = an_evaluation(trigger_id=trigger_id)
        await keep_evaluation(connection, newest)
    assert connection.read == 0, "none is kept twice"

    assert await latest_evaluation(connection, trigger_id) == newest

    assert connection.read == 1


async def test_one_that_cannot_be_read_is_passed_over(connection: Counted, client: PrefectClient) -> None:
    """Another release may have kept it."""
    evaluation = an_evaluation()
    await keep_evaluation(connection, evaluation)
    strange = {"key": f"retraining-trigger-{evaluation.trigger_id}", "type": "evaluation", "data": {"id": 1}}
    await client.request("POST", "/artifacts/", json=strange)

    assert await latest_evaluation(connection, evaluation.trigger_id) == evaluation


async def test_values_of_the_data_are_no_markup_in_the_description(
    connection: Counted, client: PrefectClient
) -> None:
    evaluation = an_evaluation(reason="new categories (<b>*x*</b>)")
    await keep_evaluation(connection, evaluation)
    [artifact] = await artifacts_of(client, evaluation.trigger_id)
    assert artifact["description"].endswith(r"new categories (\<b\>\*x\*\</b\>)")
    assert artifact["data"]["breached"] is False
