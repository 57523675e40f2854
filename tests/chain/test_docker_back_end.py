"""The same line on the other back end."""

from __future__ import annotations

import json
import signal
import time

import pytest

from mcps_launcher.sandbox.docker import LABEL, SOCKET
from mcps_launcher.sandbox.engine import Engine
from mcps_trust.audit.sink import AuditDirectory
from mcps_trust.audit.verify import verify_audit
from worlds import INITIALIZE, Host, World, call

pytestmark = [pytest.mark.docker, pytest.mark.bwrap]


@pytest.fixture
def docker_host(world: World, host: Host) -> Host:
    world.serve("echo")
    (host.places.home / "config.toml").write_text('back-end = "docker"\n')
    return host


def containers(host: Host) -> list[str]:
    """Containers of sessions of this host."""
    sessions = {path.stem for path in (host.places.audit / "sessions").glob("*.jsonl")}
    query = {"all": "1", "filters": json.dumps({"label": [LABEL]})}
    found = Engine(SOCKET).call("GET", "/containers/json", query=query)
    return [str(c["Id"]) for c in found if c["Labels"][LABEL] in sessions]


def test_a_server_answers_and_is_gone_afterwards(docker_host: Host) -> None:
    answers = docker_host.talk("echo", INITIALIZE, call(2, "echo", x=1), call(3, "hidden"))
    results = {a["id"]: a["result"] for a in answers}
    assert results.keys() == {1, 2, 3}
    assert results[3]["isError"] is True
    (state,) = verify_audit(AuditDirectory(docker_host.places.audit))
    assert state.state == "whole"
    record = (docker_host.places.audit / "sessions" / f"{state.session}.jsonl").read_text()
    tested = json.loads(record.splitlines()[1])["selfTest"]
    assert tested["limits"] in ("cgroup-v1", "cgroup-v2")
    assert tested["environment"] == "as planned"
    assert tested["capabilities"] == "none"
    assert containers(docker_host) == []


def test_nothing_is_left_when_the_launcher_is_killed(docker_host: Host) -> None:
    docker_host.resolve("echo")
    process = docker_host.start("echo")
    assert process.stdin
    assert process.stdout
    assert process.stderr
    process.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["id"] == 1
    assert len(containers(docker_host)) == 1
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 10
    while containers(docker_host):
        assert time.monotonic() < deadline, "the container is left"
        time.sleep(0.05)
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()
