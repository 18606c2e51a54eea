"""The watch over one job: `watch.py JOB_PID MEMORY_BYTES SECONDS REPORT...`, 0 where there is no bound.

Reads from standard input, a line each: `stage NAME`; `peak`, which it answers with the most memory that it
saw, in bytes; and `lift`, when the job's work is done. When a bound is exceeded it runs REPORT with the
reason as the last argument, while the job's processes are stopped, and kills them. Started by path with
`python -I -S`: standard library only, a few megabytes.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

LOOK_EVERY_SECONDS = 0.05
LEAST_REST = 4.0
"""So many times its own duration follows a look as rest: looking takes a fifth of a core at most."""
REPORT_SECONDS = 60.0
KILL_SECONDS = 10.0
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
GIB = 1024**3


def descendants(job: int) -> set[int]:
    """All processes that descend from the job, it included, this one and its own excluded."""
    family, waiting = set(), [job]
    while waiting:
        process = waiting.pop()
        if process in family or process == os.getpid():
            continue
        family.add(process)
        waiting += _children(process)
    return family


def _children(process: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in os.listdir(f"/proc/{process}/task"):  # noqa: PTH208 - twenty times a second
            with suppress(OSError):
                found += map(int, Path(f"/proc/{process}/task/{task}/children").read_text().split())
    return found


def memory(held: Mapping[int, int], bound: int) -> int:
    """Bytes that processes hold in RAM together, of what each of them holds.

    Pages that they share are told apart only if that could make a difference: to ask for it takes longer.
    """
    together = sum(held.values())
    if len(held) < 2 or together <= bound:
        return together
    return sum(map(_proportional, held))


def _resident(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, IndexError):  # it has just ended
        return 0


def _proportional(process: int) -> int:
    try:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


class Watch:
    """Looks at one job until it ends, is done, or uses too much."""

    def __init__(self, job: int, bound: int, seconds: float, report: list[str]) -> None:
        self._job = job
        self._bound = bound
        self._seconds = seconds
        self._report = report
        self._began = time.monotonic()
        self._stage = "starting"
        self._peak = 0
        self._heard = b""

    def run(self) -> None:
        """Look until there is nothing more to look at."""
        alive = os.pidfd_open(self._job)
        if os.getppid() != self._job:  # it ended before there was a descriptor of it
            return
        poll = select.poll()
        poll.register(alive, select.POLLIN)
        poll.register(sys.stdin.fileno(), select.POLLIN)
        rest = 0.0
        while True:
            ready = {number for number, _ in poll.poll(rest * 1000)}
            if alive in ready:
                return
            if sys.stdin.fileno() in ready:
                content = os.read(sys.stdin.fileno(), 4096)
                if not content or self._hear(content):
                    return
            began = time.monotonic()
            if (excess := self._excess()) is not None:
                self._end(excess)
                return
            rest = max(LOOK_EVERY_SECONDS, LEAST_REST * (time.monotonic() - began))

    def _hear(self, content: bytes) -> bool:
        """Take note; whether the job is done."""
        *lines, self._heard = (self._heard + content).split(b"\n")
        for line in lines:
            word, _, rest = line.decode().partition(" ")
            if word == "lift":
                return True
            if word == "peak":
                print(self._peak, flush=True)
            elif word == "stage":
                self._stage = rest
        return False

    def _excess(self) -> str | None:
        """What was exceeded, for people, or None."""
        if self._seconds and time.monotonic() - self._began > self._seconds:
            return (
                f"took longer than its time limit of {_duration(self._seconds)}, while {self._stage}; "
                "raise resources.time_limit of the model, or let it train on less"
            )
        if not self._bound:
            return None
        held = {process: size for process in descendants(self._job) if (size := _resident(process))}
        used = memory(held, self._bound)
        self._peak = max(self._peak, used)
        if used <= self._bound:
            return None
        several = f" in {len(held)} processes" if len(held) > 1 else ""
        return (
            f"used more than its memory bound of {self._bound / GIB:.2f} GiB "
            f"({used / GIB:.2f} GiB{several}), "
            f"while {self._stage}; raise resources.memory of the model, or let it train on less"
        )

    def _end(self, reason: str) -> None:
        family = self._signal_all(signal.SIGSTOP)
        # The job itself last: its worker would report a crash before the reason is known.
        for process in family - {self._job}:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(  # noqa: S603 - our own module
                [*self._report, reason], timeout=REPORT_SECONDS, check=False, stdin=subprocess.DEVNULL
            )
        self._signal_all(signal.SIGKILL)

    def _signal_all(self, number: int) -> set[int]:
        """Reach also those that were started meanwhile; returns all that were reached."""
        reached: set[int] = set()
        deadline = time.monotonic() + KILL_SECONDS
        # The job last when killing: what it leaves behind would belong to nobody.
        while (new := descendants(self._job) - reached) and time.monotonic() < deadline:
            for process in sorted(new, key=lambda process: process == self._job):
                if process == self._job and len(new) > 1 and number == signal.SIGKILL:
                    continue
                with suppress(ProcessLookupError):
                    os.kill(process, number)
                reached.add(process)
        return reached


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:g} s"
    return f"{seconds / 60:g} min" if seconds < 7200 else f"{seconds / 3600:g} h"


def main() -> None:
    """Watch."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it goes when the job does, not before
    job, bound, seconds, *report = sys.argv[1:]
    Watch(int(job), int(bound), float(seconds), report).run()


if __name__ == "__main__":
    main()
