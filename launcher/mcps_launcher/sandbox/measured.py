"""The limits that hold for a running process, as the kernel keeps them, against a plan's.

What was asked for is not what holds: a controller may be missing, an engine may ignore an
option. So the values are read from the process's own control groups, or its resource limits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mcps_launcher.sandbox.process import SelfTestFailedError
from mcps_trust.model.permissions import Resources

__all__ = ["Limit", "Means", "hold", "measure"]

Means = Literal["cgroup-v2", "cgroup-v1", "rlimit"]

_CGROUPS = Path("/sys/fs/cgroup")
_NONE = 1 << 62  # bytes: version 1 has no word for "unlimited", but a very large number
_SLACK = 0.01  # processors


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """What one means limits; None for what it does not.

    Attributes:
        memory: bytes; for resource limits of each process.
        pids: processes.
        cpus: processors' worth of time.
    """

    means: Means
    memory: int | None = None
    pids: int | None = None
    cpus: float | None = None


def measure(pid: int) -> tuple[Limit, ...]:
    """All limits that hold for a process, the strongest means first.

    Raises:
        OSError: it is gone.
    """
    root = Path("/proc") / str(pid)
    groups: dict[str, str] = {}
    for line in (root / "cgroup").read_text("utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        groups |= dict.fromkeys(controllers.split(","), path)
    mounts = _mount_roots()
    found = []
    if "" in groups:
        found.append(_version_2(_place(_CGROUPS, groups[""], mounts)))
    if {"memory", "pids", "cpu"} <= groups.keys():
        found.append(_version_1({
            name: _place(_CGROUPS / name, groups[name], mounts)
            for name in ("memory", "pids", "cpu")
        }))  # fmt: skip
    limits = (root / "limits").read_text("ascii")
    found.append(Limit(means="rlimit", memory=_soft(limits, "Max data size"),
                       pids=_soft(limits, "Max processes")))  # fmt: skip
    return tuple(found)


def hold(resources: Resources, found: tuple[Limit, ...]) -> Limit:
    """The strongest limit that is no looser than planned.

    Raises:
        SelfTestFailedError: there is none.
    """
    for limit in found:
        memory = limit.memory is not None and limit.memory <= resources.memory
        pids = limit.pids is not None and limit.pids <= resources.pids
        cpus = limit.cpus is not None and limit.cpus <= resources.cpus + _SLACK
        if memory and pids and (cpus or limit.means == "rlimit"):
            return limit
    raise SelfTestFailedError(
        "the sandbox is not as planned: limits",
        expected=f"{resources.memory} bytes, {resources.pids} processes, {resources.cpus:g} CPU",
        found="; ".join(map(str, found)),
    )


def _version_2(group: Path) -> Limit:
    quota, _, period = _text(group / "cpu.max").partition(" ")
    return Limit(
        means="cgroup-v2",
        memory=_number(_text(group / "memory.max")),
        pids=_number(_text(group / "pids.max")),
        cpus=int(quota) / int(period) if quota.isdigit() and period.isdigit() else None,
    )


def _version_1(groups: dict[str, Path]) -> Limit:
    memory = _number(_text(groups["memory"] / "memory.limit_in_bytes"))
    quota = _text(groups["cpu"] / "cpu.cfs_quota_us")
    period = _text(groups["cpu"] / "cpu.cfs_period_us")
    return Limit(
        means="cgroup-v1",
        memory=None if memory is None or memory >= _NONE else memory,
        pids=_number(_text(groups["pids"] / "pids.max")),
        cpus=int(quota) / int(period) if quota.isdigit() and period.isdigit() else None,
    )


def _mount_roots() -> dict[str, str]:
    """Mount point to the folder of its file system that is mounted there."""
    lines = Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines()
    return {parts[4]: parts[3] for parts in (line.split(" ") for line in lines)}


def _place(point: Path, group: str, mounts: dict[str, str]) -> Path:
    """Where a group stands: in a container only a part of the hierarchy may be mounted."""
    root = mounts.get(str(point), "/").rstrip("/")
    inside = group.removeprefix(root) if group.startswith(f"{root}/") else group
    return point / inside.lstrip("/")


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except OSError:
        return ""


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _soft(limits: str, name: str) -> int | None:
    """A soft limit of ``/proc/PID/limits``."""
    match = re.search(rf"^{name} +(\d+)", limits, re.MULTILINE)
    return int(match[1]) if match else None
