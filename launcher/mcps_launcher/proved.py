"""What proving the chain reads and establishes, and the errors of its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mcps_launcher.install.runtime import Runtime
from mcps_launcher.warm import OFFLINE_TIERS
from mcps_trust.errors import ConfigurationError, NotPermittedError, UnavailableError
from mcps_trust.model.allow_list import Allowed, AllowList
from mcps_trust.model.approval import Approvers
from mcps_trust.model.closure import Closure
from mcps_trust.model.decision import MetadataState
from mcps_trust.model.digest import Sha256
from mcps_trust.model.entry import Entry
from mcps_trust.model.permissions import Permissions
from mcps_trust.model.proof import Proof
from mcps_trust.model.revocation import Reinstatements, Revocations
from mcps_trust.model.statement import ReleaseStatement
from mcps_trust.model.vetting import Tier
from mcps_trust.policy.chain import Profile

__all__ = [
    "Chain",
    "DevelopmentRegistryError",
    "Link",
    "NotCachedError",
    "OfflineTooLongError",
    "PlatformNotAllowedError",
    "Targets",
    "TeamUnknownError",
    "UnsupportedPermissionError",
    "check_offline",
    "check_platform",
    "refuse_unsupported",
]


class OfflineTooLongError(UnavailableError):
    """The registry cannot be reached, and its last word is too old for this tier."""

    code = "offline-too-long"
    advice = "connect this machine to the registry"


class TeamUnknownError(NotPermittedError):
    """The registry knows no such team."""

    code = "team-unknown"
    advice = "check the team's name: mcps-launch enroll … --team TEAM"


class DevelopmentRegistryError(NotPermittedError):
    """The signer's authority gives identities to anybody."""

    code = "development-registry"
    advice = "only for trying things out: mcps-launch enroll … --development"


class NotCachedError(UnavailableError):
    """The registry cannot be reached, and what is needed was never fetched."""

    code = "not-cached"
    advice = "connect this machine, or run `mcps-launch prefetch` while it is connected"


class UnsupportedPermissionError(ConfigurationError):
    """The server was granted what this release has no means to give."""

    code = "unsupported-permission"
    advice = "use another server, or wait for a release that can"


class PlatformNotAllowedError(NotPermittedError):
    """The team's allow-list is for other platforms."""

    code = "platform-not-allowed"


@dataclass(frozen=True, slots=True)
class Link:
    """One link that holds, and what was proved by it."""

    name: str
    proved: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Targets:
    """What was read from the registry in one verified state."""

    state: MetadataState
    allow_list: AllowList
    allow_list_sha256: Sha256
    allowed: Allowed
    entry: Entry
    approvers: Approvers
    approvers_sha256: Sha256
    revocations: Revocations
    reinstated: Reinstatements
    reinstated_sha256: Sha256
    trusted_root: bytes
    offline: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """Everything up to, but without, an installed closure."""

    targets: Targets
    proof: Proof
    payload: bytes
    statement: ReleaseStatement
    approved_by: tuple[str, ...]
    profile: Profile
    package: int
    runtime: Runtime
    closure: Closure
    links: tuple[Link, ...]


def check_offline(issued: datetime, tier: Tier, now: datetime) -> None:
    """Let pass metadata from the cache that is no older than a tier bears.

    Raises:
        OfflineTooLongError: it is.
    """
    age, limit = now - issued, OFFLINE_TIERS[tier]
    if age > limit:
        raise OfflineTooLongError(
            "the registry cannot be reached for too long",
            expected=f"at most {limit} (tier {tier})",
            found=str(age),
        )


def check_platform(allow_list: AllowList, platform: str) -> None:
    """Let pass an allow-list that is for this platform, and without rules that nobody here reads.

    Raises:
        PlatformNotAllowedError: it is for others.
        UnsupportedPermissionError: it has a policy.
    """
    if allow_list.policy:
        raise UnsupportedPermissionError(
            "this version of mcps cannot judge by the policy of the team's allow-list"
        )
    if allow_list.platforms and platform not in allow_list.platforms:
        raise PlatformNotAllowedError(
            f"team {allow_list.team} may start nothing on this platform",
            expected=", ".join(allow_list.platforms),
            found=platform,
        )


def refuse_unsupported(permissions: Permissions) -> None:
    """Let pass what this release can give: no network, mounts or required secrets.

    Raises:
        UnsupportedPermissionError: the server was granted more.
    """
    wanted = [
        *(f"egress {name}" for name in permissions.egress),
        *(f"mount {mount.target}" for mount in permissions.mounts),
        *(f"secret {secret.name}" for secret in permissions.secrets if secret.required),
    ]
    if wanted:
        raise UnsupportedPermissionError(
            "this version of mcps cannot give what the server needs",
            expected="; ".join(wanted),
            found="not supported yet",
        )
