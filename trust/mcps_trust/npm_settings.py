"""Which npm registry this machine is configured for, by npm's own files."""

from __future__ import annotations

import os
import pwd
import subprocess

from mcps_trust.errors import UnavailableError

__all__ = ["NpmUnavailableError", "configured_registry"]

_TIMEOUT = 60  # seconds


class NpmUnavailableError(UnavailableError):
    """npm is not there to say which registry to ask."""

    code = "npm-unavailable"
    advice = "install npm, or name a registry in the configuration: [index] npm = …"


def configured_registry() -> str:
    """The base URL of npm's registry; the environment has no say.

    Raises:
        NpmUnavailableError: npm cannot be asked.
    """
    home = pwd.getpwuid(os.geteuid()).pw_dir
    try:
        done = subprocess.run(
            ["/usr/bin/npm", "config", "get", "registry"],
            check=True, cwd="/", env={"HOME": home, "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, timeout=_TIMEOUT,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise NpmUnavailableError(
            "npm cannot say which registry to ask", found=str(error)
        ) from error
    return done.stdout.strip()
