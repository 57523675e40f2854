"""The registry's HTTP interface and its Sigstore: what they serve, and what they refuse."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from asn1crypto import algos, tsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mcps_registry.api import application
from mcps_trust.http import Http, Response
from mcps_trust.http_settings import HttpSettings
from mcps_trust.model.submission import Submission, pack
from worlds import AUTHOR, World


def send(world: World, path: str, body: bytes, method: str = "POST", **headers: str) -> Response:
    with Http(HttpSettings(timeout=20)) as http:
        return http.request(
            method, world.url + path, limit=10**6, body=body or None, headers=headers
        )


def refused(answer: Response) -> tuple[int, str]:
    return answer.status, json.loads(answer.body)["error"]["code"]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# the interface ------------------------------------------------------------------------------


def test_health_and_the_queue_are_told(world: World) -> None:
    health = json.loads(send(world, "/api/v1/health", b"", "GET").body)
    assert health == {"status": "ok", "name": "DEVELOPMENT test", "development": True}
    assert send(world, "/api/v1/submissions", b"", "GET").status == 200
    assert refused(send(world, "/api/v1/submissions/nothing", b"", "GET"))[1] == (
        "no-such-submission"
    )
    assert send(world, "/api/v1/nothing", b"", "GET").status == 404
    assert send(world, "/api/v1/nothing", b"x").status == 405


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("submissions", b"no tar", "bad-submission"),
        ("submissions", pack(Submission(bundle=b"{}", closures={}, artifacts={})), "field"),
        ("roles", b"{", "json-syntax"),
        ("roles", b'{"roles": {}}', "field"),
        ("roles", b'{"roles": {}, "files": {}}', "role-refused"),
        ("roles", b'{"roles": {"teams": "?"}, "files": {}}', "field"),
        ("roles", b'{"roles": {"teams": "AAAA"}, "files": {}}', "bad-role"),
        ("roles", b'{"roles": {"timestamp": "AAAA"}, "files": {}}', "role-refused"),
        ("approvals", b"[]", "field"),
        ("approvals", b'{"entry": "{}", "envelope": {}}', "json-syntax"),
        ("approvals", b'{"entry": "{}\\n", "envelope": {}}', "field"),
    ],
)
def test_what_is_posted_must_be_what_it_is_posted_as(
    world: World, path: str, body: bytes, code: str
) -> None:
    before = world.desk.repository.role("snapshot")
    status, found = refused(send(world, f"/api/v1/{path}", body))
    assert (status in (400, 403), found) == (True, code)
    assert world.desk.repository.role("snapshot") == before


def test_what_is_too_large_or_too_slow_is_not_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application, "MAX_TOTAL", 1000)
    monkeypatch.setattr(application, "_JSON_LIMIT", 1000)
    for path in ("submissions", "roles"):
        assert refused(send(world, f"/api/v1/{path}", b"x" * 2000))[1] == "bad-submission"
    monkeypatch.undo()
    monkeypatch.setattr(application, "_SUBMISSION_SECONDS", 0.01)
    assert refused(send(world, "/api/v1/submissions", b"x" * 2000))[1] == "bad-submission"


def test_the_timestamp_is_signed_again_while_it_is_served(world: World) -> None:
    def version() -> int:
        data = world.desk.repository.role("timestamp") or b""
        return int(json.loads(data)["signed"]["version"])

    async def serve_for_a_while() -> None:
        app = application.make_application(world.desk, [], resign_every=0.05)
        async with app.router.lifespan_context(app):
            for _ in range(100):
                await asyncio.sleep(0.05)
                if version() > before + 1:
                    return

    before = version()
    asyncio.run(serve_for_a_while())
    assert version() > before + 1


# certificates, log, time ----------------------------------------------------------------------

KEY = ec.generate_private_key(ec.SECP256R1())


def pem(key: Any) -> str:
    text: bytes = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return text.decode()


def asked_with_a_key(world: World, *, proof: bytes = AUTHOR.encode()) -> dict[str, Any]:
    """A request for a certificate in Fulcio's newer form."""
    return {
        "credentials": {"oidcIdentityToken": world.token()},
        "publicKeyRequest": {
            "publicKey": {"algorithm": "ECDSA", "content": pem(KEY.public_key())},
            "proofOfPossession": b64(KEY.sign(proof, ec.ECDSA(hashes.SHA256()))),
        },
    }


def ask(world: World, body: object, token: str = "") -> Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return send(world, "/api/v2/signingCert", json.dumps(body).encode(), **headers)


def pem_with(old: bytes, new: bytes) -> str:
    """The key, as one of another algorithm: object identifiers of the same length."""
    der = KEY.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert old in der and len(old) == len(new)
    text = base64.b64encode(der.replace(old, new)).decode()
    return f"-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n"


OF_NO_KNOWN_KIND = pem_with(b"\x2a\x86\x48\xce\x3d\x02\x01", b"\x2a\x86\x48\xce\x3d\x02\x7f")
ON_NO_KNOWN_CURVE = pem_with(b"\xce\x3d\x03\x01\x07", b"\xce\x3d\x03\x01\x7f")


