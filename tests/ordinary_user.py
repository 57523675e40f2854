"""An ordinary user: a copy of this environment that any user can read, and a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from worlds import remove

__all__ = ["DROP", "UID", "home", "installation"]

UID = 65534
DROP = ["/usr/bin/setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
"""Begins a command line of root's that is to run as the user."""


@pytest.fixture(scope="session")
def installation() -> Iterator[Path]:
    """A copy of this environment that any user can read; gives its Python."""
    if os.geteuid() != 0:
        yield Path(sys.executable)
        return
    folder = Path(tempfile.mkdtemp(prefix="mcps-user-"))
    folder.chmod(0o755)
    shutil.copytree(sys.prefix, folder / "venv", symlinks=True)
    packages = folder / "venv" / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    for pth in packages.glob("*.pth"):
        pth.unlink()
    import mcps_launcher
    import mcps_trust

    for module in (mcps_trust, mcps_launcher):
        source = Path(str(module.__file__)).parent
        target = packages / source.name
        if not target.exists():
            shutil.copytree(source, target)
    subprocess.run(["/bin/chmod", "-R", "a+rX", str(folder)], check=True)
    yield folder / "venv" / "bin" / "python"
    remove(folder)


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that belongs to the user."""
    folder = Path(tempfile.mkdtemp(prefix="mcps-home-"))
    os.chown(folder, UID if os.geteuid() == 0 else os.geteuid(), -1)
    folder.chmod(0o700)
    yield folder
    remove(folder)
