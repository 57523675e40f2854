"""The line from an approved release to an answered, audited call, and what breaks it."""

from __future__ import annotations

import json
import os
import signal
import time
from datetime import timedelta
from pathlib import Path

import pytest

from mcps_trust.audit.sink import AuditDirectory
from mcps_trust.audit.verify import verify_audit
from mcps_trust.errors import McpsError
from mcps_trust.model.digest import Sha256
from mcps_trust.model.permissions import EnvironmentVariable, Permissions
from mcps_trust.model.revocation import Kind
from wheels import sha256
from worlds import ECHO_SERVER, INITIALIZE, NAMESPACE, Host, World, call, request

pytestmark = pytest.mark.bwrap


def refusal(host: Host, alias: str) -> str:
    """Start a server that must be refused; gives the code in the answer."""
    done = host.run(alias, input=json.dumps(INITIALIZE).encode() + b"\n")
    assert done.returncode != 0
    assert b"Traceback" not in done.stderr
    answer = json.loads(done.stdout)
    assert answer["id"] == 1
    code = answer["error"]["data"]["code"]
    assert f"[{code}]".encode() in done.stderr
    return str(code)


def test_an_approved_server_answers_and_every_call_is_audited(world: World, host: Host) -> None:
    world.serve("echo")
    answers = host.talk("echo", INITIALIZE, call(2, "echo", text="grüße \u2028 end"))
    assert [a["id"] for a in answers] == [1, 2]
    assert json.loads(answers[1]["result"]["content"][0]["text"]) == {"text": "grüße \u2028 end"}
    (state,) = verify_audit(AuditDirectory(host.places.audit))
    assert state.state == "whole"
    records = [
        json.loads(line)
        for line in (host.places.audit / "sessions" / f"{state.session}.jsonl")
        .read_text()
        .splitlines()
    ]
    events = [record["event"] for record in records]
    assert events == ["session-start", "self-test", "call", "call-outcome", "session-end"]
    made = records[2]
    assert made["tool"] == "echo" and made["decision"] == "allowed"
    assert made["server"]["approvers"] == ["alice"]
    assert "grüße" not in json.dumps(records, ensure_ascii=False), "parameters never stand there"


def test_a_tool_outside_the_grant_is_hidden_and_refused(world: World, host: Host) -> None:
    world.serve("echo")
    answers = host.talk(
        "echo",
        INITIALIZE,
        request(2, "tools/list"),
        call(3, "hidden"),
        call(4, "delete"),
        call(5, "echo"),
    )
    by_id = {a["id"]: a["result"] for a in answers}
    assert [tool["name"] for tool in by_id[2]["tools"]] == ["echo", "delete"]
    assert "[tool-not-granted]" in by_id[3]["content"][0]["text"] and by_id[3]["isError"]
    assert "[approval-needed]" in by_id[4]["content"][0]["text"] and by_id[4]["isError"]
    assert "isError" not in by_id[5]


def test_an_unknown_alias_is_refused_with_a_suggestion(world: World, host: Host) -> None:
    world.serve("echo")
    assert refusal(host, "ehco") == "alias-unknown"
    with pytest.raises(McpsError, match="may not start") as caught:
        host.resolve("ehco")
    assert "did you mean 'echo'" in caught.value.remedy


def test_an_entry_that_was_never_approved_is_refused(world: World, host: Host) -> None:
    entry = world.serve("echo")
    path = entry.path.__class__(entry.path.server, "9.9.9", 1)
    world.allow("ghost", path, digest=Sha256("0" * 64))
    assert refusal(host, "ghost") == "entry-not-in-catalogue"
    assert host.resolve("echo").entry_path == entry.path


def test_another_entry_than_the_team_allowed_is_refused(world: World, host: Host) -> None:
    entry = world.serve("echo")
    world.allow("swapped", entry.path, digest=Sha256("1" * 64))
    assert refusal(host, "swapped") == "entry-mismatch"


