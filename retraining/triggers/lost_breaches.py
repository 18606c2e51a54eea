"""Breaches whose job never came: Prefect tries the action of an automation once, and may lose an event."""

import logging
from datetime import datetime, timedelta
from uuid import UUID

from retraining.errors import Unavailable
from retraining.orchestrator.values import TriggerOrchestrator
from retraining.store.database import Database
from retraining.triggers import repository
from retraining.triggers.evaluation_log import evaluation_of

logger = logging.getLogger(__name__)

PATIENCE = timedelta(seconds=30)
"""So long after a breach its job is expected to show itself."""
INTERVAL = timedelta(minutes=1)
"""Between two announcements of a breach."""
GIVEN_UP = timedelta(hours=1)
"""An older breach is left to the next check."""


class LostBreaches:
    """Announces again the breaches that fired and caused no job.

    Admission recognises a second run for one evaluation, so that one announcement too many starts nothing.
    """

    def __init__(self, database: Database, orchestrator: TriggerOrchestrator) -> None:
        self._database = database
        self._orchestrator = orchestrator
        self._announced: dict[UUID, int] = {}

    async def announce(self, now: datetime) -> None:
        """Announce those that are due, each once a minute until its job is there, or for an hour.

        Raises:
            OrchestratorUnavailable, StoreUnavailable: nothing is lost, the next time does the rest.
        """
        async with self._database.session() as session:
            rows = await repository.fired_without_job(session, after=now - GIVEN_UP, before=now - PATIENCE)
        self._announced = {row.id: self._announced.get(row.id, 0) for row in rows}
        for row in rows:
            # Counted from the breach: what two replicas announce in the same minute is one event.
            repetition = 1 + (now - row.at - PATIENCE) // INTERVAL
            if repetition <= self._announced[row.id]:
                continue
            facts = {"trigger_id": str(row.trigger_id), "evaluation_id": str(row.id)}
            try:
                await self._orchestrator.announce_breach(evaluation_of(row), repetition=repetition)
                logger.warning("a breach caused no job so far, and is announced again", extra=facts)
            except Unavailable:
                raise
            except Exception:
                logger.exception("a breach that caused no job cannot be announced again", extra=facts)
            self._announced[row.id] = repetition
