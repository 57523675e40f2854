"""The attempts. Each returns "open" with what was reached, or "refused" with the reason."""

import ctypes
import os
import socket
import subprocess
import sys

CLONE_NEWUSER = 0x10000000


def attempt(action):
    """Run one attempt; an error is a refusal."""
    try:
        return {"state": "open", "detail": str(action())}
    except OSError as error:
        name = error.strerror or type(error).__name__
        return {"state": "refused", "detail": f"{type(error).__name__}: {name}"}


def connect(port):
    """Reach a service on this machine's loopback."""
    with socket.create_connection(("127.0.0.1", port), timeout=3):
        return f"connected to 127.0.0.1:{port}"


def raw_families():
    """Make a socket of a family that is not bound to the network namespace."""
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM):
        return "AF_VSOCK socket"


def read_file(path):
    """Read a file of the host's."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return f"read {len(file.read())} characters of {os.path.basename(path)}"


def write_beside(path):
    """Write into a folder of the host's."""
    target = os.path.join(os.path.dirname(path), "probe-was-here")
    with open(target, "w", encoding="utf-8") as file:
        file.write("x")
    os.unlink(target)
    return "wrote a file"


def other_processes():
    """See processes that are not the server's own."""
    others = [name for name in os.listdir("/proc") if name.isdigit()]
    if len(others) > 3:
        return f"{len(others)} processes visible"
    raise PermissionError(1, f"only {len(others)} visible")


def capabilities():
    """Hold capabilities, or be able to gain some."""
    with open("/proc/self/status", encoding="ascii") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    held = {key: status[key] for key in ("CapEff", "CapBnd") if int(status[key], 16)}
    if held or status["NoNewPrivs"] != "1":
        return f"{held or 'none held'}, NoNewPrivs {status['NoNewPrivs']}"
    raise PermissionError(1, "none, and no new privileges")


def run_from_tmp():
    """Write a program to /tmp and run it."""
    path = f"/tmp/probe-{os.getpid()}"
    with open(path, "w", encoding="ascii") as file:
        file.write("#!/bin/sh\nexit 0\n")
    os.chmod(path, 0o700)
    try:
        subprocess.run([path], check=True)
    finally:
        os.unlink(path)
    return "ran a program from /tmp"


def new_namespace():
    """Make a user namespace, the first step of many kernel exploits."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return "made a user namespace"


def secret_variables():
    """See variables of whoever started the launcher."""
    if "MCPS_DEMO_SECRET" in os.environ:
        return "MCPS_DEMO_SECRET is visible"
    raise PermissionError(1, f"only {', '.join(sorted(os.environ))}")


def report(port, path):
    """All attempts, by name."""
    sys.stdout.flush()
    return {
        "network": attempt(lambda: connect(port)),
        "raw sockets": attempt(raw_families),
        "host files": attempt(lambda: read_file(path)),
        "write to host": attempt(lambda: write_beside(path)),
        "processes": attempt(other_processes),
        "capabilities": attempt(capabilities),
        "programs in /tmp": attempt(run_from_tmp),
        "launcher's variables": attempt(secret_variables),
        "new namespaces": attempt(new_namespace),
    }
