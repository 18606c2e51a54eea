"""An OpenID Connect issuer with real keys, on a real socket."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE = "retraining"


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """The same key for the same name."""
    return rsa.generate_private_key(65537, 2048)


@cache
def ec_key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


class Issuer:
    """What it publishes can be changed; what it was asked is counted."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.published: list[dict[str, Any]] = []
        self.discovered: dict[str, Any] = {"issuer": url, "jwks_uri": f"{url}/jwks"}
        self.asked: list[str] = []
        self.up = True
        self.publish("rsa-1")
        self.publish("ec-1", "ES256")

    def publish(self, key_id: str, algorithm: str = "RS256") -> None:
        public: dict[str, Any]
        if algorithm == "ES256":
            public = ECAlgorithm.to_jwk(ec_key(key_id).public_key(), as_dict=True)
        else:
            public = RSAAlgorithm.to_jwk(rsa_key(key_id).public_key(), as_dict=True)
        self.published.append({**public, "kid": key_id, "use": "sig", "alg": algorithm})

    def token(
        self,
        key_id: str | None = "rsa-1",
        algorithm: str = "RS256",
        *,
        signed_with: str | None = None,
        leave_out: str | None = None,
        **claims: Any,
    ) -> str:
        """A token of now; `claims` change what it says."""
        now = datetime.now(UTC)
        said = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "ada",
            "iat": now,
            "exp": now + timedelta(minutes=5),
            "roles": ["operator"],
            **claims,
        }
        name = signed_with or key_id or "rsa-1"
        key = ec_key(name) if algorithm == "ES256" else rsa_key(name)
        headers = None if key_id is None else {"kid": key_id}
        said.pop(leave_out or "", None)
        return jwt.encode(said, key, algorithm=algorithm, headers=headers)

    def answer(self, path: str) -> tuple[int, Any]:
        self.asked.append(path)
        if not self.up:
            return 503, {"error": "down"}
        if path == "/.well-known/openid-configuration":
            return 200, self.discovered
        return (200, {"keys": self.published}) if path == "/jwks" else (404, {})


@contextmanager
def running_issuer() -> Iterator[Issuer]:
    """An issuer while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = issuer.answer(self.path)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = Issuer(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
