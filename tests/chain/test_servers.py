"""Servers that misbehave: noise, silence, a sudden end, a line without end."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from mcps_trust.audit.sink import AuditDirectory
from mcps_trust.audit.verify import verify_audit
from worlds import ECHO_SERVER, INITIALIZE, Host, World, call

pytestmark = pytest.mark.bwrap

HELLO = json.dumps(INITIALIZE).encode() + b"\n"
CALL = json.dumps(call(2, "echo")).encode() + b"\n"
DONE = b'        elif method == "tools/call":\n'


def on_call(code: str) -> bytes:
    """The echo server, that does something else when its tool is called outside capture."""
    line = f"            {code}\n".encode()
    return ECHO_SERVER.replace(DONE, DONE + line, 1)


def end_of(host: Host) -> str:
    """Why the only session of a host ended, by its audit."""
    (state,) = verify_audit(AuditDirectory(host.places.audit))
    assert state.state == "whole"
    lines = (host.places.audit / "sessions" / f"{state.session}.jsonl").read_bytes().splitlines()
    record = json.loads(lines[-1])
    assert record["event"] == "session-end"
    return str(record["reason"])


def test_a_line_of_100_megabytes_ends_the_session(world: World, host: Host) -> None:
    world.serve("endless", on_call("sys.stdout.write('x' * (100 << 20)); sys.stdout.flush()"))
    done = host.run("endless", input=HELLO + CALL, timeout=120)
    assert done.returncode == 77
    assert b"[line-too-long]" in done.stderr
    assert b"Traceback" not in done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["id"] for answer in answers] == [1, 2]
    assert answers[1]["error"]["data"]["code"] == "line-too-long"
    assert end_of(host) == "line-too-long"


def test_a_line_of_100_megabytes_from_the_host_ends_the_session(world: World, host: Host) -> None:
    world.serve("echo")
    done = host.run("echo", input=HELLO + b"x" * (100 << 20), timeout=120)
    assert b"[line-too-long]" in done.stderr
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [1]
    assert end_of(host) == "line-too-long"


def test_a_server_that_ends_is_reported(world: World, host: Host) -> None:
    code = "sys.stderr.write('out of luck'); sys.stderr.flush(); os._exit(3)"
    world.serve("leaving", on_call(code))
    process = host.start("leaving")
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(HELLO + CALL)
    process.stdin.flush()
    assert process.wait(30) == 69
    words = process.stderr.read()
    assert b"[server-ended]" in words
    assert b"out of luck" in words
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()
    assert end_of(host) == "server"


def test_a_server_that_never_answers_is_ended_once_the_host_has_gone(
    world: World, host: Host
) -> None:
    world.serve("silent", on_call("time.sleep(3600)"))
    began = time.monotonic()
    done = host.run("silent", input=HELLO + CALL, timeout=60)
    assert time.monotonic() - began < 30
    assert done.returncode == 0
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [1]
    assert end_of(host) == "host"


def test_a_server_that_floods_with_nonsense_is_ended(world: World, host: Host) -> None:
    world.serve("flooding", on_call("[print('noise', flush=True) for _ in range(5000)]"))
    done = host.run("flooding", input=HELLO + CALL, timeout=60)
    assert b"[server-misbehaves]" in done.stderr
    assert b"noise" not in done.stdout
    assert end_of(host) == "server-misbehaves"


def test_a_server_that_ignores_the_end_of_its_input_is_gone_within_a_second(
    world: World, host: Host
) -> None:
    tail = b"    while True:\n        time.sleep(1)\n"
    world.serve("stubborn", ECHO_SERVER.rstrip() + b"\n" + tail)
    process = host.start("stubborn")
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(HELLO)
    process.stdin.flush()
    assert process.stdout.readline()
    inside = [
        int(word)
        for word in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ]
    assert inside
    process.stdin.close()
    began = time.monotonic()
    assert process.wait(20) == 0
    assert time.monotonic() - began < 5  # 0.7 s of patience, and a slow machine
    assert not any(Path(f"/proc/{pid}").exists() for pid in inside)
    for stream in (process.stdout, process.stderr):
        stream.close()
