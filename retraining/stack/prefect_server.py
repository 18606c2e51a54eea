"""`prefect server`, its garbage collected beside its work: `python -m retraining.stack.prefect_server start`.

A server on SQLite otherwise stands still for a minute now and then under load. The event loop's thread
collects garbage in the middle of a request; there is a cursor among it, of a connection that waits in a
thread of its own for the write lock; to finalise the cursor, SQLite waits for the connection; and who holds
the lock cannot give it back, because the event loop stands. SQLite gives up after 60 s (Prefect's
`busy_timeout`). A thread that does nothing else may wait: SQLite is called without the interpreter's lock.
"""

import gc
import sys
import threading
import time

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


def main() -> None:
    """Run Prefect's own command line."""
    from prefect.cli import app

    collect_in_background()
    sys.argv[:1] = ["prefect", "server"]
    app()


if __name__ == "__main__":
    main()
