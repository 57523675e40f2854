"""The links of the chain that are decided by comparing values.

Each function is one link of ``docs/verification.md``, in its order. It returns what it
established, or raises an error with a code of its own; none returns a bool.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from mcps_trust.clock import format_time
from mcps_trust.errors import NotPermittedError, UntrustedDataError
from mcps_trust.model.allow_list import Allowed, AllowList, Tightening
from mcps_trust.model.digest import Sha256, sha256
from mcps_trust.model.entry import Entry
from mcps_trust.model.names import Alias, EntryPath
from mcps_trust.model.permissions import Permissions
from mcps_trust.model.proof import Proof
from mcps_trust.model.statement import ReleaseStatement, release_digest
from mcps_trust.model.vetting import ToolRule
from mcps_trust.policy.intersection import MissingPermissionError, missing, narrow

__all__ = [
    "AliasUnknownError",
    "BundleMismatchError",
    "EntryExpiredError",
    "EntryMismatchError",
    "EntryNotInCatalogueError",
    "NotApprovedError",
    "Profile",
    "ReleaseMismatchError",
    "check_approvals",
    "check_bundle_bytes",
    "check_entry",
    "check_not_expired",
    "check_release",
    "find_allowed",
    "sandbox_permissions",
]


class AliasUnknownError(NotPermittedError):
    """The team's allow-list has no such alias."""

    code = "alias-unknown"
    advice = "`mcps-launch list` shows what this team may start"


class EntryNotInCatalogueError(NotPermittedError):
    """The allow-list names an entry that the catalogue does not have."""

    code = "entry-not-in-catalogue"
    advice = "tell whoever runs the registry: team and catalogue do not agree"


class EntryMismatchError(NotPermittedError):
    """The catalogue's entry is not the one that the team allowed."""

    code = "entry-mismatch"
    advice = "tell whoever runs the registry: team and catalogue do not agree"


class NotApprovedError(NotPermittedError):
    """Too few of the approvers vouch for this entry."""

    code = "not-approved"
    advice = "an approver must sign this revision: mcps-registry approve"


class EntryExpiredError(NotPermittedError):
    """The entry was approved until a time that has passed."""

    code = "entry-expired"
    advice = "ask for a renewed approval"


class BundleMismatchError(UntrustedDataError):
    """The bundle is not the one that the entry names."""

    code = "bundle-mismatch"


class ReleaseMismatchError(UntrustedDataError):
    """The signed statement is about something else than the entry."""

    code = "release-mismatch"


def find_allowed(allow_list: AllowList, alias: str) -> Allowed:
    """Link 2: the team allows this alias.

    Raises:
        AliasUnknownError: it does not; says what the name may have been meant to be.
    """
    allowed = allow_list.aliases.get(Alias(alias))
    if allowed is None:
        close = difflib.get_close_matches(alias, list(allow_list.aliases), n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise AliasUnknownError(
            f"team {allow_list.team!r} may not start {alias!r}",
            expected="one of " + (", ".join(sorted(allow_list.aliases)) or "(nothing yet)"),
            found=alias,
            remedy=hint + AliasUnknownError.advice,
        )
    return allowed


def check_entry(data: bytes, allowed: Allowed) -> Entry:
    """Link 3: the catalogue's entry is, byte for byte, the one that the team allowed.

    Raises:
        EntryMismatchError: it is another, or calls itself so.
        UntrustedDataError: it is no valid entry.
    """
    found = sha256(data)
    if found != allowed.sha256:
        raise EntryMismatchError(
            "the catalogue has another entry than the team allowed",
            expected=allowed.sha256,
            found=found,
        )
    entry = Entry.parse(data)
    if entry.path != allowed.entry:
        raise EntryMismatchError(
            "the entry says that it stands somewhere else",
            expected=str(allowed.entry),
            found=str(entry.path),
        )
    return entry


def check_approvals(path: EntryPath, approved_by: tuple[str, ...], threshold: int) -> None:
    """Link 4: enough different approvers signed over this entry.

    Args:
        approved_by: names behind distinct keys whose signatures were verified.

    Raises:
        NotApprovedError: too few.
    """
    if threshold < 1 or len(set(approved_by)) < threshold:
        raise NotApprovedError(
            f"{path} is not approved by enough people",
            expected=f"{threshold} valid approvals",
            found=f"{len(set(approved_by))}: {', '.join(approved_by) or 'none'}",
        )


def check_not_expired(entry: Entry, now: datetime) -> None:
    """Link 5: the approval still holds.

    Raises:
        EntryExpiredError: it does not.
    """
    if now >= entry.expires_at:
        raise EntryExpiredError(
            f"the approval of {entry.path.server} has run out",
            expected=f"before {format_time(entry.expires_at)}",
            found=format_time(now),
        )


def check_bundle_bytes(entry: Entry, bundle: bytes) -> Sha256:
    """Link 6: the bundle is the one that was reviewed.

    Raises:
        BundleMismatchError: it is another.
    """
    found = sha256(bundle)
    if found != entry.bundle_sha256 or len(bundle) != entry.bundle_size:
        raise BundleMismatchError(
            "the bundle is not the one that the entry names",
            expected=f"{entry.bundle_sha256}, {entry.bundle_size} bytes",
            found=f"{found}, {len(bundle)} bytes",
        )
    return found


def check_release(entry: Entry, proof: Proof, payload: bytes) -> ReleaseStatement:
    """Link 8: what was signed is the release that the entry is about.

    Raises:
        ReleaseMismatchError: it is another release, server or version.
        UntrustedDataError: the payload is no valid release statement.
    """
    found = release_digest(payload)
    if not found == proof.release == entry.release:
        raise ReleaseMismatchError(
            "the signed statement is another release", expected=entry.release, found=found
        )
    statement = ReleaseStatement.parse(payload)
    about = f"{statement.server.name} {statement.server.version}"
    wanted = f"{entry.path.server} {entry.path.version}"
    if about != wanted:
        raise ReleaseMismatchError(
            "the signed statement is about another server or version", expected=wanted, found=about
        )
    return statement


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """What a start may do: permissions, tool rules, and the tools taken away."""

    permissions: Permissions
    tools: Mapping[str, ToolRule]
    deny_tools: tuple[str, ...]


def sandbox_permissions(
    statement: ReleaseStatement, entry: Entry, tighten: Tightening, ceiling: Permissions | None
) -> Profile:
    """Link 10: requested ∩ granted ∩ tightened ∩ ceiling, and it is enough to run.

    Raises:
        MissingPermissionError: the server says that it cannot do without something else.
    """
    effective = narrow(statement.permissions, entry.grant)
    for limit in (tighten.permissions, ceiling):
        if limit is not None:
            effective = narrow(effective, limit)
    lacking = missing(statement.permissions, effective)
    if lacking:
        raise MissingPermissionError(
            f"{entry.path.server} needs what it is not granted",
            expected="; ".join(lacking),
            found="not granted",
        )
    return Profile(permissions=effective, tools=entry.tools, deny_tools=tighten.deny_tools)
