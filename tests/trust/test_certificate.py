"""Certificates that do not say who signed, and trusted roots that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.asn1 import encode_der
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, ObjectIdentifier

from mcps_registry.sigstore.authority import Authority
from mcps_trust.bundle.certificate import signer_of
from mcps_trust.bundle.parse import parse_bundle
from mcps_trust.bundle.verify import verify_bundle
from mcps_trust.errors import McpsError
from mcps_trust.model import strict_json
from mcps_trust.model.identity import SignerIdentity
from worlds import AUTHOR, World

MAIL = x509.RFC822Name("it@example.org")
URI = x509.UniformResourceIdentifier("https://git.example.org/acme")
ISSUER = ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
REF = ObjectIdentifier("1.3.6.1.4.1.57264.1.14")


def certificate(*names: x509.GeneralName, **extensions: bytes) -> x509.Certificate:
    """A leaf with these subjects, and the Fulcio extensions ``issuer`` and ``ref``."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime(2026, 11, 21, tzinfo=UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([])).issuer_name(x509.Name([])).public_key(key.public_key())
        .serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(minutes=10))
    )  # fmt: skip
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    for name, value in extensions.items():
        oid = {"issuer": ISSUER, "ref": REF}[name]
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
    return builder.sign(key, hashes.SHA256())


def test_a_certificate_names_one_subject_its_issuer_and_its_claims() -> None:
    issuer = encode_der("https://id.example.org")
    ref = encode_der("refs/tags/v1")
    found = signer_of(certificate(URI, issuer=issuer, ref=ref), "private")
    assert (found.subject, found.issuer) == (URI.value, "https://id.example.org")
    assert found.claims == {"sourceRepositoryRef": "refs/tags/v1"}


@pytest.mark.parametrize(
    ("names", "issuer"),
    [
        ([], True), ([MAIL, URI], True), ([MAIL, MAIL], True),
        ([x509.DNSName("example.org")], True), ([MAIL, x509.DNSName("example.org")], True),
        ([MAIL], False),
    ],
    ids=["nobody", "two", "one twice", "a host", "a host besides", "no issuer"],
)  # fmt: skip
def test_a_certificate_that_does_not_say_who_signed_is_refused(
    names: list[x509.GeneralName], *, issuer: bool
) -> None:
    extensions = {"issuer": encode_der("https://id.example.org")} if issuer else {}
    with pytest.raises(McpsError) as caught:
        signer_of(certificate(*names, **extensions), "private")
    assert caught.value.code == "bad-certificate"


def test_an_issuer_that_is_no_text_is_refused() -> None:
    with pytest.raises(McpsError) as caught:
        signer_of(certificate(MAIL, issuer=b"\x02\x01\x01"), "private")
    assert caught.value.code == "bad-certificate"


@pytest.fixture(scope="module")
def bundle(world: World) -> bytes:
    return world.sign(world.release("echo"))


@pytest.mark.bwrap
@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda r: r.clear(), "bad-trusted-root"),
        (lambda r: r.pop("tlogs"), "bad-trusted-root"),
        (lambda r: r.update(tlogs=[{}]), "bad-trusted-root"),
        (lambda r: r.update(mediaType="text/plain"), "bad-trusted-root"),
        (lambda r: r["tlogs"][0]["logId"].update(keyId="AAAA"), "signature-invalid"),
        (lambda r: r.update(certificateAuthorities=[]), "signature-invalid"),
        (lambda r: r.update(timestampAuthorities=[]), "signature-invalid"),
        (lambda r: r.update(ctlogs=[]), "signature-invalid"),
    ],
    ids=["empty", "no log", "a log without a key", "another kind", "another log", "no authority",
         "no time", "no certificate log"],
)  # fmt: skip
def test_a_trusted_root_that_lacks_something_trusts_nothing(
    world: World, bundle: bytes, change: Callable[[dict[str, Any]], object], code: str
) -> None:
    genuine = world.signing_instance().trusted_root
    root = json.loads(genuine)
    change(root)
    with pytest.raises(McpsError) as caught:
        verify_bundle(bundle, trusted_root=strict_json.dumps(root), identity=world.identity())
    assert caught.value.code == code
    proof, _ = verify_bundle(bundle, trusted_root=genuine, identity=world.identity())
    assert proof.signer.subject == AUTHOR


