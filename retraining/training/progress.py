"""How training says how far it is."""

from typing import Protocol


class Progress(Protocol):
    """Called by training code with the share done, from 0 to 1, and a word on what is under way."""

    def __call__(self, fraction: float, message: str = "") -> None:
        """Report progress; cheap enough to call after every iteration."""
        ...


def no_progress(fraction: float, message: str = "") -> None:
    """Report to nobody."""
