"""Set up what a target of the Makefile needs, on a bare Debian. Standard library only.

    python3 tools/bootstrap.py demo|test

Makes `.venv` with the development set pinned by hash, and installs Debian packages that
are missing (as root; otherwise it prints the command and says what will be left out).
Everything is quick the second time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
TOOLS = ROOT / ".tools"
LOCK = ROOT / "tools" / "requirements.txt"
PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable

# Debian package -> the program that shows it is there, and why it is needed.
PACKAGES = {
    "demo": {
        "python3-venv": ("/usr/lib/python3*/ensurepip/__init__.py", "the virtual environment"),
        "bubblewrap": ("/usr/bin/bwrap", "the sandbox"),
        "nodejs": ("/usr/bin/node", "the runtime of servers from npm"),
        "npm": ("/usr/bin/npm", "locking servers from npm"),
    },
    "test": {
        "docker.io": ("/usr/sbin/dockerd", "the second sandbox back end"),
        "systemd": ("/usr/lib/systemd/systemd", "limits of an ordinary user's sessions"),
        "dbus-user-session": ("/usr/lib/systemd/user/dbus.service", "the way to ask it"),
    },
}


def main() -> int:
    """Set up; gives 0, or 1 if the environment could not be made."""
    purpose = sys.argv[1] if len(sys.argv) > 1 else "demo"
    wanted = dict(PACKAGES["demo"])
    if purpose == "test":
        wanted |= PACKAGES["test"]
    install_packages({name: why for name, (place, why) in wanted.items() if not there(place)})
    if purpose == "test":
        fetch_other_clients()
    return make_environment() or compile_rooms()


def fetch_other_clients() -> None:
    """sigstore-js and tuf-js, by the hashes of a lock, without install scripts."""
    source, target = ROOT / "tests" / "interop", TOOLS / "interop"
    lock = source / "package-lock.json"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    stamp = target / ".made-from"
    if stamp.exists() and stamp.read_text("ascii") == wanted:
        return
    if not Path("/usr/bin/npm").exists():
        return
    print("fetching sigstore-js and tuf-js for the tests")
    target.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(source / name, target / name)
    command = ["/usr/bin/npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    if subprocess.run(command, cwd=target, check=False).returncode == 0:
        stamp.write_text(wanted, "ascii")


def there(place: str) -> bool:
    """Whether a file is there; the place may hold wildcards."""
    path = Path(place)
    return path.exists() or any(Path("/").glob(place.lstrip("/")))


def install_packages(missing: dict[str, str]) -> None:
    """Install Debian packages, or say how to."""
    if not missing:
        return
    print("Debian packages that are missing:")
    for name, why in missing.items():
        print(f"  {name:<14} {why}")
    command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"Without root they are not installed. To install them:\n  sudo {' '.join(command)}")
        print("Going on; what needs them will be left out or refused, and will say so.")
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], env=environment, check=False)
    done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        print("apt-get failed; going on with what is there")


def make_environment() -> int:
    """The virtual environment, made anew whenever the pinned set or the project changes."""
    stamp = VENV / ".made-from"
    inputs = LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes()
    wanted = hashlib.sha256(inputs).hexdigest()
    if stamp.exists() and stamp.read_text("ascii") == wanted:
        return 0
    uv = find_uv()
    if uv is None:
        return 1
    print("making .venv with the pinned development set")
    steps = [
        [uv, "venv", "--quiet", "--clear", "--python", PYTHON, str(VENV)],
        [uv, "pip", "sync", "--quiet", "--system-certs", "--require-hashes", "--compile-bytecode",
         "--python", str(VENV / "bin" / "python"), str(LOCK)],
        [uv, "pip", "install", "--quiet", "--system-certs", "--no-deps", "--no-build-isolation",
         "--python", str(VENV / "bin" / "python"), "--editable", str(ROOT)],
    ]  # fmt: skip
    for step in steps:
        if subprocess.run(step, cwd=ROOT, check=False).returncode != 0:
            print("could not make the virtual environment; the error is above")
            return 1
    stamp.write_text(wanted, "ascii")
    return 0


def compile_rooms() -> int:
    """Bytecode for our own rooms, as any installation has it: each start of a command needs it."""
    rooms = [str(ROOT / room) for room in ("trust", "launcher", "signer", "registry")]
    command = [str(VENV / "bin" / "python"), "-I", "-m", "compileall", "-q", *rooms]
    subprocess.run(command, check=False)  # without it everything is slower, and nothing else
    return 0


def find_uv() -> str | None:
    """uv, from PyPI, in a small environment of its own."""
    place = TOOLS / "uv" / "bin" / "uv"
    if not place.exists():
        print("installing uv from PyPI")
        for step in (
            [PYTHON, "-m", "venv", str(TOOLS / "uv")],
            [str(TOOLS / "uv" / "bin" / "python"), "-m", "pip", "install", "--quiet", "uv==0.13.8"],
        ):
            if subprocess.run(step, check=False).returncode != 0:
                print("could not install uv; python3-venv and a reachable package index are needed")
                return None
    return str(place)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; run the same again, it goes on where it was")
