"""`prefect.engine`, once Prefect's server listens: `python -m retraining.warm.engine`.

Prefect's client waits for a server that it has met. One that is not there at a job's first request, because
it is being restarted, would cost the job.
"""

import os
import runpy
import socket
import sys
import time
from urllib.parse import urlsplit

ENGINE = "prefect.engine"
PATIENCE_SECONDS = 60.0
BETWEEN_SECONDS = 0.2
CONNECT_SECONDS = 5.0


def main() -> None:
    """Wait, at most a minute, and become the engine; what is wrong then is the engine's to say."""
    if address := os.environ.get("PREFECT_API_URL"):
        wait_while_refused(address, PATIENCE_SECONDS)
    runpy.run_module(ENGINE, run_name="__main__", alter_sys=True)


def wait_while_refused(address: str, seconds: float) -> None:
    """Until something listens at the address; at once if it cannot be tried so, as behind a proxy."""
    url = urlsplit(address)
    port = url.port or (443 if url.scheme == "https" else 80)
    deadline, told = time.monotonic() + seconds, False
    while time.monotonic() < deadline:
        try:
            socket.create_connection((url.hostname, port), CONNECT_SECONDS).close()
        except ConnectionRefusedError:
            if not told:
                print(f"retraining: nobody listens at {address}; waiting", file=sys.stderr, flush=True)
            told = True
            time.sleep(BETWEEN_SECONDS)
        except OSError:
            return
        else:
            return


if __name__ == "__main__":
    main()
