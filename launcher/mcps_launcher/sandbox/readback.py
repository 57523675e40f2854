"""What the kernel says about a sandboxed process, and whether that is what was planned.

Reading is apart from judging: `judge` is pure and takes what `/proc` said as text.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mcps_launcher.sandbox.measured import Limit, hold, measure
from mcps_launcher.sandbox.plan import INNER_UID, Plan, Tmpfs
from mcps_launcher.sandbox.process import SelfTestFailedError

__all__ = ["Observed", "judge", "observe"]

_SECCOMP_FILTER = "2"
_AS_PLANNED = "as planned"
# Set by bubblewrap and by container engines: the directory and the name that the plan has.
_ADDED_VARIABLES = frozenset({"PWD", "HOSTNAME"})
_EXEC_TIMEOUT = 1.0  # seconds
_NO_CAPABILITIES = "0000000000000000"
# File systems of the kernel's own, and what the engines mount for every container.
_WRITABLE_ANYWAY = frozenset({"/proc", "/dev/pts"})
# Beside the plan's: what bubblewrap and container engines mount for every sandbox.
_OWN_MOUNTS = frozenset({"/", "/proc", "/dev", "/sys", "/usr/local",
                         "/etc/hosts", "/etc/hostname", "/etc/resolv.conf",
                         "/sbin/docker-init"})  # fmt: skip
# The kernel's own, and what the host itself has mounted below /usr, which servers see anyway.
_BELOW = ("/proc/", "/dev/", "/sys/", "/usr/")
_DEVICES = frozenset(f"/dev/{n}" for n in ("full", "null", "random", "tty", "urandom", "zero"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """Texts of ``/proc/PID``: status, mountinfo, net/dev, the user map, the environment.

    Attributes:
        environment: None where this process may not read it, as an engine's user may not.
        limits: see `measure`.
    """

    status: Mapping[str, str]
    mounts: tuple[tuple[str, str], ...]
    interfaces: tuple[str, ...]
    uid_map: str
    environment: Mapping[str, str] | None
    limits: tuple[Limit, ...]


def observe(pid: int) -> Observed:
    """Read a process's ``/proc``.

    Raises:
        OSError: it is gone.
    """
    root = Path("/proc") / str(pid)
    status = dict(
        line.split(":", 1) for line in (root / "status").read_text("utf-8", "replace").splitlines()
    )
    mounts = []
    for line in (root / "mountinfo").read_text("utf-8", "replace").splitlines():
        parts = line.split(" ")
        mounts.append((parts[4], parts[5]))
    devices = (root / "net" / "dev").read_text("ascii").splitlines()[2:]
    return Observed(
        status={key: value.strip() for key, value in status.items()},
        mounts=tuple(mounts),
        interfaces=tuple(line.partition(":")[0].strip() for line in devices),
        uid_map=" ".join((root / "uid_map").read_text("ascii").split()),
        environment=_environment(root / "environ"),
        limits=measure(pid),
    )


def _environment(path: Path) -> dict[str, str] | None:
    deadline = time.monotonic() + _EXEC_TIMEOUT
    try:
        # In the middle of an exec the kernel shows the new program, and no environment yet.
        while not (data := path.read_bytes()) and time.monotonic() < deadline:
            time.sleep(0.0005)
    except PermissionError:
        return None
    variables = (os.fsdecode(pair).partition("=") for pair in data.split(b"\0") if pair)
    return {name: value for name, _, value in variables}


def judge(
    plan: Plan, seen: Observed, *, user_namespace: bool, engine_mounts: frozenset[str] = frozenset()
) -> dict[str, str]:
    """The facts, if they are as planned.

    Args:
        user_namespace: whether the back end makes one, in which users must be mapped.
        engine_mounts: what the engine mounts writable for itself; never the user's to write.

    Raises:
        SelfTestFailedError: one is not; says which.
    """
    capabilities = {
        name: seen.status.get(name, "?")
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    }
    facts = {
        "capabilities": "none"
        if set(capabilities.values()) == {_NO_CAPABILITIES}
        else str(capabilities),
        "noNewPrivileges": seen.status.get("NoNewPrivs", "?"),
        "seccomp": seen.status.get("Seccomp", "?"),
        "interfaces": " ".join(sorted(seen.interfaces)) or "none",
        "uid": seen.status.get("Uid", "?").split("\t")[0],
        "writable": " ".join(sorted(_writable(plan, seen, engine_mounts))) or "none",
        "otherMounts": " ".join(sorted(_foreign(plan, seen))) or "none",
        "environment": _compared(plan, seen.environment),
    }
    expected = {
        "capabilities": "none",
        "noNewPrivileges": "1",
        "seccomp": _SECCOMP_FILTER,
        "interfaces": "lo",
        "otherMounts": "none",
        "environment": _AS_PLANNED,
        "writable": " ".join(
            sorted(op.target for op in plan.operations if isinstance(op, Tmpfs))
        ) or "none",
    }  # fmt: skip
    if facts["environment"].startswith(_AS_PLANNED):
        expected["environment"] = facts["environment"]
    for name, value in expected.items():
        if facts[name] != value:
            raise SelfTestFailedError(
                f"the sandbox is not as planned: {name}", expected=value, found=facts[name]
            )
    mapped_to_root = user_namespace and seen.uid_map.split()[1:2] in ([], ["0"])
    if facts["uid"] == "0" or mapped_to_root:
        raise SelfTestFailedError("the sandbox runs as the host's root", found=seen.uid_map)
    limit = hold(plan.resources, seen.limits)
    return {**facts, "uidInside": str(INNER_UID), "limits": limit.means,
            "memory": str(limit.memory), "processes": str(limit.pids),
            "processors": "not limited" if limit.cpus is None else f"{limit.cpus:g}"}  # fmt: skip


def _compared(plan: Plan, environment: Mapping[str, str] | None) -> str:
    """How the environment differs from the plan's, by names; values are nobody's to read."""
    if environment is None:
        return _AS_PLANNED + ", not read back"
    wanted = dict(plan.environment)
    seen = {name: value for name, value in environment.items() if name not in _ADDED_VARIABLES}
    seen |= {
        name: environment[name] for name in _ADDED_VARIABLES & wanted.keys() & environment.keys()
    }
    if not wanted.keys() & seen.keys():
        # The pages belong to the server, and some programs write their title there.
        return _AS_PLANNED + ", then overwritten by the server"
    wrong = {name for name in seen.keys() | wanted.keys() if seen.get(name) != wanted.get(name)}
    return " ".join(sorted(wrong)) or _AS_PLANNED


def _foreign(plan: Plan, seen: Observed) -> list[str]:
    """Mounts that are neither the plan's nor the kernel's or the engine's own for any container."""
    own = {op.target for op in plan.operations} | _OWN_MOUNTS
    return [
        target for target, _ in seen.mounts
        if target not in own and not target.startswith(_BELOW)
    ]  # fmt: skip


def _writable(plan: Plan, seen: Observed, engine_mounts: frozenset[str]) -> list[str]:
    """Mounts that can be written; of these, the plan's own must not be executable."""
    own = {op.target for op in plan.operations if isinstance(op, Tmpfs)}
    result = []
    for target, options in seen.mounts:
        flags = options.split(",")
        known = target in _WRITABLE_ANYWAY or target in _DEVICES or target.startswith("/proc/")
        if "rw" not in flags or known or target in engine_mounts:
            continue
        if target in own and not {"noexec", "nosuid", "nodev"} <= set(flags):
            raise SelfTestFailedError(f"{target} can be executed from", found=options)
        result.append(target)
    return result
