"""`retraining key`: the database is enough."""

import getpass
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.cli.command import retraining


def test_a_key_is_made_listed_and_revoked(tmp_path: Path) -> None:
    """The secret is shown once and never again; what it may do and its state are listed."""
    home = ("--home", str(tmp_path))
    made = retraining("key", "create", "ci", "-s", "read", "-s", "trigger", "--expires-in-days", "7", *home)
    secret = made.stdout.strip()
    key_id = secret.split("_")[1]
    assert (made.returncode, len(secret)) == (0, 80)
    listed = retraining("key", "list", *home).stdout
    assert secret not in listed
    assert key_id in listed
    assert "read, trigger" in listed
    assert "expires 20" in listed
    assert retraining("key", "revoke", key_id, *home).stdout == f"key {key_id} (ci) is revoked\n"
    assert "revoked 20" in retraining("key", "list", *home).stdout


def test_a_role_and_models_say_what_a_key_opens_and_the_log_who_made_it(tmp_path: Path) -> None:
    """Without the facade: whoever has the database is an administrator, and is named."""
    home = ("--home", str(tmp_path))
    made = retraining("key", "create", "ops", "--role", "operator", "-s", "promote", "-m", "churn", *home)
    assert made.returncode == 0, made.stderr
    listed = retraining("key", "list", *home).stdout
    assert "cancel-any, promote, read, trigger" in listed
    assert "churn" in listed
    with closing(sqlite3.connect(tmp_path / "retraining.db")) as database:
        [(actor, credential, action)] = database.execute(
            "SELECT actor, credential, action FROM retraining_audit"
        )
    assert (actor, credential, action) == (f"local user {getpass.getuser()}", "local", "key.create")


def test_an_administrators_key_limited_to_models_is_refused(tmp_path: Path) -> None:
    wrong = retraining("key", "create", "ops", "-r", "admin", "-m", "churn", "--home", str(tmp_path))
    assert wrong.returncode == 2
    assert "not limited to models" in wrong.stderr


def test_revoking_the_last_administrators_key_warns(tmp_path: Path) -> None:
    home = ("--home", str(tmp_path))
    key_id = retraining("key", "create", "ada", "-r", "admin", *home).stdout.split("_")[1]
    revoked = retraining("key", "revoke", key_id, *home)
    assert revoked.returncode == 0
    assert "no administrator's key can be used any more" in revoked.stderr


def test_a_key_that_does_not_exist_cannot_be_revoked(tmp_path: Path) -> None:
    """Exit code 1 and one line."""
    failed = retraining("key", "revoke", "0" * 12, "--home", str(tmp_path))
    assert failed.returncode == 1
    assert failed.stderr.startswith("retraining: ")
    assert failed.stderr.count("\n") == 1


def test_a_name_that_a_usable_key_has_is_refused(tmp_path: Path) -> None:
    """Exit code 1 and one line."""
    home = ("--home", str(tmp_path))
    retraining("key", "create", "ci", *home)
    failed = retraining("key", "create", "ci", *home)
    assert failed.returncode == 1
    assert failed.stderr.startswith("retraining: a usable API key is called 'ci' already")
    assert failed.stderr.count("\n") == 1


def test_a_home_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    """A mistyped home must not become a second database."""
    failed = retraining("key", "list", "--home", str(tmp_path / "mistyped"))
    assert failed.returncode == 1
    assert "there is no home" in failed.stderr
    assert not (tmp_path / "mistyped").exists()