@pytest.mark.bwrap
@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["tlogEntries"].append(m["tlogEntries"][0]),
        lambda m: m["tlogEntries"].clear(),
        lambda m: m["tlogEntries"][0].update(logIndex="1x"),
        lambda m: m["tlogEntries"][0].update(logIndex=-1),
        lambda m: m["tlogEntries"][0].update(logIndex="9999"),
        lambda m: m["tlogEntries"][0].update(integratedTime="1"),
        lambda m: m["timestampVerificationData"]["rfc3161Timestamps"].append(
            m["timestampVerificationData"]["rfc3161Timestamps"][0]
        ),
        lambda m: m["certificate"].update(rawBytes="====" ),
        lambda m: m["certificate"].update(rawBytes="AB=="),
        lambda m: m["certificate"].update(more="x"),
    ],
    ids=["two entries", "no entry", "no number", "a negative one", "another index", "a time",
         "two times", "no base64", "another spelling of base64", "one field more"],
)  # fmt: skip
def test_a_bundle_is_read_strictly_before_anybody_else_sees_it(
    bundle: bytes, change: Callable[[dict[str, Any]], object]
) -> None:
    document = json.loads(bundle)
    change(document["verificationMaterial"])
    with pytest.raises(McpsError) as caught:
        parse_bundle(json.dumps(document).encode())
    assert caught.value.code == "field"
    assert parse_bundle(bundle).log_index >= 0
    numbers = json.loads(bundle)
    log = numbers["verificationMaterial"]["tlogEntries"][0]
    log["logIndex"] = int(log["logIndex"])
    log["inclusionProof"]["logIndex"] = log["logIndex"]
    assert parse_bundle(json.dumps(numbers).encode()).log_index == log["logIndex"]


@pytest.mark.bwrap
def test_a_bundle_without_a_time_is_refused(world: World, bundle: bytes) -> None:
    document = json.loads(bundle)
    del document["verificationMaterial"]["timestampVerificationData"]
    data = json.dumps(document).encode()
    assert not parse_bundle(data).has_timestamp
    root = world.signing_instance().trusted_root
    with pytest.raises(McpsError) as caught:
        verify_bundle(data, trusted_root=root, identity=world.identity())
    assert caught.value.code == "signature-invalid"


@pytest.mark.bwrap
def test_a_certificate_of_the_instance_that_names_two_people_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = world.release("echo")

    genuine = Authority._leaf

    def two(*words: Any) -> x509.CertificateBuilder:
        builder = genuine(*words)
        for extension in builder._extensions:
            if extension.oid == ExtensionOID.SUBJECT_ALTERNATIVE_NAME:
                builder._extensions.remove(extension)
        names = [x509.RFC822Name(AUTHOR), x509.RFC822Name("mallory@example.org")]
        return builder.add_extension(x509.SubjectAlternativeName(names), critical=True)

    with monkeypatch.context() as spoiled:
        spoiled.setattr(Authority, "_leaf", two)
        with pytest.raises(McpsError) as caught:
            world.sign(release)
        assert caught.value.code == "bad-certificate"
        claimed = SignerIdentity(instance="private", issuer=world.issuer.issuer.url, subject=AUTHOR)
        spoiled.setattr("mcps_signer.sign.signer_of", lambda *_words: claimed)
        with pytest.raises(McpsError) as caught:
            world.sign(release)
    assert caught.value.code == "self-verification-failed"
    assert "one subject" in str(caught.value.found)
    assert world.sign(release)


def test_a_fulcio_extension_of_another_kind_is_refused() -> None:
    class Odd:
        """A certificate whose issuer extension the library knows as something else."""

        class extensions:  # noqa: N801 - as the library's attribute
            @staticmethod
            def get_extension_for_class(_kind: object) -> object:
                return certificate(MAIL).extensions.get_extension_for_class(
                    x509.SubjectAlternativeName
                )

            @staticmethod
            def get_extension_for_oid(_oid: object) -> object:
                return certificate(MAIL).extensions[0]

    with pytest.raises(McpsError) as caught:
        signer_of(Odd, "private")  # type: ignore[arg-type]  # as far as it is asked
    assert caught.value.code == "bad-certificate"
