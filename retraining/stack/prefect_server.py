"""`prefect server`, mended in three places: `python -m retraining.stack.prefect_server start`.

Its garbage is collected beside its work. A server on SQLite otherwise stands still for a minute now and then
under load. The event loop's thread collects garbage in the middle of a request; there is a cursor among it,
of a connection that waits in a thread of its own for the write lock; to finalise the cursor, SQLite waits for
the connection; and who holds the lock cannot give it back, because the event loop stands. SQLite gives up
after 60 s (Prefect's `busy_timeout`). A thread that does nothing else may wait: SQLite is called without the
interpreter's lock.

And it looks the time zones of the machine up once. Prefect otherwise opens their 600 files anew for every
schedule that it reads, several times in a request about a deployment: each schedule slows down the next one.

And its transactions on SQLite take the write lock when they begin. Prefect lets most begin as readers; one
that reads, and then writes after somebody else has written, is refused at once with "database is locked"
(SQLITE_BUSY_SNAPSHOT in SQLite's documentation). The client is told 503 and comes back after two seconds,
then four: with two jobs at a time that happened to every job, and events of automations were lost to it.
"""

import gc
import sys
import threading
import time
import zoneinfo
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefect.server.database.configurations import AioSqliteConfiguration
    from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

YOUNG_EVERY_SECONDS = 1.0
ALL_EVERY_SECONDS = 60.0


def collect_in_background() -> None:
    """Collect garbage in a thread of its own from now on, and nowhere else."""
    gc.disable()
    threading.Thread(target=_collect, name="garbage collection", daemon=True).start()


def _collect() -> None:
    since_all = 0.0
    while True:
        time.sleep(YOUNG_EVERY_SECONDS)
        since_all += YOUNG_EVERY_SECONDS
        if since_all < ALL_EVERY_SECONDS:
            gc.collect(1)
        else:
            gc.collect()
            since_all = 0.0


def remember_time_zones() -> None:
    """Look the machine's time zones up once. To be called before Prefect is imported."""
    zoneinfo.available_timezones = cache(zoneinfo.available_timezones)


def lock_when_transactions_begin() -> None:
    """Have SQLite's write lock waited for by whole transactions, which are then never refused.

    There is no setting for it: this replaces the method by which Prefect begins its transactions. What a
    transaction opens beside itself begins as it did, or it would wait for the lock that its opener holds.
    """
    from prefect.server.database import configurations

    mode = configurations.SQLITE_BEGIN_MODE

    @asynccontextmanager
    async def begin(
        _: "AioSqliteConfiguration", session: "AsyncSession", with_for_update: bool = False
    ) -> AsyncGenerator["AsyncSessionTransaction", None]:
        as_prefect_does = "IMMEDIATE" if with_for_update else "DEFERRED"
        beside_another = mode.get() is not None
        before = mode.set(as_prefect_does if beside_another else "IMMEDIATE")
        try:
            async with session.begin() as transaction:
                await session.connection()  # this is when SQLite hears of it
                mode.set(as_prefect_does)
                yield transaction
        finally:
            mode.reset(before)

    configurations.AioSqliteConfiguration.begin_transaction = begin  # type: ignore[method-assign, assignment]


def main() -> None:
    """Run Prefect's own command line."""
    remember_time_zones()
    from prefect.cli import app

    lock_when_transactions_begin()
    collect_in_background()
    sys.argv[:1] = ["prefect", "server"]
    app()


if __name__ == "__main__":
    main()
