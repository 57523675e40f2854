"""Limits on memory, processes and processor time, by the best means the machine has.

In this order: a scope of the user's systemd, a cgroup v2 that this process may make children
in, cgroup v1 hierarchies likewise (root), resource limits. The last are weaker: they count
memory per process, and know no processor share. The self-test says which of them holds.
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mcps_launcher.sandbox.measured import hold, measure
from mcps_launcher.sandbox.process import SelfTestFailedError
from mcps_launcher.sandbox.scope import enter_scope, has_manager
from mcps_trust.model.permissions import Resources

__all__ = ["Limits", "prepare_limits"]

CGROUP_ROOT = Path("/sys/fs/cgroup")
_PERIOD = 100_000  # microseconds
_OPEN_FILES = 1024
_PREFIX = "mcps-"


@dataclass(kw_only=True)
class Limits:
    """Limits that a process takes on by `enter`, between fork and exec.

    Attributes:
        means: ``scope``, ``cgroup-v2``, ``cgroup-v1`` or ``rlimit``.
        session: names the scope.
    """

    means: str
    resources: Resources
    session: str = ""
    groups: list[Path] = field(default_factory=list)

    # Between fork and exec no coverage is written; the sandbox's own tests prove what it does.
    def enter(self) -> None:  # pragma: no cover
        """Called in the child, as the user that made the groups.

        In version 1 the child's only thread moves itself by way of ``tasks``: that way alone
        the kernel takes no lock that waits for all processors (15 ms for three hierarchies).
        """
        if self.means == "scope":
            self._enter_scope()
        file = "cgroup.procs" if self.means == "cgroup-v2" else "tasks"
        for group in self.groups:
            (group / file).write_text("0", "ascii")
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
        if self.means == "rlimit":
            memory = self.resources.memory
            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))

    def _enter_scope(self) -> None:  # pragma: no cover
        """Ask for a scope; where it does not hold what it should, take resource limits too."""
        enter_scope(self.resources, self.session)
        try:
            hold(self.resources, measure(os.getpid()))
        except (SelfTestFailedError, OSError):
            self.means = "rlimit"

    def enter_as_user(self) -> None:  # pragma: no cover
        """Called in the child once it is the unprivileged user: counts by user."""
        if self.means == "rlimit":
            pids = self.resources.pids
            resource.setrlimit(resource.RLIMIT_NPROC, (pids, pids))

    def members(self) -> Iterator[int]:
        """Processes in the groups, by id."""
        for group in self.groups[:1]:
            with contextlib.suppress(OSError):
                yield from map(int, (group / "cgroup.procs").read_text("ascii").split())

    def remove(self) -> None:
        """Remove the groups, once their processes are gone."""
        for group in self.groups:
            for _ in range(50):
                try:
                    group.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.02)


def prepare_limits(resources: Resources, session: str) -> Limits:
    """Make what is needed to limit a session; never fails, but falls back."""
    if has_manager():
        return Limits(means="scope", resources=resources, session=session)
    for means, make in (("cgroup-v2", _make_v2), ("cgroup-v1", _make_v1)):
        groups: list[Path] = []
        try:
            make(resources, f"{_PREFIX}{session}", groups)
        except OSError:
            for group in groups:
                with contextlib.suppress(OSError):
                    group.rmdir()
            continue
        return Limits(means=means, resources=resources, groups=groups)
    return Limits(means="rlimit", resources=resources)


def remove_stale_groups(running: set[str]) -> None:
    """Remove empty groups of sessions that no longer run."""
    for parent in (CGROUP_ROOT, *(CGROUP_ROOT / name for name in ("memory", "pids", "cpu"))):
        for group in parent.glob(f"{_PREFIX}*"):
            if group.name.removeprefix(_PREFIX) not in running:
                with contextlib.suppress(OSError):
                    group.rmdir()


def _make_v2(resources: Resources, name: str, groups: list[Path]) -> None:
    lines = Path("/proc/self/cgroup").read_text("ascii").split("\n")
    relative = next((line.partition("::")[2] for line in lines if line.startswith("0::")), None)
    if relative is None:
        msg = "there is no hierarchy of version 2"
        raise OSError(msg)
    parent = CGROUP_ROOT / relative.lstrip("/")
    available = (parent / "cgroup.subtree_control").read_text("ascii").split()
    if not {"memory", "pids", "cpu"} <= set(available):
        msg = "the controllers are not delegated"
        raise OSError(msg)
    group = parent / name
    group.mkdir()
    groups.append(group)
    (group / "memory.max").write_text(str(resources.memory), "ascii")
    with contextlib.suppress(OSError):  # absent where there is no swap
        (group / "memory.swap.max").write_text("0", "ascii")
    (group / "pids.max").write_text(str(resources.pids), "ascii")
    (group / "cpu.max").write_text(f"{int(resources.cpus * _PERIOD)} {_PERIOD}", "ascii")


def _make_v1(resources: Resources, name: str, groups: list[Path]) -> None:
    settings = {
        "memory": {"memory.limit_in_bytes": str(resources.memory)},
        "pids": {"pids.max": str(resources.pids)},
        "cpu": {
            "cpu.cfs_period_us": str(_PERIOD),
            "cpu.cfs_quota_us": str(int(resources.cpus * _PERIOD)),
        },
    }
    for controller, values in settings.items():
        if not os.path.ismount(CGROUP_ROOT / controller):
            msg = "the hierarchy is not mounted"
            raise OSError(msg)
        group = CGROUP_ROOT / controller / name
        group.mkdir()
        groups.append(group)
        for file, value in values.items():
            (group / file).write_text(value, "ascii")
    with contextlib.suppress(OSError):  # absent where swap is not accounted
        memsw = CGROUP_ROOT / "memory" / name / "memory.memsw.limit_in_bytes"
        memsw.write_text(str(resources.memory), "ascii")
