"""Ctrl-C at every step of a start: nothing is left running, and nothing half done is used."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from mcps_trust.audit.sink import AuditDirectory
from mcps_trust.audit.verify import verify_audit
from worlds import INITIALIZE, Host, World, call

pytestmark = pytest.mark.bwrap

HELLO = json.dumps(INITIALIZE).encode() + b"\n"


def interrupt(host: Host, after: float) -> tuple[int, bytes]:
    """Start a server, press Ctrl-C; gives the exit code and what stderr got."""
    process = host.start("echo")
    assert process.stdin
    process.stdin.write(HELLO)
    process.stdin.flush()
    wait_until_loading(process.pid)
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=20)
    return process.returncode, words


def wait_until_loading(pid: int) -> None:
    """Wait until the launcher has taken SIGINT from Python, which catches it once it is up."""
    deadline = time.monotonic() + 2
    for expected in (True, False):
        while catches_interrupt(pid) is not expected and time.monotonic() < deadline:
            pass


def catches_interrupt(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (signal.SIGINT - 1) & 1)


def below(home: Path) -> list[str]:
    """Processes whose command line or working folder has to do with this host."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(home) in line and "pytest" not in line:
            found.append(line)
    return found


def settled(host: Host) -> bool:
    """Whether nothing of the host's runs any more, after a moment."""
    deadline = time.monotonic() + 10
    while below(host.places.home):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def works(host: Host) -> bool:
    return [a["id"] for a in host.talk("echo", INITIALIZE, call(2, "echo"))] == [1, 2]


@pytest.mark.parametrize("after", [0, 0.05, 0.15, 0.3, 0.5, 0.7, 0.9, 1.1, 1.4, 1.8])
def test_an_interrupted_first_start_leaves_nothing(world: World, host: Host, after: float) -> None:
    world.serve("echo")
    code, words = interrupt(host, after)
    assert code in (130, -signal.SIGINT), words
    assert b"Traceback" not in words
    assert settled(host), below(host.places.home)
    leftovers = [*host.places.home.rglob(".building-*"), *host.places.home.rglob(".fetch-*")]
    assert not leftovers
    assert not list(host.places.sessions.glob("*"))
    assert works(host)
    states = {state.state for state in verify_audit(AuditDirectory(host.places.audit))}
    assert states <= {"whole"}


@pytest.mark.parametrize("after", [0, 0.03, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.4])
def test_an_interrupted_session_is_closed_in_the_audit(
    world: World, host: Host, after: float
) -> None:
    world.serve("echo")
    host.resolve("echo")
    code, words = interrupt(host, after)
    assert code in (130, -signal.SIGINT), words
    assert b"Traceback" not in words
    assert settled(host), below(host.places.home)
    assert not list(host.places.sessions.glob("*"))
    states = {state.state for state in verify_audit(AuditDirectory(host.places.audit))}
    assert states <= {"whole"}
    assert works(host)
