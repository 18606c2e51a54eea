"""Run a command that does not outlive the process that started it: `leash.py PARENT_PID COMMAND...`.

Linux sends the command SIGTERM when its parent dies, whatever killed the parent. The wish survives `exec`, so
the command keeps this process's id. Elsewhere the command simply runs. Started by path with `python -I -S`:
standard library only.
"""

import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent, then become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it died before the wish was made
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - the supervisor's own command, no shell wanted


if __name__ == "__main__":
    main()
