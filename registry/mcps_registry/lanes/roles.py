"""The roles of design §4 in their final form (pure): keys, paths, lifetimes.

``*`` never crosses ``/``. The catalogue's bins are succinct (TAP 15) below a parent that
is signed offline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from securesystemslib.signer import Key
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Role,
    Root,
    Snapshot,
    SuccinctRoles,
    Targets,
    Timestamp,
)

__all__ = [
    "BIN_PREFIX",
    "LIFETIMES",
    "delegator_of",
    "expiry",
    "initial_roles",
    "is_bin",
    "may_sign",
    "team_delegation",
    "team_role",
]

BIN_PREFIX = "bin"

LIFETIMES: Mapping[str, timedelta] = MappingProxyType(
    {
        "root": timedelta(days=365),
        "targets": timedelta(days=365),
        "revoked": timedelta(days=180),
        "reinstated": timedelta(days=365),
        "teams": timedelta(days=365),
        "team": timedelta(days=180),
        "catalog": timedelta(days=365),
        "bin": timedelta(days=365),
        "snapshot": timedelta(days=30),
        "timestamp": timedelta(days=7),
    }
)
"""Only the timestamp needs to be short: it bounds what a frozen registry can hide."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RoleKeys:
    """The public keys of a new repository."""

    root: Sequence[Key]
    root_threshold: int
    targets: Key
    revoked: Key
    reinstated: Sequence[Key]
    teams: Key
    catalog: Key
    bins: Key
    snapshot: Key
    timestamp: Key


def is_bin(role: str) -> bool:
    """Whether `role` is one of the catalogue's bins."""
    return role.startswith(f"{BIN_PREFIX}-")


def team_role(team: str) -> str:
    """The name of a team's role."""
    return f"team-{team}"


def delegator_of(role: str) -> str:
    """The role whose metadata says who signs `role`."""
    if role in ("root", "targets", "snapshot", "timestamp"):
        return "root"
    if is_bin(role):
        return "catalog"
    if role.startswith("team-"):
        return "teams"
    return "targets"


def may_sign(role: str, path: str) -> bool:
    """Whether `path` is one of the targets that `role`, which others sign, may name."""
    top = path.split("/", maxsplit=1)[0]
    if role == "targets":
        return top == "trust"
    if role.startswith("team-"):
        return path.startswith(f"teams/{role.removeprefix('team-')}/")
    return top == role and role in ("revoked", "reinstated")


def expiry(role: str, now: datetime) -> datetime:
    """When metadata of `role` that is signed now ends."""
    kind = "bin" if is_bin(role) else "team" if role.startswith("team-") else role
    return (now + LIFETIMES[kind]).replace(microsecond=0)


def team_delegation(team: str, key_ids: list[str], threshold: int) -> DelegatedRole:
    """What the role ``teams`` delegates to one team."""
    return DelegatedRole(
        team_role(team), key_ids, threshold, terminating=True, paths=[f"teams/{team}/*"]
    )


def initial_roles(
    keys: RoleKeys, bins: int, now: datetime
) -> dict[str, Root | Targets | Snapshot | Timestamp]:
    """Version 1 of every role but snapshot and timestamp, which publishing makes."""
    root = Root(version=1, expires=expiry("root", now), consistent_snapshot=True)
    for key in keys.root:
        root.add_key(key, "root")
    root.roles["root"].threshold = keys.root_threshold
    root.add_key(keys.targets, "targets")
    root.add_key(keys.snapshot, "snapshot")
    root.add_key(keys.timestamp, "timestamp")
    delegated = {
        "revoked": _role("revoked", [keys.revoked], 1, ["revoked/*"]),
        "reinstated": _role("reinstated", keys.reinstated, 2, ["reinstated/*"]),
        "teams": _role("teams", [keys.teams], 1, ["teams/*/*"]),
        "catalog": _role("catalog", [keys.catalog], 1, ["servers/*/*/*/*/*"]),
    }
    all_keys = [keys.revoked, *keys.reinstated, keys.teams, keys.catalog]
    targets = Targets(
        version=1,
        expires=expiry("targets", now),
        delegations=Delegations({key.keyid: key for key in all_keys}, roles=delegated),
    )
    succinct = SuccinctRoles([keys.bins.keyid], 1, bins.bit_length() - 1, BIN_PREFIX)
    catalog = Targets(
        version=1,
        expires=expiry("catalog", now),
        delegations=Delegations({keys.bins.keyid: keys.bins}, succinct_roles=succinct),
    )
    teams = Targets(version=1, expires=expiry("teams", now), delegations=Delegations({}, roles={}))
    return {
        "root": root,
        "targets": targets,
        "catalog": catalog,
        "teams": teams,
        "revoked": Targets(version=1, expires=expiry("revoked", now)),
        "reinstated": Targets(version=1, expires=expiry("reinstated", now)),
        **{name: Targets(version=1, expires=expiry(name, now)) for name in succinct.get_roles()},
    }


def _role(name: str, keys: Sequence[Key], threshold: int, paths: list[str]) -> DelegatedRole:
    return DelegatedRole(
        name, [key.keyid for key in keys], threshold, terminating=True, paths=paths
    )


__all__ += ["Role", "RoleKeys"]
