"""Promoting and rolling back by hand, when more than one wants to at once."""

import asyncio
import threading
from typing import Literal

import pytest

from retraining.catalog.discovery import Catalog
from retraining.champions import Champions
from retraining.errors import PromotionLockBusy, UnknownModel, VersionNotFound
from retraining.registry.values import Promotion
from tests.api.models import MODELS
from tests.orchestrator.fake import FakeOrchestrator
from tests.registry.factories import challenger
from tests.registry.fake import FakeRegistry


class SlowRegistry(FakeRegistry):
    """Promotes when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.promoting = threading.Event()
        self.go_on = threading.Event()

    def promote(
        self,
        model_name: str,
        version: str,
        *,
        by: str,
        reason: str,
        job_id: str | None = None,
        expected_champion: str | Literal["any"] | None = "any",
    ) -> Promotion | None:
        self.promoting.set()
        assert self.go_on.wait(10)
        return super().promote(
            model_name, version, by=by, reason=reason, job_id=job_id, expected_champion=expected_champion
        )


def champions(registry: FakeRegistry) -> Champions:
    for _ in range(2):
        registry.register("churn", challenger())
    return Champions(Catalog(MODELS), registry, FakeOrchestrator(lock_wait_seconds=0.05))


async def test_one_promotion_at_a_time() -> None:
    registry = SlowRegistry()
    both = champions(registry)
    first = asyncio.create_task(both.promote("churn", "1", by="ada", reason="a"))
    assert await asyncio.to_thread(registry.promoting.wait, 10)
    with pytest.raises(PromotionLockBusy):
        await both.promote("churn", "2", by="eve", reason="b")
    registry.go_on.set()
    assert (await first) is not None
    assert (await both.promote("churn", "2", by="eve", reason="b")) is not None
    assert [one.by for one in await both.promotions("churn")] == ["eve", "ada"]


async def test_a_cancelled_promotion_keeps_the_lock_until_the_registry_is_done() -> None:
    registry = SlowRegistry()
    both = champions(registry)
    first = asyncio.create_task(both.promote("churn", "1", by="ada", reason="a"))
    assert await asyncio.to_thread(registry.promoting.wait, 10)
    first.cancel()
    with pytest.raises(PromotionLockBusy):
        await both.promote("churn", "2", by="eve", reason="b")
    registry.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await first
    standing = await both.standing("churn")
    assert standing.champion is not None
    assert standing.champion.version == "1"
    assert await both.promote("churn", "2", by="eve", reason="b")


async def test_a_model_without_versions_has_no_champion() -> None:
    standing = await Champions(Catalog(MODELS), FakeRegistry(), FakeOrchestrator()).standing("churn")
    assert (standing.champion, standing.promotion, standing.previous) == (None, None, None)


async def test_a_model_outside_the_catalog_is_unknown() -> None:
    known = champions(FakeRegistry())
    for ask in (
        known.standing("fraud"),
        known.versions("fraud"),
        known.promotions("fraud"),
        known.promote("fraud", "1", by="ada", reason=""),
        known.roll_back("fraud", by="ada", reason=""),
    ):
        with pytest.raises(UnknownModel):
            await ask


@pytest.mark.parametrize("version", ["3", "", "latest", "1 ", "\u0661"])
async def test_a_version_is_a_number_that_exists(version: str) -> None:
    with pytest.raises(VersionNotFound):
        await champions(FakeRegistry()).promote("churn", version, by="ada", reason="")