def csr(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return b64(request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def leaf(world: World) -> x509.Certificate:
    answer = ask(world, {"certificateSigningRequest": csr(KEY)}, world.token())
    chain = json.loads(answer.body)["signedCertificateEmbeddedSct"]["chain"]["certificates"]
    return x509.load_pem_x509_certificate(chain[0].encode())


def test_a_certificate_is_given_for_a_token_and_a_key_that_is_held(world: World) -> None:
    assert ask(world, asked_with_a_key(world)).status == 200
    certificate = leaf(world)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.RFC822Name) == [AUTHOR]
    assert certificate.public_key() == KEY.public_key()


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b.clear(),
        lambda b: b["publicKeyRequest"].update(proofOfPossession=b64(b"x")),
        lambda b: b["publicKeyRequest"]["publicKey"].update(content="no key"),
        lambda b: b["publicKeyRequest"]["publicKey"].update(
            content=pem(rsa.generate_private_key(65537, 2048).public_key())
        ),
        lambda b: b["publicKeyRequest"]["publicKey"].update(content=OF_NO_KNOWN_KIND),
        lambda b: b["publicKeyRequest"]["publicKey"].update(content=ON_NO_KNOWN_CURVE),
        lambda b: b["credentials"].update(oidcIdentityToken="no token"),
        lambda b: b.update(certificateSigningRequest="no request"),
    ],
    ids=[
        "nothing",
        "no proof",
        "no key",
        "another kind of key",
        "no kind of key that is known",
        "no curve that is known",
        "no token",
        "no request",
    ],
)
def test_a_request_for_a_certificate_that_proves_nothing_is_refused(
    world: World, change: Callable[[dict[str, Any]], None]
) -> None:
    body = asked_with_a_key(world)
    change(body)
    assert refused(ask(world, body)) == (400, "bad-signing-request")
    stolen = asked_with_a_key(world, proof=b"mallory@example.org")
    assert refused(ask(world, stolen)) == (400, "bad-signing-request")
    other = csr(rsa.generate_private_key(65537, 2048))
    answer = ask(world, {"certificateSigningRequest": other}, world.token())
    assert refused(answer) == (400, "bad-signing-request")
    assert ask(world, {"certificateSigningRequest": csr(KEY)}, "forged").status == 401


def entry(world: World) -> dict[str, Any]:
    digest = hashlib.sha256(b"what was signed").digest()
    raw = KEY.sign(b"what was signed", ec.ECDSA(hashes.SHA256()))
    der = leaf(world).public_bytes(serialization.Encoding.DER)
    return {"hashedRekordRequestV002": {
        "digest": b64(digest),
        "signature": {"content": b64(raw), "verifier": {
            "x509Certificate": {"rawBytes": b64(der)}, "keyDetails": "PKIX_ECDSA_P256_SHA_256"}},
    }}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.update(digest=b64(hashlib.sha256(b"another").digest())),
        lambda r: r.update(digest="?"),
        lambda r: r["signature"].update(content=b64(b"x")),
        lambda r: r["signature"]["verifier"]["x509Certificate"].update(rawBytes=b64(b"x")),
        lambda r: r["signature"]["verifier"]["x509Certificate"].update(rawBytes=strangers()),
    ],
    ids=["another digest", "no digest", "no signature", "no certificate", "a stranger's"],
)
def test_the_log_takes_only_what_was_signed_with_a_certificate_of_its_own(
    world: World, change: Callable[[dict[str, Any]], None]
) -> None:
    before = len(world.instance.log)
    body = entry(world)
    change(body["hashedRekordRequestV002"])
    path = "/sigstore/rekor/api/v2/log/entries"
    assert refused(send(world, path, json.dumps(body).encode())) == (400, "bad-signing-request")
    assert len(world.instance.log) == before
    answer = json.loads(send(world, path, json.dumps(entry(world)).encode()).body)
    assert answer["logIndex"] == str(before)
    assert refused(send(world, path, b"x" * 70_000)) == (400, "bad-signing-request")


def strangers() -> str:
    """A certificate that nobody issued."""
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(x509.Name([]))
        .public_key(KEY.public_key()).serial_number(1).not_valid_before(now).not_valid_after(now)
        .sign(KEY, hashes.SHA256())
    )  # fmt: skip
    return b64(made.public_bytes(serialization.Encoding.DER))


def question(algorithm: str = "sha256", digest: bytes = bytes(32)) -> bytes:
    imprint = tsp.MessageImprint({
        "hash_algorithm": algos.DigestAlgorithm({"algorithm": algorithm}),
        "hashed_message": digest,
    })  # fmt: skip
    return bytes(tsp.TimeStampReq({"version": "v1", "message_imprint": imprint}).dump())


def test_a_time_is_given_for_a_sha256_and_for_nothing_else(world: World) -> None:
    path = "/sigstore/tsa/api/v1/timestamp"
    answer = tsp.TimeStampResp.load(send(world, path, question()).body)
    assert answer["status"]["status"].native == "granted"
    for body in (b"no request", question("sha1", bytes(20)), question(digest=bytes(20)),
                 question() + b"more", b"x" * 20_000):  # fmt: skip
        assert refused(send(world, path, body)) == (400, "bad-timestamp-request")


def test_the_development_issuer_says_what_it_is(world: World) -> None:
    base = "/sigstore/oidc"
    about = json.loads(send(world, f"{base}/.well-known/openid-configuration", b"", "GET").body)
    assert about["mcps_development"] is True
    assert json.loads(send(world, f"{base}/keys", b"", "GET").body)["keys"]
    answer = send(world, f"{base}/token", b'{"email": "a@example.org"}')
    token = json.loads(answer.body)["token"]
    assert jwt.decode(token, options={"verify_signature": False})["development"] is True
    for email in ("nobody", "a@b@c", "\u00e4@example.org"):
        body = json.dumps({"email": email}).encode()
        assert refused(send(world, f"{base}/token", body)) == (400, "field")


def test_a_body_that_is_no_object_is_the_senders_fault(world: World) -> None:
    for body in (b"[1]", b"1", b'"x"', b"null"):
        for path in ("roles", "approvals"):
            assert refused(send(world, f"/api/v1/{path}", body)) == (400, "field")
