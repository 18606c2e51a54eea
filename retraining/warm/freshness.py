"""Whether the code on the disk is still the code that was imported."""

import os
import sys
import sysconfig
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROJECT = frozenset({"retraining", "flows", "api"})
Fingerprint = tuple[int, int, int]
"""Inode, size in bytes, time of the last change in ns."""


@dataclass(frozen=True)
class Sources:
    """The files that modules were read from, as they were then.

    Installed packages are not looked at file by file: whatever is installed, upgraded or removed changes the
    folder that they are in. The project's own files are, and those of modules from anywhere else.
    """

    known: Mapping[str, Fingerprint | None]

    @classmethod
    def of_loaded_modules(cls, started_ns: int) -> "Sources":
        """The files of this interpreter's modules. Its first import was at `started_ns`, ns since 1970.

        A file that has changed since then may have been read before or after: it counts as changed.
        """
        known: dict[str, Fingerprint | None] = {}
        for path in _watched():
            found = _fingerprint(path)
            uncertain = found is not None and started_ns <= found[2] <= time.time_ns()
            known[path] = None if uncertain else found
        return cls(known)

    def as_they_are_now(self) -> "Sources":
        """The same files today."""
        return Sources({path: _fingerprint(path) for path in self.known})

    def changed(self) -> str | None:
        """A file that is not as it was when it was imported; None if there is none. Takes half a ms."""
        for path, before in self.known.items():
            if before is None or _fingerprint(path) != before:
                return path
        return None


def _watched() -> list[str]:
    scheme = {kind: os.path.realpath(path) for kind, path in sysconfig.get_paths().items()}
    packages = {scheme["purelib"], scheme["platlib"]}
    installed = tuple(f"{folder}/" for folder in {*packages, scheme["stdlib"], scheme["platstdlib"]})
    files = {
        path: None
        for name, module in list(sys.modules.items())
        if (origin := getattr(module, "__file__", None)) and (path := os.path.realpath(origin))
        if not path.startswith(installed) or name.partition(".")[0] in PROJECT
    }
    return [*packages, *files]


def _fingerprint(path: str) -> Fingerprint | None:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
