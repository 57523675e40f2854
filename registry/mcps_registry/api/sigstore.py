"""The embedded Sigstore's endpoints, as its clients know them."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mcps_registry.sigstore.authority import utc_now
from mcps_registry.sigstore.instance import Instance
from mcps_registry.sigstore.tokens import DevelopmentIssuer, TokenChecker, TokenRefusedError
from mcps_trust.errors import McpsError, UntrustedDataError
from mcps_trust.model import strict_json
from mcps_trust.model.fields import Fields

__all__ = ["sigstore_routes"]

_LIMIT = 64 * 1024  # bytes
# What reading keys and signatures by strangers may raise.
_MALFORMED = (ValueError, TypeError, binascii.Error, InvalidSignature, UnsupportedAlgorithm)


class BadSigningRequestError(UntrustedDataError):
    """A request for a certificate or a log entry is not one that is served."""

    code = "bad-signing-request"


def sigstore_routes(
    instance: Instance, tokens: TokenChecker, development: DevelopmentIssuer | None
) -> list[Route]:
    """The routes below ``/sigstore``, and Fulcio's own.

    sigstore-python drops whatever path a certificate authority's URL has, so that one
    stands at the root.
    """

    async def signing_certificate(request: Request) -> Response:
        """A certificate for a token and a key (Fulcio)."""
        body = await _json(request)
        header = request.headers.get("authorization", "")
        try:
            token, public_key = _certificate_request(header, body)
            subject = await run_in_threadpool(tokens.check, token)
        except TokenRefusedError as error:
            return JSONResponse({"code": 16, "message": error.what}, status_code=401)
        leaf = instance.authority.issue(public_key, subject, utc_now())
        chain = [_pem(leaf), _pem(instance.authority.certificate)]
        # 200, not 201: some clients take nothing else for success.
        return JSONResponse({"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}})

    async def log_entry(request: Request) -> Response:
        """An entry into the log (Rekor v2)."""
        body = _log_body(await _json(request), instance.authority.certificate)
        entry = await run_in_threadpool(instance.log.append, body)
        return JSONResponse(entry, status_code=201)

    async def timestamp(request: Request) -> Response:
        """A timestamp (RFC 3161)."""
        data = await _body(request)
        return Response(
            instance.timestamps.respond(data, utc_now()),
            status_code=201,
            media_type="application/timestamp-reply",
        )

    routes = [
        Route("/api/v2/signingCert", signing_certificate, methods=["POST"]),
        Route("/sigstore/rekor/api/v2/log/entries", log_entry, methods=["POST"]),
        Route("/sigstore/tsa/api/v1/timestamp", timestamp, methods=["POST"]),
    ]
    return routes + (_development_routes(development) if development else [])


def _development_routes(development: DevelopmentIssuer) -> list[Route]:
    url = development.issuer.url

    async def discovery(_request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": url,
                "jwks_uri": f"{url}/keys",
                "authorization_endpoint": f"{url}/auth",
                "token_endpoint": f"{url}/token",
                "mcps_development": True,
            }
        )

    async def keys(_request: Request) -> Response:
        return JSONResponse(development.keys())

    async def token(request: Request) -> Response:
        fields = Fields(await _json(request), "request")
        email = fields.text("email", longest=200)
        if email.count("@") != 1 or not email.isascii():
            raise fields.error("email", "an email address", email)
        return JSONResponse({"token": development.token(email, utc_now())})

    return [
        Route("/sigstore/oidc/.well-known/openid-configuration", discovery),
        Route("/sigstore/oidc/keys", keys),
        Route("/sigstore/oidc/token", token, methods=["POST"]),
    ]


async def _body(request: Request) -> bytes:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _LIMIT:
            raise BadSigningRequestError("the request is too large", expected=f"{_LIMIT} bytes")
    return bytes(data)


async def _json(request: Request) -> dict[str, Any]:
    value = strict_json.loads(await _body(request), limit=_LIMIT)
    return dict(Fields(value, "request").document)


def _certificate_request(
    header: str, body: dict[str, Any]
) -> tuple[str, ec.EllipticCurvePublicKey]:
    """The token and the key, in either of the two forms that clients send."""
    try:
        if "certificateSigningRequest" in body:
            pem = base64.b64decode(body["certificateSigningRequest"], validate=True)
            request = x509.load_pem_x509_csr(pem)
            if not request.is_signature_valid:
                raise BadSigningRequestError("the signing request is not signed by its own key")
            key: object = request.public_key()
            token = header.removeprefix("Bearer ")
        else:
            asked = body["publicKeyRequest"]
            key = serialization.load_pem_public_key(asked["publicKey"]["content"].encode())
            token = body["credentials"]["oidcIdentityToken"]
            subject = TokenSubject.read(token)
            if not isinstance(key, ec.EllipticCurvePublicKey):
                raise BadSigningRequestError("the key is not an elliptic-curve key")
            key.verify(
                base64.b64decode(asked["proofOfPossession"]),
                subject.encode(),
                ec.ECDSA(hashes.SHA256()),
            )
    except (*_MALFORMED, KeyError, AttributeError) as error:
        raise BadSigningRequestError("not a request for a certificate", found=str(error)) from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise BadSigningRequestError("the key is not an elliptic-curve key")
    return token, key


class TokenSubject:
    """What a client signs to prove that it holds the key: the token's own subject."""

    @staticmethod
    def read(token: str) -> str:
        """``email`` or ``sub``, unverified: `TokenChecker` verifies the token afterwards."""
        import jwt

        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError as error:
            raise BadSigningRequestError("not an identity token", found=str(error)) from error
        return str(claims.get("email") or claims.get("sub") or "")


def _log_body(body: dict[str, Any], authority: x509.Certificate) -> dict[str, Any]:
    """The canonical entry for a request, once its signature has been checked."""
    fields = Fields(body, "request").object("hashedRekordRequestV002")
    signature = fields.object("signature")
    verifier = signature.object("verifier")
    try:
        digest = base64.b64decode(fields.text("digest"), validate=True)
        raw = base64.b64decode(signature.text("content"), validate=True)
        certificate = x509.load_der_x509_certificate(
            base64.b64decode(verifier.object("x509Certificate").text("rawBytes"), validate=True)
        )
        certificate.verify_directly_issued_by(authority)
        key = certificate.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise BadSigningRequestError("the key is not an elliptic-curve key")
        key.verify(raw, digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    except _MALFORMED as error:
        raise BadSigningRequestError(
            "the log takes only what this instance's certificates sign", found=type(error).__name__
        ) from error
    return {
        "apiVersion": "0.0.2",
        "kind": "hashedrekord",
        "spec": {
            "hashedRekordV002": {
                "data": {"algorithm": "SHA2_256", "digest": fields.text("digest")},
                "signature": dict(signature.document),
            }
        },
    }


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def error_response(error: McpsError) -> JSONResponse:
    """Any of our errors as an HTTP answer."""
    status = {64: 400, 65: 400, 69: 503, 77: 403}.get(error.exit_code, 500)
    return JSONResponse({"error": error.to_dict()}, status_code=status)
