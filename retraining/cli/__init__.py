"""The command `retraining`: the stack, and the product for people who prefer a shell."""

import os
import sys


def main() -> None:
    """Run a command; what went wrong is one line on standard error, never a traceback.

    Exit codes: 0 done; 1 it failed (a job that failed or was cancelled, a refused request, something that
    `doctor` found); 2 used wrongly, or `up` could not start anything; 130 interrupted.
    """
    from retraining.cli.app import app
    from retraining.cli.shell import WrongSettings
    from retraining.errors import CannotStart, RetrainingError

    try:
        app()
    except RetrainingError as problem:
        print(f"retraining: {problem}", file=sys.stderr)
        sys.exit(2 if isinstance(problem, CannotStart | WrongSettings) else 1)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as problem:  # a full disk, a file that may not be read
        print(f"retraining: {problem}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
