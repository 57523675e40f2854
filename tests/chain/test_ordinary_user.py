"""The launcher as an ordinary user: a user namespace of its own, and a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from ordinary_user import DROP, UID
from worlds import INITIALIZE, World, call, remove

pytestmark = pytest.mark.bwrap


def launch(
    python: Path, home: Path, *words: str, text: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run mcps-launch as the user."""
    command = [str(python), "-I", "-m", "mcps_launcher.cli", "--home", str(home), *words]
    return subprocess.run(
        [*(DROP if os.geteuid() == 0 else []), *command], input=text, capture_output=True,
        timeout=120, check=False, env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip


def test_an_ordinary_user_enrols_and_runs(world: World, installation: Path, home: Path) -> None:
    world.serve("echo")
    root = (world.desk.folder.public / "metadata/1.root.json").read_bytes()
    readable = home / "1.root.json"
    readable.write_bytes(root)
    readable.chmod(0o644)
    done = launch(installation, home, "enroll", world.url, "--root", str(readable), "--team",
                  "demo", "--development", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    lines = json.dumps(INITIALIZE).encode() + b"\n" + json.dumps(call(2, "echo", a=1)).encode()
    done = launch(installation, home, "echo", text=lines + b"\n")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["id"] for answer in answers] == [1, 2], done.stderr.decode()
    sessions = list((home / "audit" / "sessions").glob("*.jsonl"))
    tested = json.loads(sessions[0].read_text().splitlines()[1])["selfTest"]
    assert tested["capabilities"] == "none"
    assert tested["uid"] == str(UID if os.geteuid() == 0 else os.geteuid())
    assert tested["limits"] in ("rlimit", "cgroup-v2")


def test_required_limits_are_not_promised_where_they_cannot_be_kept(
    world: World, installation: Path, home: Path
) -> None:
    world.serve("echo")
    (home / "1.root.json").write_bytes(
        (world.desk.folder.public / "metadata/1.root.json").read_bytes()
    )
    (home / "1.root.json").chmod(0o644)
    launch(installation, home, "enroll", world.url, "--root", str(home / "1.root.json"), "--team",
           "demo", "--development")  # fmt: skip
    (home / "config.toml").write_text('limits = "required"\n')
    (home / "config.toml").chmod(0o644)
    done = launch(installation, home, "echo", text=json.dumps(INITIALIZE).encode() + b"\n")
    if b"[self-test-failed]" not in done.stderr:
        tested = next((home / "audit" / "sessions").glob("*.jsonl")).read_text().splitlines()[1]
        assert json.loads(tested)["selfTest"]["limits"] != "rlimit"


def test_a_folder_of_somebody_else_is_not_believed(installation: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="mcps-open-"))
    try:
        folder.chmod(0o777)
        done = launch(installation, folder, "list")
        assert done.returncode == 78
        assert b"[folder-not-own]" in done.stderr
    finally:
        remove(folder)
