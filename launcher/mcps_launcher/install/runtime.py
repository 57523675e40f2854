"""Runtimes: the host's own interpreters below ``/usr``, root's alone.

A runtime is not part of a closure; its path, version and digest go into the decision and
the audit. Which one runs a closure depends on what the publisher requires and what is here.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mcps_launcher.install.inside import machine
from mcps_launcher.install.installed import stat_identity
from mcps_trust.errors import ConfigurationError
from mcps_trust.model.digest import Sha256, sha256

if TYPE_CHECKING:
    from packaging.version import Version

    from mcps_trust.model.statement import ReleasePackage

__all__ = ["NoRuntimeError", "NothingRunnableError", "Runtime", "candidates", "choose_package",
           "find_runtime", "node_platform"]  # fmt: skip

_BIN = Path("/usr/bin")
_PYTHON = re.compile(r"python3\.\d+")
_TIMEOUT = 20  # seconds


class NoRuntimeError(ConfigurationError):
    """No interpreter on this host is what the closure needs."""

    code = "no-runtime"


class NothingRunnableError(ConfigurationError):
    """No package of the release can be run here."""

    code = "nothing-runnable"


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """An interpreter: its name, path, version, digest and `stat` identity."""

    name: str
    path: str
    version: str
    sha256: Sha256
    identity: str

    def to_dict(self) -> dict[str, str]:
        """For decisions and audit."""
        return {"name": self.name, "path": self.path, "version": self.version,
                "sha256": self.sha256, "identity": self.identity}  # fmt: skip


def find_runtime(name: str, requirement: str) -> Runtime:
    """The newest interpreter that fits.

    Args:
        name: ``python`` or ``node``.
        requirement: PEP 440 specifier for its version.

    Raises:
        NoRuntimeError: there is none.
    """
    from packaging.specifiers import SpecifierSet  # costs 13 ms, and only new decisions need it

    wanted = SpecifierSet(requirement)
    found: list[tuple[Version, str]] = []
    for path in candidates(name):
        version = _version(path)
        if version is not None:
            found.append((version, path))
    fitting = [pair for pair in found if wanted.contains(pair[0])]
    if not fitting:
        package = "python3" if name == "python" else "nodejs"
        raise NoRuntimeError(
            f"no {name} on this host fits", expected=f"{name} {requirement} in {_BIN}",
            found=", ".join(f"{p} {v}" for v, p in found) or "none",
            remedy=f"install the package {package}, or a release locked for what is here",
        )  # fmt: skip
    version, path = max(fitting)
    return Runtime(
        name=name,
        path=path,
        version=str(version),
        sha256=sha256(Path(path).read_bytes()),
        identity=stat_identity(path),
    )


def choose_package(packages: Sequence[ReleasePackage]) -> tuple[int, Runtime]:
    """The first package, in the publisher's order, that this host can run: position and runtime.

    Raises:
        NoRuntimeError: no interpreter here fits any of them.
        NothingRunnableError: none is for this machine.
    """
    failure: NoRuntimeError | None = None
    for position, package in enumerate(packages):
        if package.platforms and f"linux/{machine()}" not in package.platforms:
            continue
        try:
            return position, find_runtime(package.runtime, package.runtime_requirement)
        except NoRuntimeError as error:
            failure = failure or error
    raise failure or NothingRunnableError(
        "the release has no package for this machine", expected=f"linux/{machine()}"
    )


def node_platform() -> Mapping[str, str]:
    """This host in npm's words."""
    import platform

    cpu = {"x86_64": "x64", "aarch64": "arm64"}.get(machine(), machine())
    libc = "glibc" if platform.libc_ver()[0] == "glibc" else "musl"
    return {"os": "linux", "cpu": cpu, "libc": libc}


def candidates(name: str) -> Iterator[str]:
    """Interpreters of that name below ``/usr/bin`` that are root's alone, by their real paths."""
    if name == "node":
        names = ["node", "nodejs"]
    else:
        names = sorted(entry for entry in os.listdir(_BIN) if _PYTHON.fullmatch(entry))
    seen = set()
    for entry in names:
        real = os.path.realpath(_BIN / entry)
        if real.startswith(f"{_BIN}/") and real not in seen and _is_roots(real):
            seen.add(real)
            yield real


def _is_roots(path: str) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    return status.st_uid == 0 and not status.st_mode & 0o022


def _version(path: str) -> Version | None:
    """What the interpreter says of itself, started with nothing of ours around it."""
    from packaging.version import InvalidVersion, Version

    try:
        done = subprocess.run(
            [path, "--version"],
            env={"LANG": "C.UTF-8"},
            cwd="/",
            check=True,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
        )
        return Version(done.stdout.strip().removeprefix("Python ").removeprefix("v"))
    except (OSError, subprocess.SubprocessError, InvalidVersion):
        return None
