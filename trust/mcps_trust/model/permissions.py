"""What a server may touch: asked for by the publisher, allowed by a grant.

Only what is written down exists. Privileged mode, host namespaces, engine sockets and
the host's root have no spelling here, so nobody can grant them by mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self, TypeVar

from mcps_trust.model.fields import Fields

__all__ = [
    "SECCOMP_TIERS",
    "EnvironmentVariable",
    "Mount",
    "Permissions",
    "Resources",
    "SeccompTier",
    "Secret",
]

T = TypeVar("T")
SeccompTier = Literal["strict", "default", "network"]
SECCOMP_TIERS: tuple[SeccompTier, ...] = ("strict", "default", "network")
"""From the tightest to the widest."""

_EGRESS = re.compile(
    r"(?=.{4,259}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]"
    r":(?:[1-9][0-9]{0,4})"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_TARGET = re.compile(r"/[A-Za-z0-9._/-]{1,200}")

# Variables that change what program runs or which code it loads.
_NEVER = re.compile(r"(LD_|PYTHON|NODE_|BASH_|DYLD_).*|PATH|HOME|IFS|ENV|SHELL|TMPDIR|USER")
_NOT_MOUNTABLE = ("/proc", "/sys", "/dev", "/usr", "/etc", "/app", "/run", "/lib", "/bin")


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """A place of the host's that the user chooses, seen inside at `target`."""

    name: str
    mode: Literal["ro", "rw"]
    target: str

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read it; raises `FieldError`."""
        mount = cls(
            name=fields.text("name", pattern=_LABEL),
            mode=fields.choice("mode", ("ro", "rw")),
            target=fields.text("target", pattern=_TARGET),
        )
        parts = mount.target.split("/")[1:]
        taken = any(mount.target == p or mount.target.startswith(p + "/") for p in _NOT_MOUNTABLE)
        if taken or any(part in ("", ".", "..") for part in parts):
            raise fields.error("target", "a plain path outside the system's folders", mount.target)
        fields.done()
        return mount

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {"name": self.name, "mode": self.mode, "target": self.target}


@dataclass(frozen=True, kw_only=True, slots=True)
class Secret:
    """A secret that the server asks for by name."""

    name: str
    required: bool
    description: str

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read it; raises `FieldError`."""
        secret = cls(
            name=_variable(fields),
            required=fields.boolean("required"),
            description=fields.text("description", longest=500),
        )
        fields.done()
        return secret

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {"name": self.name, "required": self.required, "description": self.description}


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentVariable:
    """A variable that the server reads, with a value or to be taken from the host."""

    name: str
    value: str | None = None
    required: bool = False

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read it; raises `FieldError`."""
        variable = cls(
            name=_variable(fields),
            value=fields.optional("value", fields.text),
            required=fields.optional("required", fields.boolean) or False,
        )
        if variable.value is not None and "\0" in variable.value:
            raise fields.error("value", "a text without NUL", variable.value)
        fields.done()
        return variable

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        value = {} if self.value is None else {"value": self.value}
        return {"name": self.name, **value, "required": self.required}


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """Upper limits: memory in bytes, processes and threads, processors."""

    memory: int = 512 * 1024 * 1024
    pids: int = 128
    cpus: float = 1.0

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read it; raises `FieldError`."""
        resources = cls(
            memory=fields.integer("memory", least=16 * 1024 * 1024, most=64 * 1024**3),
            pids=fields.integer("pids", least=4, most=4096),
            cpus=float(fields.number("cpus", least=0.05, most=64)),
        )
        fields.done()
        return resources

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {"memory": self.memory, "pids": self.pids, "cpus": self.cpus}


@dataclass(frozen=True, kw_only=True, slots=True)
class Permissions:
    """Everything that a server may touch. The empty value allows nothing."""

    egress: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    secrets: tuple[Secret, ...] = ()
    environment: tuple[EnvironmentVariable, ...] = ()
    resources: Resources = Resources()
    seccomp: SeccompTier = "strict"

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read permissions.

        Raises:
            FieldError: a field is missing, unknown, or asks for what has no spelling.
        """
        permissions = cls(
            egress=tuple(sorted(fields.texts("egress", pattern=_EGRESS))),
            mounts=_sorted(Mount.from_fields(item) for item in fields.objects("mounts")),
            secrets=_sorted(Secret.from_fields(item) for item in fields.objects("secrets")),
            environment=_sorted(
                EnvironmentVariable.from_fields(item) for item in fields.objects("environment")
            ),
            resources=Resources.from_fields(fields.object("resources")),
            seccomp=fields.choice("seccomp", SECCOMP_TIERS),
        )
        for key, names in (
            ("egress", permissions.egress),
            ("mounts", [mount.name for mount in permissions.mounts]),
            ("mounts", [mount.target for mount in permissions.mounts]),
            ("secrets", [secret.name for secret in permissions.secrets]),
            ("environment", [variable.name for variable in permissions.environment]),
        ):
            if len(set(names)) != len(names):
                raise fields.error(key, "each name once", list(names))
        if permissions.egress and permissions.seccomp != "network":
            raise fields.error(
                "seccomp", "network, because egress is not empty", permissions.seccomp
            )
        fields.done()
        return permissions

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "egress": list(self.egress),
            "mounts": [mount.to_dict() for mount in self.mounts],
            "secrets": [secret.to_dict() for secret in self.secrets],
            "environment": [variable.to_dict() for variable in self.environment],
            "resources": self.resources.to_dict(),
            "seccomp": self.seccomp,
        }


def _variable(fields: Fields) -> str:
    name = fields.text("name", pattern=_NAME)
    if _NEVER.fullmatch(name):
        raise fields.error("name", "a variable that does not steer what code runs", name)
    return name


def _sorted(items: Iterable[T]) -> tuple[T, ...]:
    return tuple(sorted(items, key=str))
