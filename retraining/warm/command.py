"""The command of a work pool whose jobs start warm."""

import shlex
import sys

from retraining.warm import engine, launcher


def warm_command() -> str:
    """What a process worker runs for each job; cold on a machine that has not this installation.

    The shell takes a thousandth of a second and becomes the launcher: the process id is the same.
    """
    python, path = shlex.quote(sys.executable), shlex.quote(launcher.__file__)
    warm = f"[ -x {python} ] && [ -f {path} ] && exec {python} -I -S {path} {engine.__name__}"
    return shlex.join(["sh", "-c", f"{warm}; exec python -m {engine.ENGINE}"])


def is_warm_command(command: object) -> bool:
    """Whether a pool's command is one of ours, of whatever installation."""
    return isinstance(command, str) and "warm/launcher.py" in command
