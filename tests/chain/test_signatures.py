"""Forged, foreign and moved signatures, and approvals that are none."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from mcps_registry.ceremony.holders import signer
from mcps_trust.bundle.approvals import sign_approval, valid_approvers
from mcps_trust.bundle.verify import verify_bundle
from mcps_trust.errors import McpsError
from mcps_trust.model import strict_json
from mcps_trust.model.approval import ApprovalStatement, Approvers
from mcps_trust.model.digest import Sha256
from mcps_trust.model.entry import Entry
from mcps_trust.model.identity import PublisherIdentity
from mcps_trust.policy.chain import check_approvals
from worlds import World, make_world, remove

pytestmark = pytest.mark.bwrap


@pytest.fixture(scope="module")
def signed(world: World) -> tuple[World, bytes, bytes]:
    """A world, one of its bundles, and its trusted root."""
    world.serve("echo")
    bundle = world.desk.blobs.get(world.entries["echo"].bundle_sha256)
    return world, bundle, world.signing_instance().trusted_root


def code_of(bundle: bytes, root: bytes, identity: PublisherIdentity) -> str:
    with pytest.raises(McpsError) as caught:
        verify_bundle(bundle, trusted_root=root, identity=identity)
    return caught.value.code


def test_the_bundle_of_the_right_signer_is_proved(signed: tuple[World, bytes, bytes]) -> None:
    world, bundle, root = signed
    proof, payload = verify_bundle(bundle, trusted_root=root, identity=world.identity())
    assert proof.signer.subject == "author@example.org"
    assert proof.release == world.entries["echo"].release
    assert json.loads(payload)["predicateType"] == "urn:mcps:release:v1"
    assert abs((datetime.now(UTC) - proof.signed_at).total_seconds()) < 600


def test_another_subject_issuer_or_instance_is_not_trusted(
    signed: tuple[World, bytes, bytes],
) -> None:
    world, bundle, root = signed
    identity = world.identity()
    for wrong in (
        replace(identity, subject="it@example.org"),
        replace(identity, issuer="https://login.example.org"),
    ):
        assert code_of(bundle, root, wrong) == "signer-not-trusted"


def test_a_foreign_instance_cannot_vouch(
    signed: tuple[World, bytes, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The other instance's authority names the very same issuer and subject."""
    world, bundle, root = signed
    folder = tmp_path_factory.mktemp("foreign")
    other, end = make_world(folder)
    try:
        foreign_root = other.signing_instance().trusted_root
        assert code_of(bundle, foreign_root, world.identity()) == "signature-invalid"
    finally:
        end()
        remove(folder)
    verify_bundle(bundle, trusted_root=root, identity=world.identity())


