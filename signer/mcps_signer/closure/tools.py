"""Running uv and npm, which resolve; explicit environment, output kept for the error."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from uv import find_uv_bin

from mcps_trust.errors import UnavailableError

__all__ = ["ResolverFailedError", "run_npm", "run_uv"]

_TIMEOUT = 600  # seconds
_NPM = "/usr/bin/npm"


class ResolverFailedError(UnavailableError):
    """uv or npm could not resolve, download or build."""

    code = "resolver-failed"
    advice = "the resolver's own words are above; check name, version and network"


def run_uv(arguments: Sequence[str], *, cwd: Path, extra: Mapping[str, str] | None = None) -> str:
    """Run uv; gives what it printed.

    Raises:
        ResolverFailedError: it failed.
    """
    return _run([find_uv_bin(), *arguments], cwd, extra or {})


def run_npm(arguments: Sequence[str], *, cwd: Path) -> str:
    """Run npm; gives what it printed.

    Raises:
        ResolverFailedError: it failed, or is not installed.
    """
    if not Path(_NPM).exists():
        raise ResolverFailedError(
            "npm is not installed", expected=_NPM, remedy="apt-get install npm"
        )
    return _run([_NPM, *arguments], cwd, {})


def _run(command: Sequence[str], cwd: Path, extra: Mapping[str, str]) -> str:
    home = pwd.getpwuid(os.geteuid()).pw_dir
    environment = {"HOME": home, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **extra}
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ResolverFailedError(
            f"{Path(command[0]).name} could not be run", found=str(error)
        ) from error
    if done.returncode != 0:
        raise ResolverFailedError(
            f"{Path(command[0]).name} failed",
            found=(done.stderr.strip() or done.stdout.strip())[-600:],
        )
    return done.stdout
