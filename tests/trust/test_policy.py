"""The links of the chain that compare values: each refuses with a code of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from documents import example
from mcps_trust.errors import McpsError
from mcps_trust.model import strict_json
from mcps_trust.model.allow_list import AllowList, Tightening
from mcps_trust.model.digest import Sha256, sha256
from mcps_trust.model.entry import Entry
from mcps_trust.model.identity import PublisherIdentity, SignerIdentity
from mcps_trust.model.names import Alias, EntryPath
from mcps_trust.model.permissions import EnvironmentVariable, Mount, Permissions, Secret
from mcps_trust.model.proof import Proof
from mcps_trust.model.revocation import Kind, Reinstatements, Revocation, Revocations
from mcps_trust.model.statement import ReleaseStatement
from mcps_trust.policy.chain import (
    check_approvals,
    check_bundle_bytes,
    check_entry,
    check_not_expired,
    check_release,
    find_allowed,
    sandbox_permissions,
)
from mcps_trust.policy.intersection import missing
from mcps_trust.policy.revoked import Member, ReleaseFacts, find_revocation, refuse_revoked

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
ENTRY = Entry.parse(strict_json.dumps(example("entry")))
ALLOW_LIST = AllowList.parse(strict_json.dumps(example("allow-list")))
ALLOWED = ALLOW_LIST.aliases[Alias("clock")]
PAYLOAD = strict_json.dumps(example("release-statement"))
STATEMENT = ReleaseStatement.parse(PAYLOAD)


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(McpsError) as caught:
        call()
    return caught.value.code


# the allow-list and the entry ---------------------------------------------------------------


def test_an_alias_that_is_not_allowed_is_refused_with_what_was_meant() -> None:
    assert find_allowed(ALLOW_LIST, "clock") == ALLOWED
    with pytest.raises(McpsError) as caught:
        find_allowed(ALLOW_LIST, "clok")
    assert caught.value.code == "alias-unknown" and "did you mean 'clock'" in caught.value.remedy
    empty = replace(ALLOW_LIST, aliases={})
    assert code_of(lambda: find_allowed(empty, "clock")) == "alias-unknown"


def test_an_entry_is_the_one_that_was_allowed_and_stands_where_it_says() -> None:
    data = ENTRY.to_bytes()
    assert check_entry(data, ALLOWED) == ENTRY
    other = replace(ENTRY, notes="another").to_bytes()
    assert code_of(lambda: check_entry(other, ALLOWED)) == "entry-mismatch"
    moved = replace(ALLOWED, entry=replace(ALLOWED.entry, revision=2))
    assert code_of(lambda: check_entry(data, moved)) == "entry-mismatch"
    nothing = replace(ALLOWED, sha256=sha256(b"{}\n"))
    assert code_of(lambda: check_entry(b"{}\n", nothing)) == "field"


@pytest.mark.parametrize(
    ("names", "threshold", "enough"),
    [(("alice",), 1, True), (("alice", "bob"), 2, True), ((), 1, False), (("alice",), 2, False),
     (("alice", "alice"), 2, False), (("alice",), 0, False)],
)  # fmt: skip
def test_enough_different_people_approved(
    names: tuple[str, ...], threshold: int, *, enough: bool
) -> None:
    if enough:
        check_approvals(ENTRY.path, names, threshold)
    else:
        assert code_of(lambda: check_approvals(ENTRY.path, names, threshold)) == "not-approved"


def test_an_approval_ends_at_its_time() -> None:
    check_not_expired(ENTRY, ENTRY.expires_at - timedelta(seconds=1))
    assert code_of(lambda: check_not_expired(ENTRY, ENTRY.expires_at)) == "entry-expired"


# the bundle and the release -----------------------------------------------------------------


def test_a_bundle_is_the_one_that_was_reviewed() -> None:
    bundle = b"x" * 100
    entry = replace(ENTRY, bundle_sha256=sha256(bundle), bundle_size=100)
    assert check_bundle_bytes(entry, bundle) == sha256(bundle)
    assert code_of(lambda: check_bundle_bytes(entry, b"y" * 100)) == "bundle-mismatch"
    longer = replace(entry, bundle_size=101)
    assert code_of(lambda: check_bundle_bytes(longer, bundle)) == "bundle-mismatch"


def proof_about(payload: bytes) -> Proof:
    return Proof(
        bundle=ENTRY.bundle_sha256, release=sha256(payload), trusted_root=sha256(b"root"),
        required=ENTRY.identity, signer=SIGNER, predicate_type="urn:mcps:release:v1", closures=(),
        signed_at=NOW, log_index=1, software="mcps==1",
    )  # fmt: skip


SIGNER = SignerIdentity(
    instance="private", issuer="https://id.example.org", subject="it@example.org", claims={}
)


def test_what_was_signed_is_the_release_that_the_entry_is_about() -> None:
    entry = replace(ENTRY, release=sha256(PAYLOAD))
    assert check_release(entry, proof_about(PAYLOAD), PAYLOAD) == STATEMENT
    other = json.loads(PAYLOAD)
    other["predicate"]["server"]["version"] = "1.0.1"
    payload = strict_json.dumps(other)
    assert code_of(lambda: check_release(entry, proof_about(payload), payload)) == (
        "release-mismatch"
    )
    assert code_of(lambda: check_release(entry, proof_about(PAYLOAD), payload)) == (
        "release-mismatch"
    )
    renamed = replace(entry, release=sha256(payload))
    assert code_of(lambda: check_release(renamed, proof_about(payload), payload)) == (
        "release-mismatch"
    )


# permissions --------------------------------------------------------------------------------

DATA = Mount(name="data", mode="rw", target="/data")
TOKEN = Secret(name="TOKEN", required=True, description="for the service")
MODE = EnvironmentVariable(name="MODE", required=True)


@pytest.mark.parametrize(
    ("asked", "granted", "lacking"),
    [
        (Permissions(), Permissions(), ()),
        (Permissions(mounts=(DATA,)), Permissions(mounts=(DATA,)), ()),
        (Permissions(mounts=(DATA,)), Permissions(), ("mount data (rw) at /data",)),
        (Permissions(mounts=(DATA,)), Permissions(mounts=(replace(DATA, mode="ro"),)),
         ("mount data (rw) at /data",)),
        (Permissions(mounts=(replace(DATA, mode="ro"),)), Permissions(mounts=(DATA,)), ()),
        (Permissions(secrets=(TOKEN,)), Permissions(), ("secret TOKEN",)),
        (Permissions(secrets=(replace(TOKEN, required=False),)), Permissions(), ()),
        (Permissions(environment=(MODE,)), Permissions(), ("environment MODE",)),
        (Permissions(environment=(replace(MODE, required=False),)), Permissions(), ()),
        (Permissions(egress=("a.example.org:443",), seccomp="network"), Permissions(),
         ("egress a.example.org:443", "seccomp tier network")),
        (Permissions(seccomp="default"), Permissions(seccomp="network"), ()),
    ],
)  # fmt: skip
def test_what_a_server_cannot_do_without_is_named(
    asked: Permissions, granted: Permissions, lacking: tuple[str, ...]
) -> None:
    assert missing(asked, granted) == lacking
    statement = replace(STATEMENT, permissions=asked)
    entry = replace(ENTRY, grant=granted)
    if lacking:
        found = code_of(lambda: sandbox_permissions(statement, entry, Tightening(), None))
        assert found == "missing-permission"
    else:
        assert sandbox_permissions(statement, entry, Tightening(), None).tools == entry.tools


def test_a_team_and_a_host_can_only_take_away() -> None:
    wide = Permissions(environment=(replace(MODE, required=False),))
    statement, entry = replace(STATEMENT, permissions=wide), replace(ENTRY, grant=wide)
    tighten = Tightening(permissions=Permissions(), deny_tools=("now",))
    assert sandbox_permissions(statement, entry, Tightening(), None).permissions == wide
    profile = sandbox_permissions(statement, entry, tighten, None)
    assert profile.permissions == Permissions() and profile.deny_tools == ("now",)
    assert sandbox_permissions(statement, entry, Tightening(), Permissions()).permissions == (
        Permissions()
    )


# revocations --------------------------------------------------------------------------------

FACTS = ReleaseFacts(
    namespace="org.example", digests=frozenset({"a" * 64, "b" * 64}), signer=SIGNER,
    signed_at=NOW, packages=frozenset({"pkg:pypi/clock@1.0.0"}),
    members=(Member(purl="pkg:pypi/library@2.0?platform=linux%2Fx86_64", digest="c" * 64),
             Member(purl="pkg:npm/%40a/b@3.0.0", digest="sha512-" + "A" * 86 + "==")),
)  # fmt: skip


def revocation(kind: Kind, match: str, since: datetime = NOW - timedelta(days=1)) -> Revocations:
    found = Revocation(
        id="test-00000001", kind=kind, match=match, since=since, reason="a test", time=NOW
    )
    return Revocations(revocations=(found,))


@pytest.mark.parametrize(
    ("kind", "match", "applies"),
    [
        ("digest", "a" * 64, True),
        ("digest", "c" * 64, False),
        ("artifact", "c" * 64, True),
        ("artifact", "sha512-" + "A" * 86 + "==", True),
        ("artifact", "a" * 64, False),
        ("publisher", "org.example", True),
        ("publisher", "Org.Example", True),
        ("publisher", "org.example2", False),
        ("package", "pkg:pypi/clock@1.0.0", True),
        ("package", "pkg:pypi/library@2.0", True),
        ("package", "pkg:npm/%40a/b@3.0.0", True),
        ("package", "pkg:pypi/clock@1.0.1", False),
        ("signer", "https://id.example.org it@example.org", True),
        ("signer", "https://id.example.org *@example.org", True),
        ("signer", "https://id.example.org it@example.com", False),
        ("signer", "https://other.example.org it@example.org", False),
    ],
)
def test_a_revocation_reaches_what_it_names(kind: Kind, match: str, *, applies: bool) -> None:
    revoked, nothing = revocation(kind, match), Reinstatements(ids={})
    if not applies:
        refuse_revoked(FACTS, revoked, nothing)
        return
    assert code_of(lambda: refuse_revoked(FACTS, revoked, nothing)) == "revoked"
    assert find_revocation(FACTS, revoked, nothing) == revoked.revocations[0]
    refuse_revoked(FACTS, revoked, Reinstatements(ids={"test-00000001": "mistake"}))
    refuse_revoked(FACTS, Revocations(), nothing)


def test_what_a_signer_signed_before_it_was_lost_stays_valid() -> None:
    match, nothing = "https://id.example.org it@example.org", Reinstatements(ids={})
    refuse_revoked(FACTS, revocation("signer", match, NOW + timedelta(seconds=1)), nothing)
    at_once = revocation("signer", match, NOW)
    assert code_of(lambda: refuse_revoked(FACTS, at_once, nothing)) == "revoked"


def test_an_identity_names_a_subject_and_not_everybody() -> None:
    document: dict[str, Any] = example("entry")["identity"]
    assert PublisherIdentity.from_fields(fields(document)).to_dict() == document
    for subject in ("*", "*/*", "**", "/"):
        spoiled = {**document, "subject": subject}
        assert code_of(lambda d=spoiled: PublisherIdentity.from_fields(fields(d))) == "field"  # type: ignore[misc]  # a lambda's default


def fields(document: dict[str, Any]) -> Any:
    from mcps_trust.model.fields import Fields

    return Fields(document, "identity")


def test_paths_of_entries_are_read_in_one_way() -> None:
    assert str(EntryPath.parse(str(ENTRY.path))) == str(ENTRY.path)
    for text in ("servers/a/b/1/0/entry.json", "servers/a/b/1/01/entry.json", "servers/a/b/1/x",
                 "servers/a/../1/1/entry.json", "teams/a/b/1/1/entry.json"):  # fmt: skip
        assert code_of(lambda t=text: EntryPath.parse(t)) == "bad-name"  # type: ignore[misc]  # a lambda's default
    assert Sha256(ALLOWED.sha256) == sha256(ENTRY.to_bytes())
