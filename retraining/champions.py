"""Who is champion, who was, and changing it by hand."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import anyio

from retraining.catalog.discovery import Catalog
from retraining.errors import ChampionChanged, VersionNotFound
from retraining.orchestrator.values import Orchestrator
from retraining.registry.values import ModelVersion, Promotion, Registry

T = TypeVar("T")


@dataclass(frozen=True)
class Standing:
    """A model's champion and how it got there."""

    model_name: str
    champion: ModelVersion | None
    """None before the first promotion."""
    promotion: Promotion | None
    """The change that made it champion."""
    previous: ModelVersion | None
    """The roll-back target."""


@dataclass(frozen=True)
class VersionHistory:
    """A version, and every change that made it champion."""

    version: ModelVersion
    promotions: Sequence[Promotion]
    """Newest first; empty for a version that never was champion."""


class Champions:
    """The registry's use cases. Every method raises UnknownModel and RegistryUnavailable."""

    def __init__(self, catalog: Catalog, registry: Registry, orchestrator: Orchestrator) -> None:
        self._catalog = catalog
        self._registry = registry
        self._orchestrator = orchestrator

    async def standing(self, model_name: str) -> Standing:
        """The champion of a model, since when, and what a roll-back would restore."""
        self._catalog.get(model_name)
        return await _in_thread(lambda: self._standing(model_name))

    async def versions(
        self, model_name: str, *, limit: int | None = None, offset: int = 0
    ) -> list[VersionHistory]:
        """The versions of a model, newest first, each with its promotions."""
        self._catalog.get(model_name)

        def read() -> list[VersionHistory]:
            promotions = self._registry.promotions(model_name)
            versions = self._registry.list_versions(model_name)[offset:][:limit]
            return [
                VersionHistory(version, [one for one in promotions if one.version == version.version])
                for version in versions
            ]

        return await _in_thread(read)

    async def promotions(self, model_name: str) -> list[Promotion]:
        """Who was champion when, newest first."""
        self._catalog.get(model_name)
        return await _in_thread(lambda: self._registry.promotions(model_name))

    async def promote(self, model_name: str, version: str, *, by: str, reason: str) -> Promotion | None:
        """Make a version champion; None if it already is.

        Raises:
            VersionNotFound: there is no such version.
            PromotionLockBusy, OrchestratorUnavailable: the model's promotion lock cannot be had.
        """
        self._catalog.get(model_name)
        if not (version.isascii() and version.isdecimal()):
            raise VersionNotFound(model_name, version)
        async with self._orchestrator.promotion_lock(model_name):
            return await _in_thread(lambda: self._registry.promote(model_name, version, by=by, reason=reason))

    async def roll_back(
        self, model_name: str, *, by: str, reason: str, from_version: str | None = None
    ) -> Promotion | None:
        """Make the previous champion champion again.

        A roll-back makes the champion that leaves the next roll-back's target, so doing it twice undoes it.
        With `from_version`, the champion to leave, repeating is harmless: None if it was left already.

        Raises:
            NoChampion, NothingToRollBackTo: there is nothing to do it with.
            ChampionChanged: the champion is neither `from_version` nor what a roll-back from it restored.
            PromotionLockBusy, OrchestratorUnavailable: the model's promotion lock cannot be had.
        """
        self._catalog.get(model_name)

        def change() -> Promotion | None:
            if from_version is not None:
                standing = self._standing(model_name)
                champion = standing.champion.version if standing.champion else None
                if champion != from_version:
                    last = standing.promotion
                    if last and last.kind == "rollback" and last.previous == from_version:
                        return None
                    raise ChampionChanged(model_name, from_version, champion)
            return self._registry.roll_back(model_name, by=by, reason=reason)

        async with self._orchestrator.promotion_lock(model_name):
            return await _in_thread(change)

    def _standing(self, model_name: str) -> Standing:
        champion = self._registry.find_champion(model_name)
        promotions = self._registry.promotions(model_name) if champion else []
        made = (one for one in promotions if champion and one.version == champion.version)
        return Standing(model_name, champion, next(made, None), self._registry.find_previous(model_name))


async def _in_thread(call: Callable[[], T]) -> T:
    asking = asyncio.create_task(anyio.to_thread.run_sync(call))
    try:
        return await asyncio.shield(asking)
    except asyncio.CancelledError:
        # A thread cannot be stopped. The lock around it is not given back while aliases still move.
        await asyncio.wait({asking})
        raise
