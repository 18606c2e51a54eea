"""The command, as a person runs it."""

import subprocess
import sys
from collections.abc import Mapping


def retraining(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "retraining.cli", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
