"""What may enter the queue: verified, bound to its namespace, and whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mcps_registry.store.blobs import Blobs
from mcps_registry.submission.intake import take_in
from mcps_trust.errors import McpsError
from mcps_trust.model.digest import Sha256, sha256
from mcps_trust.model.identity import PublisherIdentity
from mcps_trust.model.submission import Submission
from worlds import NAMESPACE, World

pytestmark = pytest.mark.bwrap


@pytest.fixture(scope="module")
def sent(world: World) -> Submission:
    release = world.release("sent")
    return release.submission(world.sign(release))


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(McpsError) as caught:
        call()
    return caught.value.code


def test_a_submission_is_bound_to_who_may_publish_under_its_namespace(
    world: World, sent: Submission
) -> None:
    roots, right = world.desk.trusted_roots(), world.identity()
    other = replace(right, subject="mallory@example.org")
    unknown = replace(right, instance="public")
    assert take_in(sent, {NAMESPACE: [right]}, roots).proof.signer.subject == right.subject
    assert take_in(sent, {NAMESPACE: [other, right]}, roots).proof.required == right
    for allowed in ({}, {"io.other": [right]}, {NAMESPACE: [other]}, {NAMESPACE: [unknown]}):
        assert code_of(lambda a=allowed: take_in(sent, a, roots)) == "namespace-not-allowed"  # type: ignore[misc]  # a lambda's default
    foreign = {"private": json.dumps({**json.loads(roots["private"]), "tlogs": []}).encode()}
    assert code_of(lambda: take_in(sent, {NAMESPACE: [right]}, foreign)) == "signature-invalid"


def test_a_submission_has_every_lock_that_it_names(world: World, sent: Submission) -> None:
    roots = world.desk.trusted_roots()
    allowed: dict[str, list[PublisherIdentity]] = {NAMESPACE: [world.identity()]}
    assert code_of(lambda: take_in(replace(sent, closures={}), allowed, roots)) == "closure-missing"
    (digest,) = sent.closures
    longer = replace(sent, closures={digest: sent.closures[digest] + b"\n"})
    assert code_of(lambda: take_in(longer, allowed, roots)) == "bad-submission"


def test_a_submission_brings_nothing_that_its_signer_has_not_signed_for(
    world: World, sent: Submission
) -> None:
    """A bundle is public: whoever sends it again must not have files of their own kept."""
    roots = world.desk.trusted_roots()
    allowed: dict[str, list[PublisherIdentity]] = {NAMESPACE: [world.identity()]}
    junk = b"anything"
    more = {sha256(junk): junk}
    for fuller in (
        replace(sent, artifacts={**sent.artifacts, **more}),
        replace(sent, closures={**sent.closures, **more}),
    ):
        assert code_of(lambda s=fuller: take_in(s, allowed, roots)) == "bad-submission"  # type: ignore[misc]  # a lambda's default
        assert code_of(lambda s=fuller: world.desk.submit(s, datetime.now(UTC))) == "bad-submission"  # type: ignore[misc]  # likewise
    assert code_of(lambda: Blobs(world.desk.folder.public).get(sha256(junk))) == "blob-missing"
    assert take_in(sent, allowed, roots)


def test_the_same_submission_twice_is_one(world: World, sent: Submission) -> None:
    now = datetime.now(UTC)
    first = world.desk.submit(sent, now)
    assert world.desk.submit(sent, now) == first
    assert world.desk.submission(first["release"][:12]) == first
    found = [s for s in world.desk.submissions() if s["release"] == first["release"]]
    assert found == [first]
    for name in ("", "nothing", "org.example/sent@9.9.9"):
        assert code_of(lambda n=name: world.desk.submission(n)) == "no-such-submission"  # type: ignore[misc]  # a lambda's default


def test_an_entry_that_does_not_fit_its_submission_is_not_reviewable(
    world: World, sent: Submission
) -> None:
    now = datetime.now(UTC)
    item = world.desk.submit(sent, now)
    release = world.release("sent")
    entry = world.draft(release, item)

    def approve(changed: object) -> str:
        assert isinstance(changed, type(entry))
        return code_of(lambda: world.desk.approve(changed.to_bytes(), world.envelope(changed), now))

    assert approve(replace(entry, bundle_size=entry.bundle_size + 1)) == "not-reviewable"
    assert approve(replace(entry, release=sha256(b"never submitted"))) == "not-reviewable"
    stranger = world.envelope(entry, "revoked")
    assert code_of(lambda: world.desk.approve(entry.to_bytes(), stranger, now)) == "not-reviewable"
    published = world.desk.approve(entry.to_bytes(), world.envelope(entry), now)
    assert published.published
    assert code_of(lambda: world.desk.reject("org.example/sent@1.0.0", "late")) == "not-reviewable"


def test_a_blob_is_found_by_its_digest_and_is_still_itself(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    digest = blobs.put(b"content")
    assert blobs.put(b"content") == digest and blobs.get(digest) == b"content"
    (tmp_path / "blobs/sha256" / digest[:2] / digest).chmod(0o600)
    (tmp_path / "blobs/sha256" / digest[:2] / digest).write_bytes(b"changed")
    assert code_of(lambda: blobs.get(digest)) == "blob-missing"
    assert code_of(lambda: blobs.get(Sha256("0" * 64))) == "blob-missing"
