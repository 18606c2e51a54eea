"""A component for tests: `small_server.py PORT [stubborn] [grandchild]`.

`grandchild` leaves one in a session of its own, `stubborn` makes everybody deaf to SIGTERM. Whoever ends by
SIGTERM writes its name to the file in ENDS.
"""

import http.server
import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn


def end(name: str) -> NoReturn:
    if "ENDS" in os.environ:
        with Path(os.environ["ENDS"]).open("a") as ends:
            ends.write(f"{name}\n")
    os._exit(0)


def detach_grandchild() -> None:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
                signal.signal(signal.SIGTERM, lambda *_: end("grandchild"))
            time.sleep(600)
        os._exit(0)
    os.wait()


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    port, options = int(sys.argv[1]), sys.argv[2:]
    print(f"listening on {port}", flush=True)
    deaf = "stubborn" in options
    signal.signal(
        signal.SIGTERM, signal.SIG_IGN if deaf else lambda *_: end(os.environ["RETRAINING_COMPONENT"])
    )
    if "grandchild" in options:
        detach_grandchild()
    http.server.HTTPServer(("127.0.0.1", port), Answer).serve_forever()
