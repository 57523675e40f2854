"""The registry at work: takes submissions in, collects approvals, publishes.

All that a command or the HTTP interface can ask of a registry on its own host. Nothing
here approves or allows: that needs keys which this host does not have.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from securesystemslib.signer import Signer

from mcps_registry.ceremony.holders import ONLINE, find_key, signer
from mcps_registry.configuration import RegistryConfiguration, RegistryFolder
from mcps_registry.lanes.repository import Repository
from mcps_registry.store.blobs import Blobs
from mcps_registry.store.database import connect, reading, tables, writing
from mcps_registry.submission.intake import take_in
from mcps_trust.bundle.approvals import valid_approvers
from mcps_trust.clock import format_time
from mcps_trust.errors import NotPermittedError, UsageError
from mcps_trust.model.approval import Approvers
from mcps_trust.model.digest import Sha256, sha256
from mcps_trust.model.entry import Entry
from mcps_trust.model.fields import Fields
from mcps_trust.model.identity import PublisherIdentity
from mcps_trust.model.names import parse_segment
from mcps_trust.model.submission import Submission

__all__ = ["ApprovalState", "Desk", "NoSuchSubmissionError", "NotReviewableError", "open_desk"]


class NoSuchSubmissionError(UsageError):
    """Nothing of that name waits for review."""

    code = "no-such-submission"
    advice = "`mcps-registry review list` shows what waits"


class NotReviewableError(NotPermittedError):
    """The approval is about something that cannot be approved, or not any more."""

    code = "not-reviewable"


@dataclass(frozen=True, kw_only=True, slots=True)
class ApprovalState:
    """How far an entry is: who approved, how many it takes, whether it is published."""

    path: str
    approved_by: tuple[str, ...]
    threshold: int
    published: bool
    entry_sha256: Sha256 | None

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "path": self.path,
            "approvedBy": list(self.approved_by),
            "threshold": self.threshold,
            "published": self.published,
            "entrySha256": self.entry_sha256,
        }


class Desk:
    """One open registry. Made by `open_desk`."""

    def __init__(
        self,
        folder: RegistryFolder,
        configuration: RegistryConfiguration,
        engine: sa.Engine,
        repository: Repository,
    ) -> None:
        self.folder = folder
        self.configuration = configuration
        self.repository = repository
        self.blobs = Blobs(folder.public)
        self._engine = engine

    # namespaces ------------------------------------------------------------------------

    def allow_namespace(self, namespace: str, identity: PublisherIdentity) -> None:
        """Let `identity` publish under `namespace`.

        Raises:
            BadNameError: the namespace cannot be a path segment.
        """
        row = {
            "namespace": parse_segment(namespace, "namespace"),
            "identity_key": identity.key,
            "identity": identity.to_dict(),
        }
        with writing(self._engine) as connection:
            connection.execute(
                sa.delete(tables.namespaces).where(
                    tables.namespaces.c.namespace == namespace,
                    tables.namespaces.c.identity_key == identity.key,
                )
            )
            connection.execute(sa.insert(tables.namespaces), row)

    def namespaces(self) -> dict[str, list[PublisherIdentity]]:
        """Who may publish under what."""
        result: dict[str, list[PublisherIdentity]] = {}
        with reading(self._engine) as connection:
            for row in connection.execute(sa.select(tables.namespaces)):
                identity = PublisherIdentity.from_fields(Fields(row.identity, "namespace"))
                result.setdefault(row.namespace, []).append(identity)
        return result

    def trusted_roots(self) -> dict[str, bytes]:
        """Each Sigstore instance's trusted root, as published."""
        roots: dict[str, bytes] = {}
        for path in self.repository.targets("targets").targets:
            match path.split("/"):
                case ["trust", "sigstore", instance, "trusted_root.json"]:
                    roots[instance] = self.repository.target(path) or b""
        return roots

    # submissions -----------------------------------------------------------------------

    def submit(self, submission: Submission, now: datetime) -> dict[str, Any]:
        """Verify a submission and put it into the queue; the same one twice is no harm.

        Raises:
            NamespaceError, UntrustedDataError: as `take_in`.
        """
        accepted = take_in(submission, self.namespaces(), self.trusted_roots())
        bundle = self.blobs.put(submission.bundle)
        for data in (*submission.closures.values(), *submission.artifacts.values()):
            self.blobs.put(data)
        row = {
            "release": accepted.proof.release,
            "server": str(accepted.statement.server.name),
            "version": accepted.statement.server.version,
            "origin": accepted.statement.origin,
            "bundle_sha256": bundle,
            "bundle_size": len(submission.bundle),
            "identity": accepted.proof.required.to_dict(),
            "signer": accepted.proof.signer.to_dict(),
            "state": "waiting",
            "submitted": format_time(now),
            "reason": "",
        }
        with writing(self._engine) as connection:
            known = sa.select(tables.submissions).where(
                tables.submissions.c.release == accepted.proof.release
            )
            if connection.execute(known).first() is None:
                connection.execute(sa.insert(tables.submissions), row)
        return self.submission(accepted.proof.release)

    def submissions(self) -> list[dict[str, Any]]:
        """The queue, oldest first."""
        query = sa.select(tables.submissions).order_by(tables.submissions.c.submitted)
        with reading(self._engine) as connection:
            return [_public(row) for row in connection.execute(query)]

    def submission(self, release: str) -> dict[str, Any]:
        """One of the queue, by its release digest or an unambiguous beginning of it.

        Raises:
            NoSuchSubmissionError: there is none, or more than one.
        """
        found = [
            item
            for item in self.submissions()
            if item["release"].startswith(release)
            or f"{item['server']}@{item['version']}" == release
        ]
        if len(found) > 1:
            found = [item for item in found if item["state"] == "waiting"] or found
        if len(found) > 1 and release:
            raise NoSuchSubmissionError(
                f"{len(found)} submissions are called {release}",
                expected="the release digest of one, or its beginning",
                found=", ".join(item["release"][:12] for item in found),
            )
        if not found or not release:
            raise NoSuchSubmissionError(
                "there is no such submission",
                expected="a release digest, or server@version",
                found=release,
            )
        return found[0]

    def reject(self, release: str, reason: str) -> dict[str, Any]:
        """Refuse a submission, for good.

        Raises:
            NoSuchSubmissionError: there is none.
            NotReviewableError: it was approved already.
        """
        item = self.submission(release)
        if item["state"] == "approved":
            raise NotReviewableError(
                "it was approved already", remedy="revoke it: mcps-registry revoke"
            )
        self._set_state(item["release"], "rejected", reason)
        return self.submission(item["release"])

    # approvals -------------------------------------------------------------------------

    def approve(
        self, entry_bytes: bytes, envelope: Mapping[str, Any], now: datetime
    ) -> ApprovalState:
        """Take one approver's signature in; publish the entry once there are enough.

        Args:
            entry_bytes: the entry without approvals.
            envelope: the DSSE envelope over it.

        Raises:
            NotReviewableError: the signature is not a valid approval of this entry, or the
                entry is not about a submission that was taken in.
            UntrustedDataError: it is no valid entry.
        """
        entry = Entry.parse(entry_bytes)
        path, digest = str(entry.path), entry.approved_digest
        item = self._submission_of(entry)
        before = replace(entry.path, revision=entry.path.revision - 1)
        if before.revision and self.repository.target(str(before)) is None:
            raise NotReviewableError(
                "revisions follow one another", expected=f"{before}, published", found=path
            )
        approvers = Approvers.parse(self.repository.target("trust/approvers.json") or b"")
        if not valid_approvers(entry.with_approvals((envelope,)), approvers):
            raise NotReviewableError(
                "this is not a valid approval of this entry",
                expected="a signature by one of " + ", ".join(a.name for a in approvers.approvers),
            )
        row = {
            "path": path, "digest": digest, "key_id": envelope["signatures"][0]["keyid"],
            "entry": entry_bytes, "envelope": dict(envelope),
        }  # fmt: skip
        where = tables.approvals.c.path == path, tables.approvals.c.digest == digest
        with writing(self._engine) as connection:
            connection.execute(
                sa.delete(tables.approvals).where(
                    *where, tables.approvals.c.key_id == row["key_id"]
                )
            )
            connection.execute(sa.insert(tables.approvals), row)
            rows = connection.execute(
                sa.select(tables.approvals.c.envelope).where(*where).order_by("key_id")
            ).scalars()
            complete = entry.with_approvals(tuple(rows))
        names = valid_approvers(complete, approvers)
        if len(set(names)) >= approvers.threshold and not self._is_published(path, digest):
            self.repository.put_entry(path, complete.to_bytes(), now)
        published = self._is_published(path, digest)
        if published:
            self._set_state(item["release"], "approved", path)
        published_bytes = self.repository.target(path)
        return ApprovalState(
            path=path,
            approved_by=names,
            threshold=approvers.threshold,
            published=published,
            entry_sha256=None if published_bytes is None else sha256(published_bytes),
        )

    def _is_published(self, path: str, digest: Sha256) -> bool:
        """Whether this very entry is in the catalogue, by whose approval ever."""
        data = self.repository.target(path)
        return data is not None and Entry.parse(data).approved_digest == digest

    def accept_roles(
        self, roles: Mapping[str, bytes], files: Mapping[str, bytes], now: datetime
    ) -> None:
        """Publish roles that others signed; see `Repository.accept`."""
        self.repository.accept(roles, files, now)

    def _submission_of(self, entry: Entry) -> dict[str, Any]:
        try:
            item = self.submission(entry.release)
        except NoSuchSubmissionError as error:
            raise NotReviewableError(
                "the entry is about a release that was never submitted", found=entry.release
            ) from error
        expected = (item["server"], item["version"], item["bundleSha256"], item["bundleSize"])
        found = (str(entry.path.server), entry.path.version, entry.bundle_sha256, entry.bundle_size)
        if found != expected:
            raise NotReviewableError(
                "the entry does not fit what was submitted",
                expected=str(expected),
                found=str(found),
            )
        if item["state"] == "rejected":
            raise NotReviewableError("the submission was rejected", found=item["reason"])
        return item

    def _set_state(self, release: str, state: str, reason: str) -> None:
        with writing(self._engine) as connection:
            connection.execute(
                sa.update(tables.submissions)
                .where(tables.submissions.c.release == release)
                .values(state=state, reason=reason)
            )


