"""The end of a job's process, without taking apart what was imported."""

import atexit
import os
import sys
from types import TracebackType


class SwiftExit:
    """Ends the process once everything that was registered to run at its end has run.

    The interpreter would free each object of some thousand modules next: a quarter of a second of computing,
    after which the process ends all the same.
    """

    def __init__(self) -> None:
        self._code: int | None = None
        atexit.register(self._end)  # imported before anything else that registers: called after all of it

    def __enter__(self) -> None:
        """Begin what the exit code depends on."""

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        match problem:
            case None:
                self._code = 0
            case SystemExit(code=None):
                self._code = 0
            case SystemExit(code=int(code)):
                self._code = code
            case KeyboardInterrupt():
                pass  # the interpreter ends by the signal itself
            case _:
                self._code = 1  # it has told the problem by the time of the end

    def _end(self) -> None:
        if self._code is None:
            return
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
        os._exit(self._code & 0xFF)


SWIFT_EXIT = SwiftExit()
"""The one of this process; a fork has its own copy."""
