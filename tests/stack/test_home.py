"""The stack's home and its files."""

import os
from pathlib import Path

import pytest

from retraining.errors import StackNotRunning
from retraining.stack.home import Home, write_private
from retraining.stack.stack_file import Addresses, Pids, Stack, read_stack_file, write_stack_file
from tests.stack.running import mode


def test_a_private_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    """Mode 0600, and an older file of another mode is replaced."""
    secret = tmp_path / "secret"
    secret.write_text("old")
    secret.chmod(0o644)
    before = os.umask(0)
    try:
        write_private(secret, "new")
    finally:
        os.umask(before)
    assert (secret.read_text(), mode(secret)) == ("new", 0o600)
    assert [file.name for file in tmp_path.iterdir()] == ["secret"]


def test_what_a_stack_writes_others_read(tmp_path: Path) -> None:
    """Addresses and process ids survive the file."""
    where = Addresses("http://api", "http://prefect/api", "http://prefect", "http://mlflow")
    stack = Stack(where, Pids(prefect=1, mlflow=2, api=3, workers=(4, 5), supervisor=6))
    write_stack_file(Home(tmp_path), stack)
    assert read_stack_file(tmp_path) == stack


def test_without_a_stack_there_is_nothing_to_read(tmp_path: Path) -> None:
    """The error says how to start one."""
    with pytest.raises(StackNotRunning, match="retraining up"):
        read_stack_file(tmp_path)


def test_a_home_made_by_us_is_closed_to_others(tmp_path: Path) -> None:
    """Databases and artifacts are nobody else's."""
    home = Home(tmp_path / "home")
    home.prepare()
    assert mode(home.path) == 0o700
