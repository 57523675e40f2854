"""A sandboxed process, whatever back end runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from mcps_launcher.sandbox.plan import Plan
from mcps_trust.errors import ConfigurationError, UnavailableError

__all__ = ["BackEnd", "BackEndUnavailableError", "Process", "SandboxFailedError", "SelfTest",
           "SelfTestFailedError"]  # fmt: skip


class BackEndUnavailableError(ConfigurationError):
    """The sandbox back end cannot be used on this machine."""

    code = "back-end-unavailable"
    advice = "`mcps-launch doctor` says what is missing and how to get it"


class SandboxFailedError(UnavailableError):
    """The sandbox was not made, so nothing was started in it."""

    code = "sandbox-failed"


class SelfTestFailedError(ConfigurationError):
    """What the kernel reports of the sandbox is not what was planned; it was ended."""

    code = "self-test-failed"
    advice = "`mcps-launch doctor` shows what this machine can enforce"


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTest:
    """What was read back from the kernel about a running sandbox, for the audit."""

    facts: Mapping[str, str]

    @property
    def limits(self) -> str:
        """The means by which limits hold: ``cgroup-v2``, ``cgroup-v1`` or ``rlimit``."""
        return self.facts["limits"]


class Process(Protocol):
    """A server in its sandbox. All three descriptors are the launcher's ends."""

    stdin: int
    stdout: int
    stderr: int

    def started(self) -> None:
        """Wait until it runs.

        Raises:
            SandboxFailedError: it does not.
        """
        ...

    def self_test(self) -> SelfTest:
        """Read back what holds, and compare it with the plan.

        Raises:
            SelfTestFailedError: something is not as planned.
            SandboxFailedError: the process ended before it could be looked at.
        """
        ...

    def wait(self, timeout: float) -> int | None:
        """The exit code once it has ended, or None after `timeout` seconds."""
        ...

    def kill(self) -> None:
        """End everything in the sandbox now, and free what it held."""
        ...


class BackEnd(Protocol):
    """A way to run plans."""

    def describe(self) -> Mapping[str, str]:
        """What a decision is bound to: name, program, version, uid."""
        ...

    def spawn(self, plan: Plan, session: str) -> Process:
        """Start a plan.

        Raises:
            BackEndUnavailableError, SandboxFailedError: as their names say.
        """
        ...
