"""Writing and reading the audit log.

An action and its entry do not come apart. What is done in our own database, making and revoking keys, is
written in the same transaction as its entry. Everything else is done in Prefect or MLflow, so `asked` is
written before, and if that cannot be, the action is refused; `done` or `failed` follows. An `asked` that is
alone says that the process died or the database went away meanwhile, and names what to look at.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlmodel import col, select

from retraining.audit.entry import Action, Actor, AuditEntry, AuditFilter, Outcome, entry
from retraining.errors import RetrainingError, StoreUnavailable
from retraining.jobs.cursor import Position, page_start
from retraining.jobs.plain import MAX_INT, storable_json, storable_text
from retraining.store.database import Database

logger = logging.getLogger(__name__)

MAX_PAGE = 500
MAX_TEXT = 300
"""Characters of a name that came with a request."""


@dataclass
class Deed:
    """An action under way. What is learned of it meanwhile goes into its outcome's entry."""

    model_name: str | None = None
    target: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AuditPage:
    """One page of entries, newest first."""

    entries: Sequence[AuditEntry]
    next_cursor: str | None
    """Continues after the last entry of this page; None at the end."""


class AuditLog:
    """The audit log. Nothing in here changes or deletes an entry, and the database refuses to."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._late: set[asyncio.Task[None]] = set()

    async def add(self, *entries: AuditEntry) -> None:
        """Append entries. Raises StoreUnavailable."""
        async with self._database.write() as session:
            session.add_all(entries)

    @asynccontextmanager
    async def deed(
        self,
        actor: Actor,
        action: Action,
        *,
        model_name: str | None = None,
        target: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> AsyncIterator[Deed]:
        """Write `asked`, let the block act, and write what came of it.

        Raises:
            StoreUnavailable: `asked` cannot be written; the block is not entered.
        """
        asked = entry(
            actor,
            action,
            Outcome.ASKED,
            datetime.now(UTC),
            model_name=_bounded(model_name),
            target=_bounded(target),
            details=storable_json(details or {}),
        )
        await self.add(asked)
        deed = Deed(model_name, target)
        try:
            yield deed
        except BaseException as exc:
            await self._conclude(asked, actor, Outcome.FAILED, deed, _problem(exc))
            raise
        await self._conclude(asked, actor, Outcome.DONE, deed, {})

    async def list(
        self,
        wanted: AuditFilter,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> AuditPage:
        """Entries, newest first, from `since` to before `until`; `cursor` comes from the page before.

        Raises:
            InvalidRequest: limit outside 1 to 500, or a cursor that no page gave.
        """
        after = page_start(limit=limit, max_limit=MAX_PAGE, offset=0, cursor=cursor)
        number = col(AuditEntry.id)
        query = select(AuditEntry).order_by(number.desc()).limit(limit + 1)
        for name, value in wanted.model_dump(
            include=set(AuditFilter.model_fields), exclude_none=True
        ).items():
            query = query.where(col(getattr(AuditEntry, name)) == value)
        if since is not None:
            query = query.where(col(AuditEntry.at) >= since)
        if until is not None:
            query = query.where(col(AuditEntry.at) < until)
        if after is not None:
            # Only a forged cursor holds a number that no row can have.
            query = query.where(number < min(after.id.int, MAX_INT))
        async with self._database.session() as session:
            found = (await session.exec(query)).all()
        page = found[:limit]
        return AuditPage(page, _position(page[-1]).encode() if len(found) > limit else None)

    async def settle(self) -> None:
        """Wait until the outcomes are written of which nobody waited for the end."""
        await asyncio.gather(*self._late, return_exceptions=True)

    async def _conclude(
        self, asked: AuditEntry, actor: Actor, outcome: Outcome, deed: Deed, problem: dict[str, Any]
    ) -> None:
        # Whoever asked may hang up now, or be told of another failure: what was done is written all the same.
        writing = asyncio.create_task(self._write_outcome(asked, actor, outcome, deed, problem))
        self._late.add(writing)
        writing.add_done_callback(self._late.discard)
        await asyncio.shield(writing)

    async def _write_outcome(
        self, asked: AuditEntry, actor: Actor, outcome: Outcome, deed: Deed, problem: dict[str, Any]
    ) -> None:
        told = entry(
            actor,
            asked.action,
            outcome,
            datetime.now(UTC),
            model_name=_bounded(deed.model_name),
            target=_bounded(deed.target),
            asked_id=asked.id,
            details=storable_json({**deed.details, **problem}),
        )
        try:
            await self.add(told)
        except StoreUnavailable:
            # The action is over and must not fail for this; `asked` stands, and this line says the rest.
            logger.exception(
                "audit: outcome %s of entry %s not written", outcome, asked.id, extra={"target": deed.target}
            )


def _bounded(text: str | None) -> str | None:
    return None if text is None else storable_text(text)[:MAX_TEXT]


def _problem(exc: BaseException) -> dict[str, Any]:
    if isinstance(exc, RetrainingError):
        return {"error": type(exc).__name__, "message": str(exc)[:1_000]}
    return {"error": type(exc).__name__}  # its text is for the logs: nobody knows what it holds


def _position(last: AuditEntry) -> Position:
    """The place of an entry, in the form that the jobs' cursors have."""
    assert last.id is not None
    return Position(last.at, UUID(int=last.id))
