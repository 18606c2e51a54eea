"""`prefect server`, mended in two places: `python -m retraining.stack.prefect_server start`.

Its garbage is collected beside its work. A server on SQLite otherwise stands still for a minute now and then
under load. The event loop's thread collects garbage in the middle of a request; there is a cursor among it,
of a connection that waits in a thread of its own for the write lock; to finalise the cursor, SQLite waits for
the connection; and who holds the lock cannot give it back, because the event loop stands. SQLite gives up
after 60 s (Prefect's `busy_timeout`). A thread that does nothing else may wait: SQLite is called without the
interpreter's lock.

And it looks the time zones of the machine up once. Prefect otherwise opens their 600 files anew for every
schedule that it reads, several times in a request about a deployment: each schedule slows down the next one.
"""

import gc
import sys
import threading
import time
import zoneinfo
from functools import cache

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


def main() -> None:
    """Run Prefect's own command line."""
    remember_time_zones()
    from prefect.cli import app

    collect_in_background()
    sys.argv[:1] = ["prefect", "server"]
    app()


if __name__ == "__main__":
    main()
