"""Every field of every trusted file: changed, deleted, named twice, swapped with a valid one.

Three attackers. Who holds the registry's online keys may put any entry into the catalogue, and
has no approver's key. Who holds a bundle may change it. Who sits between registry and host may
change whatever is fetched.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mcps_registry.ceremony.holders import signer
from mcps_trust.bundle.approvals import sign_approval, valid_approvers
from mcps_trust.bundle.verify import verify_bundle
from mcps_trust.errors import McpsError
from mcps_trust.http import Http, HttpSettings, Response
from mcps_trust.model.approval import ApprovalStatement, Approvers
from mcps_trust.model.digest import sha256
from mcps_trust.model.entry import Entry
from mcps_trust.model.names import allow_list_path
from mcps_trust.policy.chain import check_approvals, check_bundle_bytes
from mcps_trust.tuf.client import open_registry
from mutations import mutations
from worlds import TEAM, World

pytestmark = pytest.mark.bwrap


def approved(data: bytes, approvers: Approvers) -> Entry:
    """Links 3 and 4, as a launcher decides them."""
    entry = Entry.parse(data)
    check_approvals(entry.path, valid_approvers(entry, approvers), approvers.threshold)
    return entry


def test_no_field_of_an_entry_can_be_changed_without_its_approvers(world: World) -> None:
    entry, other = world.serve("echo"), world.serve("other")
    approvers = Approvers.parse(world.desk.repository.target("trust/approvers.json") or b"")
    assert approved(entry.to_bytes(), approvers) == entry
    count = 0
    for what, data in mutations(entry.to_dict(), other.to_dict()):
        if what == "changed approvals":
            continue  # the same approval twice: it counts once
        with pytest.raises(McpsError):
            approved(data, approvers)
            pytest.fail(f"accepted: {what}")
        count += 1
    assert count > 120
    assert approved(other.to_bytes(), approvers) == other


def test_an_approval_that_names_another_path_counts_for_neither(world: World) -> None:
    entry, other = world.serve("echo"), world.serve("other")
    approvers = Approvers.parse(world.desk.repository.target("trust/approvers.json") or b"")
    now = datetime.now(UTC).replace(microsecond=0)
    statement = ApprovalStatement(
        path=other.path, digest=entry.approved_digest, time=now, comment=""
    )
    envelope = sign_approval(statement, signer(world.keys["approver-alice"]))
    for claimed in (entry, other):
        with pytest.raises(McpsError) as caught:
            approved(claimed.with_approvals((envelope,)).to_bytes(), approvers)
        assert caught.value.code == "not-approved"
    assert approved(entry.to_bytes(), approvers) == entry


def test_no_field_of_a_bundle_can_be_changed(world: World) -> None:
    entry, other = world.serve("echo"), world.serve("other")
    bundle = world.desk.blobs.get(entry.bundle_sha256)
    swapped = world.desk.blobs.get(other.bundle_sha256)
    root = world.signing_instance().trusted_root
    proof, _ = verify_bundle(bundle, trusted_root=root, identity=entry.identity)
    count = 0
    for what, data in mutations(json.loads(bundle), json.loads(swapped)):
        with pytest.raises(McpsError):
            check_bundle_bytes(entry, data)
        if what == "deleted verificationMaterial.tlogEntries.0.integratedTime":
            continue  # it is 0 in a log of version 2, and absent means 0 (ProtoJSON)
        with pytest.raises(McpsError):
            verify_bundle(data, trusted_root=root, identity=entry.identity)
            pytest.fail(f"accepted: {what}")
        count += 1
    assert count > 80
    again, _ = verify_bundle(bundle, trusted_root=root, identity=entry.identity)
    assert again.release == proof.release == entry.release


class Memory(Http):
    """A registry's files as a mirror would serve them, some of them other than they are."""

    def __init__(self, public: Path, changed: dict[str, bytes]) -> None:
        super().__init__(HttpSettings())
        self._public = public
        self._changed = changed

    def get(self, url: str, *, limit: int) -> Response:
        path = urlsplit(url).path.lstrip("/")
        place = self._public / path
        if path in self._changed:
            return Response(status=200, headers={}, body=self._changed[path])
        if not place.is_file():
            return Response(status=404, headers={}, body=b"")
        data = place.read_bytes()
        assert len(data) <= limit
        return Response(status=200, headers={}, body=data)


