"""How an installed package is started: its argv and strict plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mcps_launcher.install.bytecode import host_links, script, with_script
from mcps_launcher.install.runtime import Runtime, machine
from mcps_launcher.install.store import Installed
from mcps_launcher.install.tree import BadPackageError, check_path
from mcps_launcher.sandbox.plan import Plan
from mcps_launcher.sandbox.strict import APP, strict_plan
from mcps_trust.model import strict_json
from mcps_trust.model.permissions import Permissions
from mcps_trust.model.statement import ReleasePackage

__all__ = ["start_plan"]

_START = "start_python.py"


def start_plan(
    package: ReleasePackage,
    installed: Installed,
    runtime: Runtime,
    permissions: Permissions,
    environment: Mapping[str, str],
) -> Plan:
    """The plan that starts `package`.

    Raises:
        BadPackageError: the package has no such bin.
    """
    bytecode = installed.bytecode
    if runtime.name == "python":
        path, _ = script(_START)
        argv = [runtime.path, "-I", "-S", "-B", path, package.run.kind, package.run.target]
    else:
        argv = [runtime.path, _bin(package, installed)]
    plan = strict_plan(
        app=str(installed.tree), bytecode=None if bytecode is None else str(bytecode),
        argv=[*argv, *package.run.arguments], permissions=replace(permissions, secrets=()), environment=environment,
        machine=machine(), host_links=host_links(),
    )  # fmt: skip
    return with_script(plan, _START) if runtime.name == "python" else plan


def _bin(package: ReleasePackage, installed: Installed) -> str:
    """The file behind an npm ``bin`` name, in paths of the inside."""
    folder = f"node_modules/{package.identifier}"
    try:
        data = (installed.tree / folder / "package.json").read_bytes()
    except OSError as error:
        raise BadPackageError(f"{package.identifier} has no package.json") from error
    document = strict_json.loads(data.removeprefix(b"\xef\xbb\xbf"))
    bins = document.get("bin") if isinstance(document, dict) else None
    if isinstance(bins, str):
        bins = {package.identifier.rpartition("/")[2]: bins}
    target = bins.get(package.run.target) if isinstance(bins, dict) else None
    if not isinstance(target, str):
        raise BadPackageError(
            f"{package.identifier} has no bin {package.run.target!r}",
            found=repr(bins)[:200],
        )
    return f"{APP}/{folder}/{check_path(target.removeprefix('./'), package.identifier)}"
