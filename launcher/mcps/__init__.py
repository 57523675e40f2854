"""The library face of mcps: verify a server, or launch it.

Example::

    import mcps

    proof = mcps.verify("clock")
    print(proof["decision"]["signer"])
    with mcps.launch("clock") as server:  # a subprocess.Popen speaking MCP on its pipes
        ...
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["RefusedError", "launch", "verify"]


class RefusedError(Exception):
    """The server may not be started; ``error`` holds code, what, expected, found, remedy."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error.get('what')} [{error.get('code')}]")
        self.error = error


def verify(name: str, *, home: Path | None = None) -> dict[str, Any]:
    """Verify the whole chain for an alias; gives the decision and every link.

    Raises:
        RefusedError: some link does not hold.
    """
    done = subprocess.run(
        [*_command(home), "verify", name, "--json"], capture_output=True, check=False
    )
    if done.returncode != 0:
        raise RefusedError(json.loads(done.stderr.splitlines()[-1])["error"])
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def launch(name: str, *, home: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a verified, sandboxed, guarded server; speak MCP on its stdin and stdout."""
    return subprocess.Popen(
        [*_command(home), "run", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def _command(home: Path | None) -> list[str]:
    chosen = [] if home is None else ["--home", str(home)]
    return [sys.executable, "-I", "-m", "mcps_launcher.cli", *chosen]
