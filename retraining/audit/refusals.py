"""Refused requests in the audit log: each kind once a minute, counted, so that nobody fills the disk."""

import asyncio
import ipaddress
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from retraining.audit.entry import Action, Actor, AuditEntry, Outcome, entry
from retraining.audit.log import AuditLog
from retraining.background import in_background
from retraining.errors import StoreUnavailable
from retraining.jobs.plain import storable_text

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 60.0
PLACES = 100
"""Kinds that are told apart in a window: by caller, address and what was refused. The rest is one kind."""
MAX_REASON = 300


@dataclass(frozen=True)
class Refusal:
    """A kind of refused request."""

    actor: Actor
    action: Action
    reason: str
    model_name: str | None = None
    target: str | None = None


@dataclass
class _Repeats:
    refusal: Refusal
    count: int = 0
    last_at: datetime | None = None


class Refusals:
    """Counts refusals. The first of a kind is written at once, its repetitions when the window is over.

    Taking note waits for nothing, and a database that is away costs the entries, not the answers.
    """

    def __init__(
        self, log: AuditLog, *, window_seconds: float = WINDOW_SECONDS, places: int = PLACES
    ) -> None:
        self._log = log
        self._window_seconds = window_seconds
        self._places = places
        self._seen: dict[Refusal, _Repeats] = {}
        self._writing: set[asyncio.Task[None]] = set()

    def note(self, refusal: Refusal) -> None:
        """Count a refusal."""
        refusal = _bounded(refusal)
        # Requests of one kind have many correlation ids; the first one's is written.
        kind = replace(refusal, actor=replace(refusal.actor, correlation_id=None))
        if kind not in self._seen and len(self._seen) >= self._places:
            kind = Refusal(
                Actor("", credential="several"), refusal.action, "more callers than are told apart"
            )
            refusal = kind
        now = datetime.now(UTC)
        if kind in self._seen:
            repeats = self._seen[kind]
            repeats.count += 1
            repeats.last_at = now
            return
        self._seen[kind] = _Repeats(kind)
        self._write_later([_entry(refusal, now, count=1)])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """End a window after the other while the block runs; what was counted then is written at its end."""
        try:
            async with in_background("refusals", self._end_window_in_time):
                yield
        finally:
            self._end_window()
            await self.settle()

    async def settle(self) -> None:
        """Wait until what was noted is written, or could not be."""
        await asyncio.gather(*self._writing)

    async def _end_window_in_time(self) -> None:
        await asyncio.sleep(self._window_seconds)
        self._end_window()

    def _end_window(self) -> None:
        over, self._seen = self._seen, {}
        self._write_later(
            [
                _entry(repeats.refusal, repeats.last_at, count=repeats.count)
                for repeats in over.values()
                if repeats.last_at is not None
            ]
        )

    def _write_later(self, entries: list[AuditEntry]) -> None:
        if entries:
            task = asyncio.create_task(self._write(entries))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    async def _write(self, entries: list[AuditEntry]) -> None:
        try:
            await self._log.add(*entries)
        except StoreUnavailable:
            logger.warning("audit: %s refusals not written", len(entries), exc_info=True)


def _bounded(refusal: Refusal) -> Refusal:
    actor = replace(refusal.actor, address=_network(refusal.actor.address))
    target = refusal.target and storable_text(refusal.target)[:MAX_REASON]
    return replace(refusal, actor=actor, target=target, reason=storable_text(refusal.reason)[:MAX_REASON])


def _network(address: str | None) -> str | None:
    """The address, or of IPv6 the network, whose addresses are all one caller's."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))


def _entry(refusal: Refusal, at: datetime, *, count: int) -> AuditEntry:
    return entry(
        refusal.actor,
        refusal.action,
        Outcome.REFUSED,
        at,
        model_name=refusal.model_name and storable_text(refusal.model_name)[:MAX_REASON],
        target=refusal.target,
        details={"reason": refusal.reason, "count": count},
    )
