"""Tokens of other issuers: whose are believed, and what becomes of the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from mcps_registry.sigstore.tokens import Issuer, TokenChecker
from mcps_trust.errors import McpsError
from mcps_trust.http_settings import HttpSettings
from simulators.package_index import PackageIndex

KEY = ec.generate_private_key(ec.SECP256R1())


class Login(PackageIndex):
    """An issuer of tokens, found by OpenID discovery."""

    def __init__(self) -> None:
        super().__init__()
        self.documents: dict[str, object] = {}
        self.serve()

    def serve(self, **changes: object) -> None:
        public = json.loads(ECAlgorithm.to_jwk(KEY.public_key()))
        keys = {"keys": [{**public, "kid": "one", "use": "sig", "alg": "ES256"}]}
        about = {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **changes}
        self.documents = {".well-known/openid-configuration": about, "keys": keys}

    def _content(self, path: str) -> tuple[str, bytes]:
        if path in self.documents:
            return "application/json", json.dumps(self.documents[path]).encode()
        return "", b"<html>not here</html>"

    def token(self, key_id: str = "one", **claims: object) -> str:
        now = int(datetime.now(UTC).timestamp())
        standard = {"iss": self.url, "aud": "sigstore", "sub": "job", "iat": now, "exp": now + 600}
        return jwt.encode({**standard, **claims}, KEY, algorithm="ES256", headers={"kid": key_id})

    def checker(self, subject: str) -> TokenChecker:
        return TokenChecker({self.url: Issuer(url=self.url, subject=subject)}, HttpSettings())


@pytest.fixture
def login() -> Iterator[Login]:
    made = Login()
    yield made
    made.close()


def test_an_issuers_keys_are_found_once_and_kept(login: Login) -> None:
    checker = login.checker("email")
    for _ in range(3):
        found = checker.check(login.token(email="it@example.org", email_verified=True))
        assert (found.kind, found.value, found.issuer) == ("email", "it@example.org", login.url)
    assert login.asked["keys"] == 1


def test_a_job_is_named_by_its_workflow_and_its_claims(login: Login) -> None:
    found = login.checker("workflow").check(login.token(
        server_url="https://git.example.org", job_workflow_ref="acme/clock/release.yml@refs/tags/v1",
        repository="acme/clock", ref="refs/tags/v1", event_name="push",
    ))  # fmt: skip
    assert found.value == "https://git.example.org/acme/clock/release.yml@refs/tags/v1"
    assert found.claims == {
        "sourceRepositoryURI": "https://git.example.org/acme/clock",
        "sourceRepositoryRef": "refs/tags/v1", "buildTrigger": "push",
    }  # fmt: skip
    uri = login.checker("uri").check(login.token(sub="spiffe://example.org/ci"))
    assert (uri.kind, uri.value) == ("uri", "spiffe://example.org/ci")


@pytest.mark.parametrize(
    ("subject", "claims"),
    [
        ("email", {"email": "it@example.org"}),
        ("email", {"email": "it@example.org", "email_verified": "true"}),
        ("email", {"email": "it", "email_verified": True}),
        ("email", {"email": "a b@example.org", "email_verified": True}),
        ("email", {"email_verified": True}),
        ("uri", {"sub": "job"}),
        ("uri", {"sub": "https://git.example.org/a b"}),
        ("uri", {"sub": "https://git.example.org/a", "aud": "another"}),
        ("uri", {"sub": "https://git.example.org/a", "exp": 1}),
        ("uri", {"sub": "https://git.example.org/a", "iss": "https://another.example.org"}),
        ("uri", {"sub": "https://git.example.org/a", "key_id": "two"}),
    ],
)
def test_a_token_that_names_nobody_is_refused(
    login: Login, subject: str, claims: dict[str, Any]
) -> None:
    with pytest.raises(McpsError) as caught:
        login.checker(subject).check(login.token(**claims))
    assert caught.value.code == "token-refused"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda login: login.serve(issuer="https://another.example.org"),
        lambda login: login.serve(jwks_uri=None),
        lambda login: login.documents.pop("keys"),
        lambda login: login.documents.clear(),
        lambda login: login.documents.update(keys={"keys": []}),
        lambda login: login.documents.update(keys=[]),
        lambda login: login.close(),
    ],
    ids=["another issuer", "no address", "no keys", "no discovery", "empty", "no set", "away"],
)
def test_an_issuer_whose_keys_cannot_be_had_vouches_for_nobody(
    spoil: Callable[[Login], None],
) -> None:
    login = Login()
    token = login.token(sub="https://git.example.org/a")
    assert login.checker("uri").check(token).value
    spoil(login)
    with pytest.raises(McpsError) as caught:
        login.checker("uri").check(token)
    assert caught.value.code == "token-refused"
    login.close()
