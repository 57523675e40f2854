"""Identity tokens: checked against the issuers that are configured, by their own keys.

A token's issuer must be one of the list; its keys are found by OpenID discovery at that
issuer and nowhere else, and kept for an hour. Algorithms are fixed: no ``none``, no HMAC.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from mcps_registry.sigstore.authority import Subject
from mcps_trust.errors import McpsError, NotPermittedError
from mcps_trust.http import Http
from mcps_trust.http_settings import HttpSettings

__all__ = ["DevelopmentIssuer", "Issuer", "TokenChecker", "TokenRefusedError"]

AUDIENCE = "sigstore"
_ALGORITHMS = ["RS256", "ES256", "ES384", "PS256"]
_KEEP_KEYS = 3600.0  # seconds
_LIMIT = 256 * 1024  # bytes

# Claim of a token -> claim of ours, for tokens of CI systems that have them.
_CI_CLAIMS = {
    "repository": "sourceRepositoryURI",
    "ref": "sourceRepositoryRef",
    "repository_owner": "sourceRepositoryOwnerURI",
    "event_name": "buildTrigger",
    "runner_environment": "runnerEnvironment",
}


class TokenRefusedError(NotPermittedError):
    """The identity token is not one that is accepted."""

    code = "token-refused"


@dataclass(frozen=True, kw_only=True, slots=True)
class Issuer:
    """An accepted token issuer; `subject` says what of its tokens names a person or job.

    *email*: the verified ``email``. *uri*: ``sub``, which must be a URI. *workflow*:
    ``job_workflow_ref`` below the issuer's ``server`` (GitHub's tokens).
    """

    url: str
    subject: str


class TokenChecker:
    """Turns a raw token into the subject of a certificate."""

    def __init__(self, issuers: Mapping[str, Issuer], settings: HttpSettings) -> None:
        self._issuers = issuers
        self._settings = settings
        self._keys: dict[str, tuple[float, jwt.PyJWKSet]] = {}

    def add_local(self, issuer: Issuer, keys: dict[str, Any]) -> None:
        """Accept an issuer whose keys are known already: the development issuer."""
        self._issuers = {**self._issuers, issuer.url: issuer}
        self._keys[issuer.url] = (float("inf"), jwt.PyJWKSet.from_dict(keys))

    def check(self, token: str) -> Subject:
        """Verify a token.

        Raises:
            TokenRefusedError: unknown issuer, bad signature, wrong audience, expired, or
                nothing in it names anybody.
        """
        try:
            unverified = jwt.decode(token, options={"verify_signature": False})
            issuer = self._issuers[str(unverified.get("iss", ""))]
        except (jwt.PyJWTError, KeyError) as error:
            raise TokenRefusedError(
                "the token is not by an issuer that is accepted",
                expected=", ".join(self._issuers) or "(none)",
            ) from error
        try:
            header = jwt.get_unverified_header(token)
            key = self._key(issuer, str(header.get("kid", "")))
            claims = jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                audience=AUDIENCE,
                issuer=issuer.url,
                leeway=30,
                options={"require": ["aud", "exp", "iat", "iss", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise TokenRefusedError("the token does not verify", found=str(error)) from error
        return _subject(issuer, claims)

    def _key(self, issuer: Issuer, key_id: str) -> jwt.PyJWK:
        until, keys = self._keys.get(issuer.url, (0.0, None))
        if keys is None or until < time.monotonic():
            keys = self._discover(issuer)
            self._keys[issuer.url] = (time.monotonic() + _KEEP_KEYS, keys)
        found = [key for key in keys.keys if key.key_id == key_id]
        if len(found) != 1:
            raise TokenRefusedError(
                "the token is signed with a key that its issuer does not have", found=key_id[:100]
            )
        return found[0]

    def _discover(self, issuer: Issuer) -> jwt.PyJWKSet:
        try:
            with Http(self._settings) as http:
                well_known = f"{issuer.url.rstrip('/')}/.well-known/openid-configuration"
                document = json.loads(http.get(well_known, limit=_LIMIT).body)
                if document.get("issuer") != issuer.url:
                    raise TokenRefusedError("the issuer's discovery names another issuer")
                keys = json.loads(http.get(str(document["jwks_uri"]), limit=_LIMIT).body)
                return jwt.PyJWKSet.from_dict(keys)
        except (ValueError, KeyError, AttributeError, jwt.PyJWTError) as error:
            raise TokenRefusedError(
                "the issuer's keys cannot be found",
                found=str(error),
            ) from error
        except McpsError as error:
            raise TokenRefusedError("the issuer cannot be reached", found=error.what) from error


def _subject(issuer: Issuer, claims: Mapping[str, Any]) -> Subject:
    extra: dict[str, str] = {}
    match issuer.subject:
        case "email":
            value, kind = claims.get("email"), "email"
            if claims.get("email_verified") is not True:
                raise TokenRefusedError("the token's email address is not verified")
        case "workflow":
            server = str(claims.get("server_url", "https://github.com"))
            value, kind = f"{server}/{claims.get('job_workflow_ref', '')}", "uri"
            for theirs, ours in _CI_CLAIMS.items():
                if isinstance(found := claims.get(theirs), str):
                    extra[ours] = f"{server}/{found}" if theirs.startswith("repo") else found
        case _:
            value, kind = claims.get("sub"), "uri"
    if not isinstance(value, str) or (kind == "uri" and "://" not in value) or " " in value:
        raise TokenRefusedError(
            "the token names nobody that fits a certificate",
            expected=f"{issuer.subject} in the token",
            found=repr(value)[:100],
        )
    if kind == "email" and value.count("@") != 1:
        raise TokenRefusedError("the token's email address is not one", found=repr(value)[:100])
    return Subject(kind=kind, value=value, issuer=issuer.url, claims=extra)


class DevelopmentIssuer:
    """Gives a token for any email address to whoever asks. For development alone.

    It exists only where the registry was made with ``init --development``, is bound to
    loopback, and names itself in everything it signs.
    """

    def __init__(self, url: str, key: ec.EllipticCurvePrivateKey) -> None:
        self.issuer = Issuer(url=url, subject="email")
        self._key = key
        self._key_id = "development"

    def keys(self) -> dict[str, Any]:
        """The JSON Web Key Set."""
        public = json.loads(ECAlgorithm.to_jwk(self._key.public_key()))
        return {"keys": [{**public, "kid": self._key_id, "use": "sig", "alg": "ES256"}]}

    def token(self, email: str, now: datetime) -> str:
        """A token for `email`, good for ten minutes."""
        claims = {
            "iss": self.issuer.url,
            "aud": AUDIENCE,
            "sub": email,
            "email": email,
            "email_verified": True,
            "iat": int(now.timestamp()),
            "exp": int((now + timedelta(minutes=10)).timestamp()),
            "jti": secrets.token_hex(8),
            "development": True,
        }
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self._key_id})