def test_a_changed_byte_of_the_installed_closure_is_noticed(world: World, host: Host) -> None:
    world.serve("echo")
    decision = host.resolve("echo")
    victim = Path(decision.store_path) / "tree/echo_server/main.py"
    data, status = victim.read_bytes(), victim.stat()
    victim.chmod(0o644)
    victim.write_bytes(data.replace(b"json", b"jsom", 1))
    victim.chmod(0o444)
    os.utime(victim, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert refusal(host, "echo") == "closure-changed"


@pytest.mark.parametrize("kind", ["digest", "signer", "publisher", "package", "artifact"])
def test_a_revocation_of_any_kind_stops_the_next_start(own_world: World, kind: Kind) -> None:
    own_world.serve("echo")
    host = own_world.host("host")
    decision = host.resolve("echo")
    wheel = next((own_world.folder / "echo-1.0.0").glob("*.whl"))
    match = {
        "digest": decision.closure,
        "signer": f"{own_world.issuer.issuer.url} author@example.org",
        "publisher": NAMESPACE,
        "package": "pkg:pypi/echo-server@1.0.0",
        "artifact": sha256(wheel.read_bytes()),
    }[kind]
    own_world.revoke(kind, match)
    host.minutes_pass()
    assert refusal(host, "echo") == "revoked"


def test_a_revocation_holds_on_after_the_registry_forgot_it(own_world: World) -> None:
    own_world.serve("echo")
    host = own_world.host("host")
    host.resolve("echo")
    own_world.revoke("publisher", NAMESPACE)
    host.minutes_pass()
    assert refusal(host, "echo") == "revoked"
    kept = host.places.kept / "revocations.json"
    assert NAMESPACE in kept.read_text()
    kept.write_bytes(b"{}")
    assert refusal(host, "echo") == "revocations-damaged"


def test_a_development_registry_needs_a_development_enrolment(world: World, host: Host) -> None:
    world.serve("echo")
    strict = world.host(f"{host.places.home.name}-strict", development=False)
    assert refusal(strict, "echo") == "development-registry"


def test_a_server_that_was_installed_runs_while_the_registry_is_away(own_world: World) -> None:
    own_world.serve("echo")
    host = own_world.host("host")
    host.resolve("echo")
    enrolment = host.places.enrolment.read_bytes()
    assert b"127.0.0.1" in enrolment
    (host.places.home / "config.toml").write_text('[http]\nproxy = "127.0.0.1:9"\n')
    answers = host.talk("echo", INITIALIZE, call(2, "echo"))
    assert answers[1]["id"] == 2
    with pytest.raises(McpsError) as caught:
        host.resolve("echo", ahead=timedelta(days=8))
    assert caught.value.code in ("metadata-expired", "registry-unavailable", "offline-too-long")
    fresh = own_world.host("fresh")
    (fresh.places.home / "config.toml").write_text('[http]\nproxy = "127.0.0.1:9"\n')
    assert refusal(fresh, "echo") == "registry-unavailable"


def test_a_clock_that_was_set_back_is_noticed(world: World, host: Host) -> None:
    world.serve("echo")
    host.resolve("echo")
    with pytest.raises(McpsError) as caught:
        host.resolve("echo", ahead=-timedelta(days=1))
    assert caught.value.code == "clock-set-back"


def test_the_environment_of_the_launcher_steers_nothing(world: World, host: Host) -> None:
    world.serve("echo")
    hostile = {
        "PATH": "/nonexistent", "HOME": "/nonexistent", "PYTHONPATH": "/nonexistent",
        "XDG_DATA_HOME": "/nonexistent", "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9", "SSL_CERT_FILE": "/nonexistent",
        "SECRET": "not for servers",
    }  # fmt: skip
    answers = host.talk("echo", INITIALIZE, call(2, "echo"), env=hostile)
    assert answers[1]["id"] == 2


def test_noise_of_the_server_never_reaches_the_host(world: World, host: Host) -> None:
    noise = b'    print("noise", flush=True)\n    for line in'
    world.serve("noisy", ECHO_SERVER.replace(b"    for line in", noise))
    done = host.run("noisy", input=json.dumps(INITIALIZE).encode() + b"\n")
    lines = [line for line in done.stdout.split(b"\n") if line]
    assert [json.loads(line)["id"] for line in lines] == [1]


def test_a_server_that_changed_its_tools_is_quarantined(world: World, host: Host) -> None:
    """It shows another definition than at vetting, here by a variable that it is granted."""
    source = ECHO_SERVER.replace(
        b"def main():",
        b"def main():\n    import os\n"
        b"    if os.environ.get('CHANGED'):\n"
        b"        TOOLS[0]['annotations'] = {'destructiveHint': True}",
    )
    asks = Permissions(environment=(EnvironmentVariable(name="CHANGED"),))
    world.serve("drifting", source, asks=asks)
    calm = host.talk("drifting", INITIALIZE, request(2, "tools/list"), call(3, "echo"))
    assert [t["name"] for t in calm[1]["result"]["tools"]] == ["echo", "delete"]
    assert "isError" not in calm[2]["result"]
    env = {"CHANGED": "1"}
    changed = host.talk("drifting", INITIALIZE, request(2, "tools/list"), call(3, "echo"), env=env)
    assert [t["name"] for t in changed[1]["result"]["tools"]] == ["delete"]
    assert "[drift]" in changed[2]["result"]["content"][0]["text"]


def test_nothing_is_left_when_the_launcher_is_killed(world: World, host: Host) -> None:
    world.serve("echo")
    host.resolve("echo")
    process = host.start("echo")
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["id"] == 1
    inside = _descendants(process.pid)
    assert inside, "the server runs"
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in inside):
        assert time.monotonic() < deadline, "something of the server is left"
        time.sleep(0.02)
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()
    (state,) = verify_audit(AuditDirectory(host.places.audit))
    assert state.state == "unclosed"


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    pending = [pid]
    while pending:
        parent = pending.pop()
        text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
        children = [int(word) for word in text.split()]
        found += children
        pending += children
    return found


def test_two_launchers_on_an_empty_cache_both_start(world: World, host: Host) -> None:
    world.serve("echo")
    both = [host.start("echo") for _ in range(2)]
    for process in both:
        out, err = process.communicate(json.dumps(INITIALIZE).encode() + b"\n", timeout=60)
        assert json.loads(out.split(b"\n")[0])["id"] == 1, err
    states = verify_audit(AuditDirectory(host.places.audit))
    assert [state.state for state in states] == ["whole", "whole"]
