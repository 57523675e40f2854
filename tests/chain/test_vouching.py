"""Who vouches for a release: other statements, other instances, too few approvers."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sigstore.dsse import Statement
from sigstore.models import ClientTrustConfig
from sigstore.oidc import IdentityToken
from sigstore.sign import SigningContext

from mcps_trust.bundle.verify import verify_bundle
from mcps_trust.errors import McpsError
from mcps_trust.model.digest import Sha256, sha256
from worlds import AUTHOR, World, make_world, remove

pytestmark = pytest.mark.bwrap


def sign_anything(world: World, payload: bytes) -> bytes:
    """A bundle over any in-toto statement, by the world's own author."""
    instance = world.signing_instance()
    config = ClientTrustConfig.from_json(json.dumps({
        "mediaType": ClientTrustConfig.ClientTrustConfigType.CONFIG_0_1.value,
        "trustedRoot": json.loads(instance.trusted_root),
        "signingConfig": json.loads(instance.signing_config),
    }))  # fmt: skip
    with SigningContext.from_trust_config(config).signer(IdentityToken(world.token())) as signer:
        return signer.sign_dsse(Statement(payload)).to_json().encode()


@pytest.mark.parametrize(
    "predicate", ["https://slsa.dev/provenance/v1", "urn:mcps:release:v2", "urn:mcps:release:v1 "]
)
def test_a_statement_of_another_kind_is_no_release(world: World, predicate: str) -> None:
    """The same author signed it, over the same subjects; it just says something else."""
    release = world.release("echo")
    statement = json.loads(release.statement.to_payload())
    root, identity = world.signing_instance().trusted_root, world.identity()
    control = sign_anything(world, json.dumps(statement).encode())
    assert verify_bundle(control, trusted_root=root, identity=identity)[0].signer.subject == AUTHOR
    statement["predicateType"] = predicate
    forged = sign_anything(world, json.dumps(statement).encode())
    with pytest.raises(McpsError) as caught:
        verify_bundle(forged, trusted_root=root, identity=identity)
    assert caught.value.code == "wrong-predicate"


def test_the_private_authority_cannot_mint_a_public_identity(
    own_world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An entry that wants the public instance gets a bundle of the private one.

    The private authority names whatever issuer and subject it likes. What stands in for the
    public instance is another authority, whose trusted root is published as ``public``.
    """
    own_world.serve("echo")
    folder = tmp_path_factory.mktemp("public")
    other, end = make_world(folder)
    try:
        files = {f"trust/sigstore/public/{name}": data for name, data in (
            ("trusted_root.json", other.signing_instance().trusted_root),
            ("signing_config.json", other.signing_instance().signing_config),
        )}  # fmt: skip
        own_world.publish_role("targets", files)
    finally:
        end()
        remove(folder)
    release = own_world.release("minted")
    item = own_world.submit(release)
    public = replace(own_world.identity(), instance="public")
    entry = replace(own_world.draft(release, item), identity=public)
    entry = own_world.approve(entry)
    own_world.allow("minted", entry.path)
    host = own_world.host("host")
    with pytest.raises(McpsError) as caught:
        host.resolve("minted")
    assert caught.value.code == "signature-invalid"
    assert not list(host.places.kept.glob("decision-*"))
    assert host.resolve("echo").alias == "echo"


def test_too_few_approvals_are_not_enough(tmp_path: Path) -> None:
    """Two are needed. A registry that publishes an entry with one is refused by every host."""
    world, end = make_world(tmp_path, approvers=["alice", "bob"], threshold=2)
    try:
        release = world.release("echo")
        item = world.submit(release)
        draft = world.draft(release, item)
        now = datetime.now(UTC)
        alice = world.envelope(draft)
        state = world.desk.approve(draft.to_bytes(), alice, now)
        assert not state.published
        assert world.desk.approve(draft.to_bytes(), alice, now).approved_by == ("alice",)
        assert world.desk.repository.target(str(draft.path)) is None
        # Who holds the online keys puts it into the catalogue all the same.
        early = draft.with_approvals((alice,)).to_bytes()
        world.desk.repository.put_entry(str(draft.path), early, now)
        world.allow("early", draft.path)
        host = world.host("host")
        with pytest.raises(McpsError) as caught:
            host.resolve("early")
        assert caught.value.code == "not-approved"
        assert "2 valid approvals" in str(caught.value.expected)
        # The control: a revision that both have signed.
        second = world.draft(release, item, revision=2)
        world.desk.approve(second.to_bytes(), world.envelope(second), now)
        state = world.desk.approve(second.to_bytes(), world.envelope(second, "approver-bob"), now)
        assert state.published and set(state.approved_by) == {"alice", "bob"}
        data = world.desk.repository.target(str(second.path)) or b""
        world.allow("echo", second.path, digest=Sha256(sha256(data)))
        assert set(host.resolve("echo").approved_by) == {"alice", "bob"}
    finally:
        end()
        remove(tmp_path)