def open_desk(folder: RegistryFolder, passphrase: Callable[[], bytes]) -> Desk:
    """Open the registry in `folder`.

    Args:
        passphrase: asked for when an online key is first needed.

    Raises:
        NotARegistryError: there is none.
    """
    configuration = RegistryConfiguration.read(folder)
    engine = connect(folder.database)
    opened: dict[str, Signer] = {}

    def online(purpose: str) -> Signer:
        if purpose not in opened:
            key = find_key(folder.keys / ONLINE, purpose)
            opened[purpose] = signer(key.open(passphrase()))
        return opened[purpose]

    repository = Repository(engine, folder.public, folder.lock, online)
    return Desk(folder, configuration, engine, repository)


def role_bodies(document: object) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Roles and files out of the JSON in which they are posted.

    Raises:
        FieldError: it is not of that form.
    """
    fields = Fields(document, "request")
    bodies = []
    for key in ("roles", "files"):
        bodies.append(
            {
                name: base64.b64decode(str(value), validate=True)
                for name, value in fields.mapping(key).items()
            }
        )
    fields.done()
    return bodies[0], bodies[1]


def _public(row: Any) -> dict[str, Any]:
    return {
        "release": row.release,
        "server": row.server,
        "version": row.version,
        "origin": row.origin,
        "bundleSha256": row.bundle_sha256,
        "bundleSize": row.bundle_size,
        "identity": row.identity,
        "signer": row.signer,
        "state": row.state,
        "submitted": row.submitted,
        "reason": row.reason,
    }
