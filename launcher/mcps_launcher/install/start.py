"""How an installed package is started: its argv, in paths of the inside."""

from __future__ import annotations

from mcps_launcher.install.entry_point import find_function
from mcps_launcher.install.inside import START_PYTHON, script
from mcps_launcher.install.installed import Installed
from mcps_launcher.install.runtime import Runtime
from mcps_launcher.install.tree import BadPackageError, check_path
from mcps_launcher.sandbox.strict import APP
from mcps_trust.model import strict_json
from mcps_trust.model.statement import ReleasePackage

__all__ = ["start_argv"]


def start_argv(package: ReleasePackage, installed: Installed, runtime: Runtime) -> tuple[str, ...]:
    """What is run to start `package`.

    Raises:
        BadPackageError: the package has no such script or bin.
    """
    run = package.run
    if runtime.name == "python":
        start = (runtime.path, "-I", "-S", "-B", script(START_PYTHON).target)
        if run.kind == "module":
            return *start, "module", run.target, *run.arguments
        function = find_function(installed.tree, package.identifier, run.target)
        return *start, function, run.target, *run.arguments
    return runtime.path, _bin(package, installed), *run.arguments


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