HARMLESS = re.compile(
    r".* duplicated .*|.* changed signatures\.\d|timestamp.json changed signed.meta"
)


def read_all(world: World, cache: Path, changed: dict[str, bytes]) -> dict[str, str]:
    """Every target that a start of `echo` needs, from an empty cache."""
    root = (world.desk.folder.public / "metadata/1.root.json").read_bytes()
    http = Memory(world.desk.folder.public, changed)
    with open_registry(cache, world.url, root, http) as registry:
        registry.refresh()
        return {path: sha256(registry.target(path)) for path in targets(world)}


def targets(world: World) -> list[str]:
    return [
        allow_list_path(TEAM), str(world.entries["echo"].path), "trust/approvers.json",
        "trust/sigstore/private/trusted_root.json", "revoked/list.json", "reinstated/list.json",
    ]  # fmt: skip


def served(world: World, folder: str) -> dict[str, list[Path]]:
    """Files of a folder of the public tree by role or name, each from oldest to newest."""
    found: dict[str, list[Path]] = {}
    public = world.desk.folder.public
    for place in sorted((public / folder).rglob("*.json")):
        if place.name == "1.root.json":
            continue  # what the host was enrolled with, not what is fetched
        _, dot, name = place.name.partition(".")
        known = str(place.parent / name) if dot and name != "json" else str(place)
        found.setdefault(known, []).append(place)
    for places in found.values():
        places.sort(key=lambda p: (len(p.name.partition(".")[0]), p.name))
    return found


def test_no_field_of_the_metadata_can_be_changed_on_the_way(
    own_world: World, tmp_path: Path
) -> None:
    """What python-tuf lets pass changes nothing: of a key that is named twice it takes the last,
    which is the signed one; and it minds no further keys beside a signature, or beside the one
    that a timestamp's ``meta`` has.
    """
    own_world.serve("echo")
    control = read_all(own_world, tmp_path / "control", {})
    public, count = own_world.desk.folder.public, 0
    used = {path.name for path in (tmp_path / "control/metadata").glob("*.json")}
    for places in served(own_world, "metadata").values():
        newest, oldest = places[-1], places[0]
        if newest.name.split(".", 1)[-1] not in used and newest.name not in used:
            continue
        document = json.loads(newest.read_bytes())
        for what, data in mutations(document, json.loads(oldest.read_bytes())):
            path = str(newest.relative_to(public))
            count += 1
            cache = tmp_path / str(count)
            try:
                found = read_all(own_world, cache, {path: data})
            except McpsError:
                continue
            assert found == control
            assert HARMLESS.fullmatch(f"{newest.name} {what}"), f"{path} {what}"
    assert count > 200
    assert read_all(own_world, tmp_path / "again", {}) == control


def test_no_field_of_a_target_can_be_changed_on_the_way(own_world: World, tmp_path: Path) -> None:
    own_world.serve("echo")
    control = read_all(own_world, tmp_path / "control", {})
    public, count = own_world.desk.folder.public, 0
    for places in served(own_world, "targets").values():
        newest = places[-1]
        data = newest.read_bytes()
        if sha256(data) not in control.values():
            continue
        path = str(newest.relative_to(public))
        for what, changed in mutations(json.loads(data)):
            count += 1
            with pytest.raises(McpsError):
                read_all(own_world, tmp_path / str(count), {path: changed})
                pytest.fail(f"accepted: {path} {what}")
    assert count > 100
    assert read_all(own_world, tmp_path / "again", {}) == control
