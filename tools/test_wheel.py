"""Run the tests that need no sandbox against the built wheel, with the source folders away."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = ROOT / ".tools" / "uv" / "bin" / "uv"


def main() -> int:
    """Install the wheel beside the pinned set in a fresh environment and run there."""
    wheels = sorted((ROOT / "dist").glob("mcps-*.whl"))
    if not wheels:
        print("no wheel; run `make package` first")
        return 1
    with tempfile.TemporaryDirectory(prefix="mcps-wheel-") as folder:
        place = Path(folder)
        python = place / "venv" / "bin" / "python"
        lock = ROOT / "tools" / "requirements.txt"
        for step in (
            [UV, "venv", "--quiet", "--python", "/usr/bin/python3", place / "venv"],
            [UV, "pip", "sync", "--quiet", "--system-certs", "--require-hashes", "--python", python,
             lock],
            [UV, "pip", "install", "--quiet", "--no-deps", "--offline", "--python", python,
             wheels[-1]],
        ):  # fmt: skip
            subprocess.run([str(word) for word in step], check=True)
        for name in ("tests", "docs"):
            shutil.copytree(ROOT / name, place / name)
        shutil.copy(ROOT / "index.json", place / "index.json")
        shutil.copy(ROOT / "pyproject.toml", place / "pyproject.toml")
        command = [str(python), "-I", "-m", "pytest", "-q", "-m", "not bwrap and not docker"]
        return subprocess.run(command, cwd=place, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
