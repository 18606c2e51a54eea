"""Clears up after a supervisor that was killed: `python -m retraining.stack.watchdog MARK STACK_FILE`.

It holds the other end of a pipe as its standard input. When that closes the supervisor is gone, in an orderly
way or not, and every process that still carries the stack's mark is ended. It also inherits the home's lock,
so that no second stack starts in the home before the first one's remains are gone.
"""

import signal
import sys
from pathlib import Path

from retraining.stack.processes import sweep


def main() -> None:
    """Wait for the supervisor's end, then sweep."""
    mark, stack_file = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it goes when the supervisor does, not before
    sys.stdin.buffer.read()
    sweep(mark)
    Path(stack_file).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
