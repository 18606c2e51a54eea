"""What every command has in common."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.command import retraining


def test_help_is_quick_and_names_every_command() -> None:
    """Half a second of work at most: no vendor is imported to say what there is."""
    heavy = "prefect", "mlflow", "sqlmodel", "sklearn", "pandas", "polars", "fastapi", "matplotlib"
    code = (
        "import sys; sys.argv = ['retraining', '--help']\n"
        "from retraining.cli import main\n"
        "try: main()\n"
        f"finally: print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    before = _children_seconds()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert _children_seconds() - before < 0.5 * _slowness()
    assert done.stderr.strip() == "[]"
    for command in ("up", "deploy", "doctor", "audit", "job", "trigger", "model", "key"):
        assert f" {command} " in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("job", "list"),
        ("model", "versions", "churn"),
        ("job", "start", "churn"),
        ("job", "cancel", "x"),
        ("trigger", "list"),
    ],
)
def test_without_a_stack_one_line_says_what_to_do(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Exit code 1, one line, no traceback."""
    failed = retraining(*arguments, "--home", str(tmp_path))
    assert failed.returncode == 1
    assert failed.stderr == (
        f"retraining: no stack runs in {tmp_path}; start one with `retraining up --home {tmp_path}`\n"
    )


def test_an_address_where_nobody_answers_is_named(tmp_path: Path) -> None:
    """The address of the environment is used, and shown."""
    env = {**os.environ, "RETRAINING_API_URL": "http://127.0.0.1:9", "RETRAINING_API_KEY": "rt_x"}
    failed = retraining("job", "list", env=env)
    assert failed.returncode == 1
    assert "the API does not answer at http://127.0.0.1:9 (" in failed.stderr
    assert failed.stderr.count("\n") == 1


def test_without_a_key_the_places_for_one_are_named(tmp_path: Path) -> None:
    """RETRAINING_API_KEY, or the home's admin.key."""
    env = {**os.environ, "RETRAINING_API_URL": "http://127.0.0.1:9", "RETRAINING_HOME": str(tmp_path)}
    failed = retraining("model", "list", env=env)
    assert failed.returncode == 1
    assert "no API key: set RETRAINING_API_KEY" in failed.stderr


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    """The variable and what is wrong with it, not a traceback."""
    env = {**os.environ, "RETRAINING_RECONCILE_SECONDS": "often"}
    failed = retraining("up", "--home", str(tmp_path), env=env)
    assert failed.returncode == 2
    assert "RETRAINING_RECONCILE_SECONDS" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("job", "start", "churn", "--param", "max_iter"),
        ("job", "start", "churn", "--as-of", "yesterday"),
        ("job", "list", "--limit", "0"),
        ("key", "create", "ci", "--scope", "everything"),
        ("no-such-command",),
    ],
)
def test_wrong_use_has_exit_code_2(arguments: tuple[str, ...]) -> None:
    """What is wrong is said, and nothing is asked of any server."""
    wrong = retraining(*arguments)
    assert wrong.returncode == 2
    assert "Error" in wrong.stderr


def _children_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _slowness() -> float:
    """How much slower than usual this machine is now: 1 on an idle one."""
    started = time.process_time()
    sum(range(3_000_000))
    return max(1.0, (time.process_time() - started) / 0.05)
