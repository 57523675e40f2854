"""What an installed closure finds inside its sandbox: the host's `/usr`, scripts of ours."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mcps_launcher.install.installed import Installed
from mcps_launcher.sandbox.plan import Data, Plan
from mcps_launcher.sandbox.strict import strict_plan
from mcps_trust.model.permissions import Permissions

__all__ = ["START_PYTHON", "closure_plan", "host_links", "machine", "script"]

START_PYTHON = "start_python.py"
_SCRIPTS = "/mcps"


def closure_plan(
    argv: Sequence[str],
    runtime: str,
    installed: Installed,
    permissions: Permissions,
    environment: Mapping[str, str],
) -> Plan:
    """The plan that starts an installed closure.

    Args:
        argv: as `start_argv` gives it.
        runtime: ``python`` or ``node``.
        installed: the closure.
        permissions: what it gets.
        environment: granted variables.
    """
    bytecode = installed.bytecode
    return strict_plan(
        app=str(installed.tree), bytecode=None if bytecode is None else str(bytecode),
        argv=argv, permissions=replace(permissions, secrets=()), environment=environment,
        machine=machine(), host_links=host_links(),
        scripts=(script(START_PYTHON),) if runtime == "python" else (),
    )  # fmt: skip


def script(name: str) -> Data:
    """One of our scripts that run inside, and where it stands there."""
    text = Path(__file__).with_name(name).read_text("utf-8")
    return Data(f"{_SCRIPTS}/{name}", text)


def host_links() -> dict[str, str]:
    """Top-level links into ``/usr``, as this host has them."""
    return {
        f"/{name}": os.readlink(f"/{name}")
        for name in ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
        if os.path.islink(f"/{name}") and os.readlink(f"/{name}").lstrip("/").startswith("usr/")
    }


def machine() -> str:
    """The processor architecture, as ``uname -m`` gives it."""
    return os.uname().machine
