"""Killed at any moment before the decision, the launcher has started nothing of the server."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from worlds import ECHO_SERVER, INITIALIZE, World

pytestmark = pytest.mark.bwrap
ROUNDS = 100


def test_a_server_never_runs_without_an_audited_decision(world: World) -> None:
    """Its marker is a process of its own; each must belong to a session that was entered."""
    source = ECHO_SERVER.replace(b"def main():", b"def main():\n    open('/tmp/marker', 'w')", 1)
    world.serve("marked", source)
    host = world.host("killed")
    host.resolve("marked")
    chance = random.Random(7)  # noqa: S311 - where to kill, not a secret
    started = 0
    for number in range(ROUNDS):
        if number % 4 == 0:
            for kept in host.places.kept.glob("decision-*"):
                kept.unlink()
        process = host.start("marked")
        assert process.stdin
        process.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
        process.stdin.flush()
        time.sleep(chance.uniform(0, 0.35))
        inside = _sandboxed(process.pid)
        sessions = list((host.places.audit / "sessions").glob("*.jsonl"))
        if inside:
            started += 1
            assert len(sessions) > number - (ROUNDS - started), "a start without a record"
            assert any(b'"session-start"' in path.read_bytes() for path in sessions)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=20)
        deadline = time.monotonic() + 5
        while any(Path(f"/proc/{pid}").exists() for pid in inside):
            assert time.monotonic() < deadline, "something of the server is left"
            time.sleep(0.01)
    assert started > 0, "some rounds must get far enough to prove anything"
    deadline = time.monotonic() + 5
    while left := _named(b"marked_server"):
        assert time.monotonic() < deadline, f"a sandbox is left: {left}"
        time.sleep(0.05)


def _named(word: bytes) -> list[int]:
    """Processes whose command line holds `word`: bubblewrap's own hold the server's."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if word in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def _sandboxed(pid: int) -> list[int]:
    """Processes below `pid` that run in a mount namespace of their own."""
    own = os.readlink("/proc/self/ns/mnt")
    found, pending = [], [pid]
    while pending:
        parent = pending.pop()
        try:
            text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
            children = [int(word) for word in text.split()]
            pending += children
            found += [c for c in children if os.readlink(f"/proc/{c}/ns/mnt") != own]
        except OSError:
            continue
    return found
