"""The strict plan for a closure on the host's own runtime (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mcps_launcher.sandbox.plan import INNER_UID, Bind, Data, Link, Operation, Plan, Tmpfs
from mcps_trust.model.permissions import Permissions

__all__ = ["APP", "BYTECODE", "strict_plan"]

APP = "/app"
"""Where the closure stands inside."""
BYTECODE = "/bytecode"
"""Where its compiled bytecode stands inside."""

_TMP_SIZE = 64 * 1024 * 1024  # bytes
_FIXED_ENVIRONMENT = {"LANG": "C.UTF-8", "TZ": "UTC", "HOME": "/tmp", "TMPDIR": "/tmp",
                      "PATH": "/usr/bin"}  # fmt: skip
_PASSWD = (
    "root:x:0:0:root:/:/usr/sbin/nologin\n"
    f"mcps:x:{INNER_UID}:{INNER_UID}:server:/tmp:/usr/sbin/nologin\n"
)
_GROUP = f"root:x:0:\nmcps:x:{INNER_UID}:\n"
_HOSTS = "127.0.0.1 localhost\n::1 localhost\n"


def strict_plan(
    *,
    app: str,
    bytecode: str | None,
    argv: Sequence[str],
    permissions: Permissions,
    environment: Mapping[str, str],
    machine: str,
    host_links: Mapping[str, str],
    scripts: Sequence[Data] = (),
) -> Plan:
    """The plan for one server.

    Args:
        app: the installed closure on the host.
        bytecode: its bytecode on the host, if there is any.
        argv: what to run, in paths of the inside.
        permissions: what it gets; egress, mounts and secrets must be empty by now.
        environment: granted variables.
        machine: ``uname -m``.
        host_links: top-level links such as ``/lib`` → ``usr/lib``, as the host has them.
        scripts: files of ours that it needs to start.

    Raises:
        ValueError: the permissions hold what this plan has no way to give.
    """
    if permissions.egress or permissions.mounts or permissions.secrets:
        msg = "the strict plan gives no egress, mounts or secrets"
        raise ValueError(msg)
    operations: list[Operation] = [
        Bind("/usr", "/usr"),
        *(Link(target, to) for target, to in sorted(host_links.items())),
        Bind("/etc/ld.so.cache", "/etc/ld.so.cache"),
        Data("/etc/passwd", _PASSWD),
        Data("/etc/group", _GROUP),
        Data("/etc/hosts", _HOSTS),
        Data("/etc/resolv.conf", ""),
        Bind(app, APP),
        *([Bind(bytecode, BYTECODE)] if bytecode is not None else []),
        Tmpfs("/tmp", _TMP_SIZE),
        *scripts,
    ]
    variables = {**_FIXED_ENVIRONMENT, **environment}
    return Plan(
        operations=tuple(operations),
        argv=tuple(argv),
        environment=tuple(sorted(variables.items())),
        directory="/tmp",
        resources=permissions.resources,
        seccomp=permissions.seccomp,
        machine=machine,
    )
