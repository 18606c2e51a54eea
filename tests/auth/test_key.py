"""The form of a key, and what a caller may do."""

from datetime import UTC, datetime, timedelta

import pytest

from retraining.auth.caller import Caller, Scope
from retraining.auth.errors import MissingScope
from retraining.auth.key import hash_secret, key_id_of, new_key
from retraining.errors import InvalidRequest, UnknownModel

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def test_a_secret_names_its_key_and_has_256_random_bits() -> None:
    new = new_key("ci", ["read"])
    prefix, key_id, secret = new.secret.split("_")
    assert (prefix, key_id) == ("rt", new.key.id)
    assert len(bytes.fromhex(secret)) == 32
    assert key_id_of(new.secret) == new.key.id
    assert new_key("ci", ["read"]).secret != new.secret


def test_only_the_hash_is_kept_and_nothing_shows_the_secret() -> None:
    new = new_key("ci", ["read"])
    assert new.key.secret_hash == hash_secret(new.secret)
    assert new.secret.split("_")[2] not in repr(new) + str(new.key)
    assert new.key.secret_hash not in repr(new.key)


def test_a_key_fits_its_own_secret_only() -> None:
    new = new_key("ci", ["read"])
    assert new.key.fits(new.secret)
    assert not new.key.fits(new_key("ci", ["read"]).secret)
    assert not new.key.fits(new.secret[:-1] + ("0" if new.secret[-1] != "0" else "1"))


@pytest.mark.parametrize(
    "text", ["", "rt_", "Bearer x", "rt_0123456789ab_", "rt_0123456789ab_" + "g" * 64, "ü" * 80, "x" * 10_000]
)
def test_what_has_not_the_form_of_a_key_names_none(text: str) -> None:
    assert key_id_of(text) is None


@pytest.mark.parametrize(
    ("name", "scopes", "expires_at"),
    [
        ("", ["read"], None),
        ("  ", ["read"], None),
        ("x" * 101, ["read"], None),
        ("a\nb", ["read"], None),
        ("ci", [], None),
        ("ci", ["write"], None),
        ("ci", ["read"], datetime(2099, 1, 1)),
        ("ci", ["read"], datetime(2001, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_key_without_name_scope_or_future_is_refused(
    name: str, scopes: list[str], expires_at: datetime | None
) -> None:
    with pytest.raises(ValueError, match=r"key|Scope"):
        new_key(name, scopes, expires_at)


def test_a_key_is_usable_until_it_expires_or_is_revoked() -> None:
    key = new_key("ci", ["read"]).key
    assert key.usable(NOW)
    key.expires_at = NOW + timedelta(seconds=1)
    assert key.usable(NOW)
    assert not key.usable(NOW + timedelta(seconds=1))
    key.expires_at, key.revoked_at = None, NOW
    assert not key.usable(NOW)


@pytest.mark.parametrize("scope", list(Scope))
def test_a_scope_allows_itself_alone_cancel_any_cancel_too_and_admin_everything(scope: Scope) -> None:
    caller = Caller.named("ci", [scope])
    allowed = {wanted for wanted in Scope if caller.may(wanted)}
    implied = {Scope.ADMIN: set(Scope), Scope.CANCEL_ANY: {Scope.CANCEL}}
    assert allowed == {scope} | implied.get(scope, set())


def test_a_role_is_a_name_for_scopes_and_scopes_can_be_given_beside_it() -> None:
    assert Caller.named("eve", ["viewer"]).scopes == {Scope.READ}
    operator = Caller.named("ops", ["operator", "promote"])
    assert operator.scopes == {Scope.READ, Scope.TRIGGER, Scope.CANCEL_ANY, Scope.PROMOTE}
    assert not Caller.named("ops", ["operator"]).may(Scope.PROMOTE)
    assert new_key("ops", ["operator"]).key.scopes == ["cancel-any", "read", "trigger"]


def test_a_caller_who_is_limited_to_models_sees_no_others_and_is_no_administrator() -> None:
    caller = Caller.named("ops", ["admin"], models=["churn"])
    assert caller.sees("churn")
    assert not caller.sees("profitability")
    assert not caller.may(Scope.ADMIN)
    assert caller.may(Scope.PROMOTE)
    with pytest.raises(UnknownModel) as raised:
        caller.must_see("profitability", ["churn", "profitability", "secret"])
    assert raised.value.known == ("churn",)


@pytest.mark.parametrize("name", ["oidc:ada", "local user root", " oidc:ada "])
def test_a_key_cannot_take_the_name_of_another_kind_of_caller(name: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot begin"):
        new_key(name, ["read"])


@pytest.mark.parametrize(
    ("scopes", "models"), [(["admin"], ["churn"]), (["read"], []), (["read"], [""]), (["read"], ["x" * 201])]
)
def test_a_limit_that_means_nothing_is_refused(scopes: list[str], models: list[str]) -> None:
    with pytest.raises(InvalidRequest, match="models"):
        new_key("ci", scopes, models=models)


def test_a_missing_scope_is_named() -> None:
    with pytest.raises(MissingScope, match="'ci' lacks the scope 'cancel'"):
        Caller.named("ci", ["read"]).must(Scope.CANCEL)
