"""Run all tests: start what they need, and count what was left out as a failure where it must run."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOCKET = Path("/var/run/docker.sock")
ENGINE = "/usr/sbin/dockerd"


def main() -> int:
    """Run pytest; gives its exit code."""
    left_out = []
    engine = None
    if not Path("/usr/bin/bwrap").exists():
        left_out.append("bwrap")
    if not (ROOT / ".tools" / "interop" / ".made-from").exists():
        left_out.append("node")
    if os.geteuid() != 0 or not Path("/usr/lib/systemd/user/dbus.service").exists():
        left_out.append("systemd")
    if not answers():
        engine = start_engine()
        if engine is None:
            left_out.append("docker")
    marks = " and ".join(f"not {name}" for name in left_out)
    words = [word for word in sys.argv[1:] if word != "--coverage"]
    measured = ["coverage", "run", "-m"] if "--coverage" in sys.argv else []
    command = [sys.executable, "-I", "-m", *measured, "pytest", *(["-m", marks] if marks else []),
               *words]  # fmt: skip
    print(f"running {' '.join(command[3:])}", flush=True)
    try:
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
    finally:
        if engine is not None:
            engine.terminate()
            engine.wait(30)
    for name in left_out:
        print(f"LEFT OUT: tests that need {name}, which is not on this machine")
    if left_out and os.environ.get("CI"):
        print("nothing may be left out here")
        return code or 1
    return code


def answers() -> bool:
    """Whether an engine listens; a socket file may outlive the engine that made it."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(SOCKET))
    except OSError:
        return False
    return True


def start_engine() -> subprocess.Popen[bytes] | None:
    """Start a Docker engine where root can and none runs."""
    if os.geteuid() != 0 or not Path(ENGINE).exists() or shutil.which("iptables") is None:
        return None
    Path("/var/run/docker.pid").unlink(missing_ok=True)  # of an engine that was killed
    with (ROOT / ".tools" / "dockerd.log").open("wb") as log:
        engine = subprocess.Popen([ENGINE], stdout=log, stderr=log)
    for _ in range(300):
        if answers():
            return engine
        if engine.poll() is not None:
            return None
        time.sleep(0.1)
    engine.terminate()
    return None


if __name__ == "__main__":
    sys.exit(main())
