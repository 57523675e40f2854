"""Which package index this machine is configured for, by uv's own files.

uv by itself also takes what lies in the current folder and above it, which on a shared
machine may be anybody's. So the file is named, or none is read.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

__all__ = ["uv_configuration"]

_SYSTEM = Path("/etc/uv/uv.toml")


def uv_configuration() -> list[str]:
    """Options for uv: the user's own configuration file, else the machine's, else none."""
    user = Path(pwd.getpwuid(os.geteuid()).pw_dir) / ".config/uv/uv.toml"
    found = next((path for path in (user, _SYSTEM) if path.is_file()), None)
    return ["--no-config"] if found is None else ["--config-file", str(found)]
