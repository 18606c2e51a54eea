"""Bearer tokens, of a real issuer with real keys."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.utils import base64url_encode

from retraining.auth.caller import Caller, Scope
from retraining.auth.errors import InvalidToken, IssuerUnavailable
from retraining.auth.signing_keys import SigningKeys, is_safe, usable_keys
from retraining.auth.tokens import MAX_TOKEN, TokenPolicy, Tokens, caller_of, find_claim
from retraining.settings import Settings
from tests.auth.issuer import AUDIENCE, Issuer, rsa_key, running_issuer

POLICY = TokenPolicy(
    issuer="https://issuer.test",
    audience=(AUDIENCE, "retraining-cli"),
    algorithms=("RS256", "ES256"),
    leeway_seconds=30,
    name_claim="sub",
    access_claim="roles",
    models_claim=None,
)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        yield issuer


@asynccontextmanager
async def tokens_of(
    issuer: Issuer, jwks_url: str | None = None, again_seconds: float = 3600, refresh_seconds: float = 3600
) -> AsyncIterator[Tokens]:
    policy = replace(POLICY, issuer=issuer.url)
    tokens = Tokens(
        policy,
        SigningKeys(
            issuer.url,
            jwks_url,
            policy.algorithms,
            again_seconds=again_seconds,
            refresh_seconds=refresh_seconds,
        ),
    )
    yield tokens
    await tokens.close()


@pytest.mark.parametrize(("key_id", "algorithm"), [("rsa-1", "RS256"), ("ec-1", "ES256"), (None, "RS256")])
async def test_a_token_of_the_issuer_names_its_caller(
    issuer: Issuer, key_id: str | None, algorithm: str
) -> None:
    async with tokens_of(issuer) as tokens:
        caller = await tokens.authenticate(issuer.token(key_id, algorithm))
    assert caller == Caller("oidc:ada", frozenset({Scope.READ, Scope.TRIGGER, Scope.CANCEL_ANY}))
    assert caller.credential == "token"


async def test_keys_come_from_a_given_address_without_discovery(issuer: Issuer) -> None:
    async with tokens_of(issuer, jwks_url=f"{issuer.url}/jwks") as tokens:
        await tokens.authenticate(issuer.token())
    assert issuer.asked == ["/jwks"]


def unsigned(issuer: Issuer) -> str:
    parts = ({"alg": "none", "kid": "rsa-1"}, jwt.decode(issuer.token(), options={"verify_signature": False}))
    return ".".join(base64url_encode(json.dumps(part).encode()).decode() for part in parts) + "."


def signed_with_the_public_key(issuer: Issuer) -> str:
    """The classic: HS256, with the public key for a shared secret."""
    public = rsa_key("rsa-1").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = base64url_encode(json.dumps({"alg": "HS256", "kid": "rsa-1"}).encode())
    content = header + b"." + issuer.token().split(".")[1].encode()
    from hashlib import sha256
    from hmac import digest

    return (content + b"." + base64url_encode(digest(public, content, sha256))).decode()


def changed(issuer: Issuer) -> str:
    header, content, signature = issuer.token().split(".")
    said = json.loads(base64.urlsafe_b64decode(content + "=="))
    other = base64url_encode(json.dumps({**said, "roles": ["admin"]}).encode()).decode()
    return f"{header}.{other}.{signature}"


AGO, AHEAD = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1)
WRONG: dict[str, tuple[Callable[[Issuer], str], str]] = {
    "expired": (lambda issuer: issuer.token(exp=AGO), "is expired"),
    "not yet": (lambda issuer: issuer.token(nbf=AHEAD), "is not valid yet"),
    "audience": (lambda issuer: issuer.token(aud="billing"), "is for another audience"),
    "issuer": (lambda issuer: issuer.token(iss="https://evil.test"), "is of another issuer"),
    "no expiry": (lambda issuer: issuer.token(leave_out="exp"), "has no claim 'exp'"),
    "no audience": (lambda issuer: issuer.token(leave_out="aud"), "has no claim 'aud'"),
    "no issuer": (lambda issuer: issuer.token(leave_out="iss"), "has no claim 'iss'"),
    "no name": (lambda issuer: issuer.token(leave_out="sub"), "has no usable name in its claim 'sub'"),
    "odd name": (lambda issuer: issuer.token(sub="a\nb"), "has no usable name"),
    "forged": (lambda issuer: issuer.token(signed_with="thief"), "has a wrong signature"),
    "changed": (changed, "has a wrong signature"),
    "none": (unsigned, "is not signed with one of RS256, ES256"),
    "public key as secret": (signed_with_the_public_key, "is not signed with one of RS256, ES256"),
    "another algorithm": (lambda issuer: issuer.token("rsa-1", "PS256"), "is not signed with one of"),
    "crossed": (lambda issuer: issuer.token("rsa-1", "ES256"), "does not publish"),
    "unknown key": (lambda issuer: issuer.token("rsa-2"), "does not publish"),
    "too long": (lambda issuer: issuer.token(padding="x" * MAX_TOKEN), "is longer than 16,384"),
    "words": (lambda _: "let me in", "is malformed"),
    "dots": (lambda _: "..", "is malformed"),
    "half": (lambda issuer: issuer.token().rpartition(".")[0], "is malformed"),
}


@pytest.mark.parametrize(("token", "said"), WRONG.values(), ids=WRONG)
async def test_a_wrong_token_is_refused_and_told_why(
    issuer: Issuer, token: Callable[[Issuer], str], said: str
) -> None:
    async with tokens_of(issuer) as tokens:
        with pytest.raises(InvalidToken, match=said):
            await tokens.authenticate(token(issuer))


async def test_clocks_may_differ_by_the_leeway(issuer: Issuer) -> None:
    just_over = datetime.now(UTC) - timedelta(seconds=10)
    async with tokens_of(issuer) as tokens:
        await tokens.authenticate(issuer.token(exp=just_over))


@pytest.mark.parametrize("audience", ["retraining", ["billing", "retraining"], ["retraining-cli"]], ids=str)
async def test_one_fitting_audience_is_enough(issuer: Issuer, audience: object) -> None:
    async with tokens_of(issuer) as tokens:
        await tokens.authenticate(issuer.token(aud=audience))


async def test_forged_key_ids_do_not_make_us_flood_the_issuer(issuer: Issuer) -> None:
    async with tokens_of(issuer) as tokens:
        for number in range(30):
            with pytest.raises(InvalidToken, match="does not publish"):
                await tokens.authenticate(issuer.token(f"forged-{number}", signed_with="thief"))
        await tokens.authenticate(issuer.token())
    assert issuer.asked.count("/jwks") == 1


async def test_a_new_key_of_the_issuer_is_found(issuer: Issuer) -> None:
    async with tokens_of(issuer, again_seconds=0) as tokens:
        await tokens.authenticate(issuer.token())
        issuer.publish("rsa-2")
        await tokens.authenticate(issuer.token("rsa-2"))


async def test_a_withdrawn_key_is_forgotten_after_a_while(issuer: Issuer) -> None:
    async with tokens_of(issuer, again_seconds=0, refresh_seconds=0) as tokens:
        await tokens.authenticate(issuer.token())
        issuer.published = [key for key in issuer.published if key["kid"] != "rsa-1"]
        until = datetime.now(UTC) + timedelta(seconds=20)
        while True:
            try:
                await tokens.authenticate(issuer.token())
            except InvalidToken:
                break
            assert datetime.now(UTC) < until
            await asyncio.sleep(0.01)  # the issuer is asked beside the requests


async def test_while_the_issuer_is_away_known_keys_work_and_unknown_ones_cannot_be_checked(
    issuer: Issuer,
) -> None:
    async with tokens_of(issuer, again_seconds=0, refresh_seconds=0) as tokens:
        await tokens.authenticate(issuer.token())
        issuer.up = False
        for _ in range(5):
            await tokens.authenticate(issuer.token())
        with pytest.raises(IssuerUnavailable, match="does not give its signing keys") as raised:
            await tokens.authenticate(issuer.token("rsa-2"))
        assert "503" in raised.value.problem
        issuer.up = True
        issuer.publish("rsa-2")
        await tokens.authenticate(issuer.token("rsa-2"))


@pytest.mark.parametrize(
    "discovered",
    [
        {"issuer": "https://evil.test", "jwks_uri": "/jwks"},
        {"issuer": None},
        {"jwks_uri": "http://evil.test/jwks"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": 7},
    ],
)
async def test_a_discovery_document_that_points_elsewhere_is_not_followed(
    issuer: Issuer, discovered: dict[str, Any]
) -> None:
    issuer.discovered |= discovered
    async with tokens_of(issuer) as tokens:
        with pytest.raises(IssuerUnavailable):
            await tokens.authenticate(issuer.token())
    assert "/jwks" not in issuer.asked


def test_of_what_is_published_only_public_signing_keys_of_the_pinned_algorithms_count(issuer: Issuer) -> None:
    good = issuer.published[0]
    odd: list[Any] = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared", "alg": "RS256"},
        {**good, "use": "enc", "kid": "for encryption"},
        {**good, "alg": "PS512", "kid": "other algorithm"},
        {**good, "kid": ["no", "text"]},
        {**good, "n": 7, "kid": "broken"},
        {**good, "alg": "ES256", "kid": "crossed"},
        {"kty": "RSA", "kid": "empty"},
        "a word",
        None,
    ]
    assert set(usable_keys({"keys": [*odd, good]}, ("RS256", "ES256"))) == {("rsa-1", "RS256")}
    with pytest.raises(ValueError, match="no `keys`"):
        usable_keys({"error": "x"}, ("RS256",))


def test_a_key_without_an_algorithm_serves_those_of_its_kind(issuer: Issuer) -> None:
    key = {name: value for name, value in issuer.published[0].items() if name != "alg"}
    assert set(usable_keys({"keys": [key]}, ("RS256", "PS256", "ES256"))) == {
        ("rsa-1", "RS256"),
        ("rsa-1", "PS256"),
    }


@pytest.mark.parametrize(
    ("claims", "path", "found"),
    [
        ({"roles": ["a"]}, "roles", ["a"]),
        ({"realm_access": {"roles": ["a"]}}, "realm_access.roles", ["a"]),
        ({"https://example.com/roles": ["a"]}, "https://example.com/roles", ["a"]),
        ({"realm_access": ["a"]}, "realm_access.roles", None),
        ({}, "roles", None),
    ],
)
def test_a_claim_is_found_by_its_name_or_its_path(claims: dict[str, Any], path: str, found: object) -> None:
    assert find_claim(claims, path) == found


@pytest.mark.parametrize(
    ("roles", "scopes"),
    [
        (["viewer"], {Scope.READ}),
        ("openid profile read promote", {Scope.READ, Scope.PROMOTE}),
        (["uma_authorization", "admin"], {Scope.ADMIN}),
        (["Admin", "ADMIN", "root"], set()),
        ({"admin": True}, set()),
        (None, set()),
        ([7, None, ["admin"]], set()),
    ],
    ids=str,
)
def test_only_our_words_in_the_access_claim_count(roles: object, scopes: set[Scope]) -> None:
    assert caller_of({"sub": "ada", "roles": roles}, POLICY).scopes == scopes


@pytest.mark.parametrize(
    ("claims", "models"),
    [
        ({"models": ["churn", "late-payment"]}, {"churn", "late-payment"}),
        ({"models": "churn, profitability"}, {"churn", "profitability"}),
        ({"models": ["*"]}, None),
        ({"models": []}, set()),
        ({}, set()),
    ],
    ids=str,
)
def test_a_configured_claim_limits_to_models_and_without_it_there_are_none(
    claims: dict[str, Any], models: set[str] | None
) -> None:
    policy = replace(POLICY, models_claim="models")
    caller = caller_of({"sub": "ada", "roles": ["admin"], **claims}, policy)
    assert caller.models == models
    assert caller.may(Scope.ADMIN) == (models is None)


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://issuer.test/keys", True),
        ("http://127.0.0.1:8080/keys", True),
        ("http://issuer.test/keys", False),
        ("http://127.0.0.1.evil.test/", False),
        ("ftp://issuer.test", False),
        ("https://", False),
        ("None", False),
    ],
)
def test_an_address_is_safe_if_nobody_on_the_way_can_change_the_answer(url: str, safe: bool) -> None:
    assert is_safe(url) is safe


@pytest.mark.parametrize(
    "changes",
    [
        {"oidc_algorithms": ("HS256",)},
        {"oidc_algorithms": ("RS256", "none")},
        {"oidc_algorithms": ()},
        {"oidc_issuer": "https://issuer.test"},
        {"oidc_issuer": "http://issuer.test", "oidc_audience": ("retraining",)},
        {"oidc_issuer": "http://localhost.evil.test", "oidc_audience": ("retraining",)},
        {
            "oidc_issuer": "https://issuer.test",
            "oidc_audience": ("retraining",),
            "oidc_jwks_url": "http://issuer.test/keys",
        },
    ],
    ids=str,
)
def test_unsafe_settings_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="oidc_"):
        Settings(**changes)


def test_settings_make_a_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRAINING_OIDC_ISSUER", "https://issuer.test")
    monkeypatch.setenv("RETRAINING_OIDC_AUDIENCE", "retraining, retraining-cli")
    assert TokenPolicy.of(Settings()) == POLICY
    monkeypatch.delenv("RETRAINING_OIDC_ISSUER")
    assert TokenPolicy.of(Settings()) is None


@settings(max_examples=200, deadline=None)
@given(
    token=st.one_of(
        st.text(max_size=300), st.from_regex(r"[A-Za-z0-9_-]{0,60}\.[A-Za-z0-9_-]{0,60}\.[A-Za-z0-9_-]{0,60}")
    )
)
async def test_whatever_is_sent_is_refused_and_never_crashes(token: str) -> None:
    keys = SigningKeys("https://issuer.test", "https://issuer.test/never-asked", POLICY.algorithms)
    with pytest.raises(InvalidToken):
        await Tokens(POLICY, keys).authenticate(token)
