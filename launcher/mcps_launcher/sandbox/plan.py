"""The sandbox plan: what a server will see and be able to do, as a list (pure).

A plan says nothing about how: `bwrap` and `docker` translate the same one. It can be
printed, compared and digested; the launch decision is bound to its digest. The strict
shape is the only one that can be expressed: read-only root, no network, no capability.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mcps_trust.model import strict_json
from mcps_trust.model.digest import Sha256, sha256
from mcps_trust.model.permissions import Resources, SeccompTier

__all__ = ["Bind", "Data", "Link", "Operation", "Plan", "Tmpfs"]

INNER_UID = 65532
"""The unprivileged user and group inside (the number that distroless images use)."""


@dataclass(frozen=True, slots=True)
class Bind:
    """Show a folder or file of the host, read-only."""

    source: str
    target: str

    def describe(self) -> str:
        """One line for people."""
        return f"read-only {self.target} ← {self.source}"


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """Memory that can be written and not executed, of at most `size` bytes."""

    target: str
    size: int

    def describe(self) -> str:
        """One line for people."""
        return f"writable {self.target}, {self.size // 2**20} MiB of memory, not executable"


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: str
    to: str

    def describe(self) -> str:
        """One line for people."""
        return f"link {self.target} → {self.to}"


@dataclass(frozen=True, slots=True)
class Data:
    """A small read-only file with this content."""

    target: str
    content: str

    def describe(self) -> str:
        """One line for people."""
        return f"file {self.target}, {len(self.content)} bytes"


Operation = Bind | Tmpfs | Link | Data


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One sandbox.

    Attributes:
        operations: the file system, in order.
        argv: what is run inside.
        environment: all variables that it gets, and no others.
        directory: where it starts.
        resources: upper limits.
        seccomp: tier of system calls.
        machine: processor architecture that the filter is for.
    """

    operations: tuple[Operation, ...]
    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    directory: str
    resources: Resources
    seccomp: SeccompTier
    machine: str

    def describe(self) -> list[str]:
        """The plan in lines for people; values of variables are left out."""
        limits = self.resources
        return [
            *(operation.describe() for operation in self.operations),
            "read-only everything else; no network; no capabilities; no new privileges",
            f"system calls: {self.seccomp} tier, {self.machine} only",
            f"user {INNER_UID}, at most {limits.memory // 2**20} MiB, {limits.pids} processes, "
            f"{limits.cpus:g} of the processors",
            "variables: " + (", ".join(name for name, _ in self.environment) or "none"),
            f"runs {' '.join(self.argv)}",
        ]

    def digest(self, back_end: Mapping[str, str]) -> Sha256:
        """The digest of this plan on a back end of that description.

        Variables are left out: their names stand in the decision's permissions, and their
        values come from the environment of each start.
        """
        document: dict[str, Any] = {
            "operations": [[type(op).__name__, *_values(op)] for op in self.operations],
            "argv": list(self.argv),
            "directory": self.directory,
            "resources": self.resources.to_dict(),
            "seccomp": self.seccomp,
            "machine": self.machine,
            "backEnd": dict(back_end),
        }
        return sha256(strict_json.dumps(document))


def _values(operation: Operation) -> Sequence[object]:
    return [getattr(operation, name) for name in operation.__slots__]
