"""From a submission and an approver's choices to the entry that gets signed (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from mcps_trust.errors import NotPermittedError, UsageError
from mcps_trust.model.digest import Sha256
from mcps_trust.model.entry import Artifacts, Entry
from mcps_trust.model.identity import PublisherIdentity
from mcps_trust.model.names import EntryPath
from mcps_trust.model.permissions import Permissions
from mcps_trust.model.statement import ReleaseStatement
from mcps_trust.model.vetting import Tier, ToolRule
from mcps_trust.policy.intersection import missing, narrow

__all__ = ["IncompleteReviewError", "UnindexedError", "draft_entry"]

LIFETIME = timedelta(days=180)


class IncompleteReviewError(UsageError):
    """The approver has not said all that an entry must say."""

    code = "incomplete-review"


class UnindexedError(NotPermittedError):
    """The lock names files that the package index does not know."""

    code = "unindexed-files"
    advice = "look at each of them; then name those that are meant: --allow-unindexed FILE"


def draft_entry(
    statement: ReleaseStatement,
    *,
    release: Sha256,
    bundle: tuple[Sha256, int],
    identity: PublisherIdentity,
    revision: int,
    artifacts: Artifacts,
    allow_unindexed: frozenset[str],
    grant: Permissions,
    tools: Mapping[str, ToolRule],
    withheld: frozenset[str],
    tier: Tier,
    notes: str,
    now: datetime,
) -> Entry:
    """The entry, without approvals.

    Raises:
        UnindexedError: a file is not on the index and was not named in `allow_unindexed`.
        IncompleteReviewError: a tool has no class, or a class is for no tool.
    """
    surprising = [
        item for item in artifacts.unmatched if item.rpartition(" ")[2] not in allow_unindexed
    ]
    if surprising:
        raise UnindexedError(
            "the lock names files that the index does not know with this hash",
            found="; ".join(surprising[:10]),
        )
    offered = set(statement.tools.tool_names())
    unknown = sorted((tools.keys() | withheld) - offered)
    if unknown:
        raise IncompleteReviewError(
            "there are no such tools", found=", ".join(unknown), expected=", ".join(sorted(offered))
        )
    unclassified = sorted(offered - tools.keys() - withheld)
    if unclassified:
        raise IncompleteReviewError(
            "every tool needs a class",
            found="no class for " + ", ".join(unclassified),
            remedy="give --withhold NAME, or --tool NAME=read|write|destructive|payment[:none|user|two-person] "
            "for each, or --profile index.json",
        )
    effective = narrow(statement.permissions, grant)
    lacking = missing(statement.permissions, effective)
    note = f"{notes}\nnot granted: {'; '.join(lacking)}".strip() if lacking else notes
    return Entry(
        path=EntryPath(statement.server.name, statement.server.version, revision),
        release=release,
        bundle_sha256=bundle[0],
        bundle_size=bundle[1],
        identity=identity,
        artifacts=artifacts,
        grant=effective,
        tools=dict(tools),
        tier=tier,
        # To the day, so that approvers who choose the same on one day sign the same entry.
        expires_at=(now + LIFETIME).replace(hour=0, minute=0, second=0, microsecond=0),
        notes=note,
    )
