"""requested ∩ granted ∩ ceiling: what a server gets is never more than each of them.

``narrow(a, b)`` is ``within`` both a and b, and the order does not matter; the property
tests quote this.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import TypeVar

from mcps_trust.errors import NotPermittedError
from mcps_trust.model.permissions import (
    SECCOMP_TIERS,
    EnvironmentVariable,
    Mount,
    Permissions,
    Resources,
    Secret,
)

__all__ = ["MissingPermissionError", "missing", "narrow", "within"]

T = TypeVar("T")


class MissingPermissionError(NotPermittedError):
    """The server needs what it is not granted; it would start and then fail."""

    code = "missing-permission"
    advice = "ask for a revision of the entry that grants it, or use another server"


def narrow(left: Permissions, right: Permissions) -> Permissions:
    """What both allow."""
    seccomp = min(left.seccomp, right.seccomp, key=SECCOMP_TIERS.index)
    egress = set(left.egress) & set(right.egress)
    return Permissions(
        # Names that may be reached mean nothing where no socket can be made.
        egress=tuple(sorted(egress)) if seccomp == "network" else (),
        mounts=_pairs(left.mounts, right.mounts, _mount_key, _narrow_mount),
        secrets=_pairs(left.secrets, right.secrets, lambda item: item.name, _narrow_secret),
        environment=_pairs(
            left.environment, right.environment, lambda item: item.name, _narrow_variable
        ),
        resources=Resources(
            memory=min(left.resources.memory, right.resources.memory),
            pids=min(left.resources.pids, right.resources.pids),
            cpus=min(left.resources.cpus, right.resources.cpus),
        ),
        seccomp=seccomp,
    )


def within(inner: Permissions, outer: Permissions) -> bool:
    """Whether `inner` allows nothing that `outer` does not."""
    return narrow(_bare(inner), _bare(outer)) == _bare(inner)


def missing(requested: Permissions, effective: Permissions) -> tuple[str, ...]:
    """What a server said it cannot do without, and does not get.

    Required secrets, required variables, hosts and mounts: a server that lacks one of
    these fails in ways that nobody can read, so it is not started.
    """
    lacking = [f"egress {name}" for name in requested.egress if name not in effective.egress]
    granted = {_mount_key(mount): mount for mount in effective.mounts}
    for mount in requested.mounts:
        found = granted.get(_mount_key(mount))
        if found is None or (mount.mode == "rw" and found.mode == "ro"):
            lacking.append(f"mount {mount.name} ({mount.mode}) at {mount.target}")
    secrets = {secret.name for secret in effective.secrets}
    lacking += [
        f"secret {s.name}" for s in requested.secrets if s.required and s.name not in secrets
    ]
    variables = {variable.name for variable in effective.environment}
    lacking += [
        f"environment {v.name}"
        for v in requested.environment
        if v.required and v.name not in variables
    ]
    if SECCOMP_TIERS.index(requested.seccomp) > SECCOMP_TIERS.index(effective.seccomp):
        lacking.append(f"seccomp tier {requested.seccomp}")
    return tuple(lacking)


def _bare(permissions: Permissions) -> Permissions:
    """Only what is allowed, in one order, without the words around it."""
    bare = replace(
        permissions,
        secrets=tuple(replace(s, required=False, description="-") for s in permissions.secrets),
        environment=tuple(replace(v, required=False) for v in permissions.environment),
    )
    return narrow(bare, bare)


def _pairs(
    left: Sequence[T],
    right: Sequence[T],
    key: Callable[[T], Hashable],
    join: Callable[[T, T], T | None],
) -> tuple[T, ...]:
    others = {key(item): item for item in right}
    joined = (join(item, others[key(item)]) for item in left if key(item) in others)
    return tuple(sorted((item for item in joined if item is not None), key=str))


def _mount_key(mount: Mount) -> tuple[str, str]:
    return mount.name, mount.target


def _narrow_mount(left: Mount, right: Mount) -> Mount:
    return left if left.mode == "ro" else right


def _narrow_secret(left: Secret, right: Secret) -> Secret:
    # Whether it is needed, and why, is for people to read: take the lesser text for order.
    return Secret(
        name=left.name,
        required=left.required and right.required,
        description=min(left.description, right.description),
    )


def _narrow_variable(
    left: EnvironmentVariable, right: EnvironmentVariable
) -> EnvironmentVariable | None:
    """A side without a value allows any; two different values allow none."""
    if left.value is not None and right.value is not None and left.value != right.value:
        return None
    return EnvironmentVariable(
        name=left.name,
        value=left.value if left.value is not None else right.value,
        required=left.required and right.required,
    )
