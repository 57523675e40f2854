"""A scope of the user's own systemd: a control group for a user who may make none.

On a desktop the user's manager owns a part of the hierarchy and puts a process into a group
with limits if it is asked to: ``StartTransientUnit`` of org.freedesktop.systemd1(5), over the
user's bus, by systemd's own `busctl`. The scope ends with its last process.
"""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import time
from pathlib import Path

from mcps_trust.model.permissions import Resources

__all__ = ["enter_scope", "has_manager"]

_BUSCTL = "/usr/bin/busctl"
_ANSWER_SECONDS = 3.0
_MOVE_SECONDS = 1.0
_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1",
            "org.freedesktop.systemd1.Manager")  # fmt: skip


def has_manager() -> bool:
    """Whether this user has a manager to ask; root, who can make groups, asks none."""
    uid = os.geteuid()
    if uid == 0:
        return False
    try:
        bus, tool = os.stat(_bus_folder() / "bus"), os.stat(_BUSCTL)
    except OSError:
        return False
    is_own = stat.S_ISSOCK(bus.st_mode) and bus.st_uid == uid
    return is_own and tool.st_uid == 0 and not tool.st_mode & 0o022


# Between fork and exec no coverage is written; tests/launcher/test_scope.py proves what it does.
def enter_scope(resources: Resources, session: str) -> bool:  # pragma: no cover
    """Have this process put into a scope with limits; gives whether it was.

    Whether the limits hold is another question: the manager applies those that were
    delegated to it, and says nothing of the others.
    """
    name = f"mcps-{session}.scope"
    properties = {
        "PIDs": ("au", "1", str(os.getpid())),
        "Description": ("s", "an MCP server, by mcps"),
        "CollectMode": ("s", "inactive-or-failed"),
        "MemoryMax": ("t", str(resources.memory)),
        "MemorySwapMax": ("t", "0"),
        "TasksMax": ("t", str(resources.pids)),
        "CPUQuotaPerSecUSec": ("t", str(int(resources.cpus * 1_000_000))),
    }
    words = [word for key, value in properties.items() for word in (key, *value)]
    command = [_BUSCTL, "--user", "--quiet", "call", *_MANAGER, "StartTransientUnit",
               "ssa(sv)a(sa(sv))", name, "fail", str(len(properties)), *words, "0"]  # fmt: skip
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(
            command, env={"XDG_RUNTIME_DIR": str(_bus_folder())}, cwd="/", check=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            timeout=_ANSWER_SECONDS,
        )  # fmt: skip
        return _is_moved(name)
    return False


def _is_moved(name: str) -> bool:  # pragma: no cover
    """Wait until the manager has done what it said it would."""
    deadline = time.monotonic() + _MOVE_SECONDS
    while time.monotonic() < deadline:
        if f"/{name}\n" in Path("/proc/self/cgroup").read_text("utf-8"):
            return True
        time.sleep(0.002)
    return False


def _bus_folder() -> Path:
    return Path("/run/user") / str(os.geteuid())