def edit(path: str, value: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    """Change one value of a bundle."""

    def change(document: dict[str, Any]) -> None:
        node: Any = document
        *parents, last = path.split(".")
        for name in parents:
            node = node[int(name) if name.isdigit() else name]
        node[last] = value(node[last])

    return change


def flip(text: str) -> str:
    raw = bytearray(base64.b64decode(text))
    raw[len(raw) // 2] ^= 1
    return base64.b64encode(bytes(raw)).decode()


TLOG = "verificationMaterial.tlogEntries.0"
STAMP = "verificationMaterial.timestampVerificationData.rfc3161Timestamps"


@pytest.mark.parametrize(
    "change",
    [
        edit("mediaType", lambda t: t.replace("0.3", "0.2")),
        edit("dsseEnvelope.payload", flip),
        edit("dsseEnvelope.payloadType", lambda _: "text/plain"),
        edit("dsseEnvelope.signatures", lambda s: s + s),
        edit("dsseEnvelope.signatures", lambda _: []),
        edit("verificationMaterial.certificate.rawBytes", flip),
        edit("verificationMaterial.tlogEntries", lambda e: e + e),
        edit("verificationMaterial.tlogEntries", lambda _: []),
        edit(f"{TLOG}.logIndex", lambda i: str(int(i) + 1)),
        edit(f"{TLOG}.logId.keyId", flip),
        edit(f"{TLOG}.integratedTime", lambda _: "1700000000"),
        edit(f"{TLOG}.canonicalizedBody", flip),
        edit(f"{TLOG}.inclusionProof.rootHash", flip),
        edit(f"{TLOG}.inclusionProof.checkpoint.envelope", lambda t: t.replace("\n", "\n\n", 1)),
        edit(f"{STAMP}", lambda s: s + s),
        edit(f"{STAMP}", lambda _: []),
        edit(f"{STAMP}.0.signedTimestamp", flip),
        edit("dsseEnvelope.payload", lambda t: t[:10] + "\n" + t[10:]),
    ],
)
def test_a_changed_field_of_a_bundle_never_verifies(
    signed: tuple[World, bytes, bytes], change: Callable[[dict[str, Any]], None]
) -> None:
    world, bundle, root = signed
    document = json.loads(bundle)
    change(document)
    code = code_of(json.dumps(document).encode(), root, world.identity())
    assert code in ("signature-invalid", "field", "bad-certificate", "json-syntax")


def test_a_key_named_twice_is_refused(signed: tuple[World, bytes, bytes]) -> None:
    world, bundle, root = signed
    doubled = bundle.replace(b"{", b'{"mediaType":"x",', 1)
    assert code_of(doubled, root, world.identity()) == "json-duplicate-key"


def test_a_bundle_of_another_release_does_not_fit_the_entry(own_world: World) -> None:
    first = own_world.serve("echo")
    second = own_world.serve("other")
    host = own_world.host("host")
    host.resolve("echo")
    place = own_world.desk.folder.public / f"blobs/sha256/{first.bundle_sha256[:2]}"
    moved = own_world.desk.blobs.get(second.bundle_sha256)
    (place / first.bundle_sha256).write_bytes(moved)
    fresh = own_world.host("fresh")
    with pytest.raises(McpsError) as caught:
        fresh.resolve("echo")
    assert caught.value.code == "registry-unavailable"
    fresh.resolve("other")


def test_only_valid_approvals_count(world: World) -> None:
    entry = world.serve("echo")
    approvers = Approvers.parse(world.desk.repository.target("trust/approvers.json") or b"")
    bare = entry.with_approvals(())
    good = world.envelope(bare)
    assert valid_approvers(bare.with_approvals((good,)), approvers) == ("alice",)
    stranger = signer(ed25519.Ed25519PrivateKey.generate())
    now = datetime.now(UTC).replace(microsecond=0)

    def over(digest: Sha256, who: Any) -> dict[str, Any]:
        statement = ApprovalStatement(path=bare.path, digest=digest, time=now, comment="")
        return sign_approval(statement, who)

    alice = signer(world.keys["approver-alice"])
    forged = json.loads(json.dumps(good))
    forged["signatures"][0]["sig"] = flip(forged["signatures"][0]["sig"])
    as_alice = over(bare.approved_digest, stranger)
    as_alice["signatures"][0]["keyid"] = alice.public_key.keyid
    for bad in (
        over(bare.approved_digest, stranger),
        over(Sha256("0" * 64), alice),
        forged,
        as_alice,
        {**good, "payloadType": "text/plain"},
        {**good, "signatures": []},
    ):
        assert valid_approvers(bare.with_approvals((bad,)), approvers) == ()
        assert valid_approvers(bare.with_approvals((bad, good)), approvers) == ("alice",)


def test_one_approver_twice_is_one(world: World) -> None:
    entry = world.serve("echo")
    approvers = Approvers.parse(world.desk.repository.target("trust/approvers.json") or b"")
    bare = entry.with_approvals(())
    twice = bare.with_approvals((world.envelope(bare), world.envelope(bare)))
    names = valid_approvers(twice, approvers)
    assert names == ("alice",)
    check_approvals(entry.path, names, 1)
    with pytest.raises(McpsError) as caught:
        check_approvals(entry.path, names, 2)
    assert caught.value.code == "not-approved"


@pytest.mark.parametrize(
    "change",
    [
        {"release": "0" * 64},
        {"tier": "high"},
        {"path": "servers/org.example/echo/1.0.0/2/entry.json"},
        {"expiresAt": "2099-01-01T00:00:00Z"},
    ],
)
def test_a_changed_entry_has_lost_its_approvals(world: World, change: dict[str, Any]) -> None:
    entry = world.serve("echo")
    approvers = Approvers.parse(world.desk.repository.target("trust/approvers.json") or b"")
    changed = Entry.parse(strict_json.dumps({**entry.to_dict(), **change}))
    assert valid_approvers(changed, approvers) == ()
    assert valid_approvers(entry, approvers) == ("alice",)


@pytest.mark.parametrize(
    ("change", "code"), [({"version": 2}, "unsupported-version"), ({"extra": 1}, "field")]
)
def test_an_entry_of_another_form_is_refused(
    world: World, change: dict[str, Any], code: str
) -> None:
    entry = world.serve("echo")
    with pytest.raises(McpsError) as caught:
        Entry.parse(strict_json.dumps({**entry.to_dict(), **change}))
    assert caught.value.code == code
    assert Entry.parse(entry.to_bytes()) == entry


def test_a_stranger_cannot_publish_under_a_namespace(world: World) -> None:
    release = world.release("stranger")
    bundle = world.sign(release, "mallory@example.org")
    before = world.desk.submissions()
    with pytest.raises(McpsError) as caught:
        world.desk.submit(release.submission(bundle), datetime.now(UTC))
    assert caught.value.code == "namespace-not-allowed"
    assert world.desk.submissions() == before
    assert not (world.desk.folder.public / "blobs" / "x").exists()
    world.submit(release)
    assert len(world.desk.submissions()) == len(before) + 1


def test_the_log_and_the_repository_are_files_that_stay(world: World) -> None:
    entries = Path(world.desk.folder.sigstore / "entries.jsonl").read_bytes().count(b"\n")
    assert entries == len(world.instance.log)
