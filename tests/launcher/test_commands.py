"""The launcher's other commands, as their user calls them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import mcps
from commands import said, tell
from hosts import ECHO_SERVER, INITIALIZE, Host, at, call
from mcps_launcher.cli import plain_start
from mcps_launcher.cli.commands import cli
from mcps_trust.audit.sink import AuditDirectory
from mcps_trust.audit.verify import verify_audit
from mcps_trust.locked_file import exclusive
from worlds import World

pytestmark = pytest.mark.bwrap


# hosts' files ---------------------------------------------------------------------------------


def test_a_servers_entry_is_merged_into_a_hosts_file(host: Host, tmp_path: Path) -> None:
    place = tmp_path / "sub" / ".mcp.json"
    words = [*at(host), "configure", "claude-code", "echo", "--file", place]
    shown = said(cli, *words, "--dry-run")
    assert '+      "command": "mcps-launch"' in shown and not place.exists()
    assert tell(cli, *words)["changed"] is True
    mine = json.loads(place.read_bytes())
    assert mine["mcpServers"]["echo"] == {
        "type": "stdio",
        "command": "mcps-launch",
        "args": ["--home", str(host.places.home), "echo"],
    }
    mine["mcpServers"]["other"] = {"command": "other"}
    mine["theme"] = "dark"
    place.write_text(json.dumps(mine))
    assert tell(cli, *words)["changed"] is True
    assert tell(cli, *words)["changed"] is False
    assert "nothing would change" in said(cli, *words, "--dry-run")
    tell(cli, *words, "--remove")
    left = json.loads(place.read_bytes())
    assert left == {"mcpServers": {"other": {"command": "other"}}, "theme": "dark"}
    backup = place.with_name(".mcp.json.mcps-backup")
    assert "echo" in json.loads(backup.read_bytes())["mcpServers"]
    assert tell(cli, *words, "--print")["command"] == "mcps-launch"
    assert '"args"' in said(cli, *words, "--print")


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"mcpServers": []}', '{"a": 1, "a": 2}', "// comment\n{}"]
)
def test_a_hosts_file_that_cannot_be_read_is_not_touched(
    host: Host, tmp_path: Path, text: str
) -> None:
    place = tmp_path / ".mcp.json"
    place.write_text(text)
    words = [*at(host), "configure", "claude-code", "echo", "--file", place]
    assert tell(cli, *words, code=78)["code"] == "host-file"
    assert place.read_text() == text


# maintenance ------------------------------------------------------------------------------------


def test_closures_that_nothing_names_are_removed(world: World, host: Host) -> None:
    world.serve("echo")
    host.talk("echo", INITIALIZE)
    stray = host.places.store / ("f" * 64)
    stray.mkdir()
    half, busy = (host.places.store / f".building-{c * 64}-x" for c in "ab")
    half.mkdir()
    busy.mkdir()
    with exclusive(host.places.store / f".{'b' * 64}.lock"):
        tell(cli, *at(host), "gc")
        assert busy.exists(), "it is being installed"
    assert not half.exists()
    stray.mkdir()
    assert stray.name in tell(cli, *at(host), "gc")["removed"]
    assert not stray.exists() and not busy.exists()
    with host.start("echo") as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        assert tell(cli, *at(host), "gc", "--all")["removed"] == [], "it is being used"
        process.stdin.close()
        process.wait(30)
    assert host.talk("echo", INITIALIZE)[0]["result"], "what is needed stays"
    assert tell(cli, *at(host), "gc", "--all")["removed"]
    assert host.talk("echo", INITIALIZE)[0]["result"], "and is made again"
    assert said(cli, *at(host), "gc")


def test_the_audit_and_the_logs_are_told(world: World, host: Host) -> None:
    words = b"import sys\nsys.stderr.write('last words\\x1b[2J\\n')\n"
    world.serve("talks", source=words + ECHO_SERVER)
    assert tell(cli, *at(host), "logs", "talks", code=64)["code"] == "usage"
    assert said(cli, *at(host), "audit", "show").strip() == "no sessions yet"
    assert said(cli, *at(host), "audit", "verify").strip() == "no sessions yet"
    host.talk("talks", INITIALIZE, call(2, "echo"))
    text = said(cli, *at(host), "logs", "talks")
    assert r"last words\x1b[2J" in text
    assert host.run("nothing").returncode == 77
    told = tell(cli, *at(host), "audit", "show")
    assert [(item["alias"], item["version"]) for item in told["sessions"]] == [("talks", "1.0.0")]
    assert [(item["alias"], item["code"]) for item in told["refused"]] == [
        ("nothing", "alias-unknown")
    ]
    session = told["sessions"][0]["session"]
    text = said(cli, *at(host), "audit", "show")
    assert session in text and "refused [alias-unknown]  nothing" in text
    assert "session-start" in said(cli, *at(host), "audit", "show", "--last")
    assert tell(cli, *at(host), "audit", "show", "nothing", code=64)["code"] == "usage"
    assert "whole" in said(cli, *at(host), "audit", "verify")
    place = host.places.audit / "sessions" / f"{session}.jsonl"
    place.write_bytes(place.read_bytes().replace(b'"tool":"echo"', b'"tool":"evil"'))
    assert "broken" in said(cli, *at(host), "audit", "verify", code=65, stream="out")
    place.write_bytes(b"not a record\n")
    assert f"{session}  cannot be read" in said(cli, *at(host), "audit", "show")
    assert tell(cli, *at(host), "audit", "show", "--last", code=65)["code"] == "audit-broken"


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda h: h.places.enrolment.unlink(), "enrolment"),
        (lambda h: h.places.configuration.write_text("x = 1"), "configuration"),
        (lambda h: os.chmod(h.places.home, 0o777), "folder"),
    ],
)
def test_the_doctor_names_what_is_wrong(
    host: Host, spoil: Callable[[Host], object], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mcps_launcher.diagnosis import diagnose

    monkeypatch.setenv("LD_PRELOAD", "")
    spoil(host)
    found = {finding.what: finding for finding in diagnose(host.places)}
    assert found[what].state == "problem"
    assert found["sandbox"].state == "ok"
    assert found["environment"].state == "warning" and "LD_PRELOAD" in found["environment"].detail
    os.chmod(host.places.home, 0o700)


def test_the_doctor_says_how_user_namespaces_are_allowed(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mcps_launcher.diagnosis as module
    from mcps_launcher.sandbox import bwrap

    flag = tmp_path / "apparmor"
    flag.write_text("1\n")
    monkeypatch.setattr(module, "_APPARMOR", flag)
    monkeypatch.setattr(bwrap, "BWRAP", str(tmp_path / "none"))
    found = {finding.what: finding for finding in module.diagnose(host.places)}
    assert found["sandbox"].state == "problem" and "AppArmor" in found["sandbox"].remedy
    monkeypatch.setattr(module, "find_runtime", refuse)
    assert {f.what: f for f in module.diagnose(host.places)}["python"].state == "warning"


def refuse(name: str, _requirement: str) -> None:
    from mcps_launcher.install.runtime import NoRuntimeError

    raise NoRuntimeError(f"no {name}")


# the face ---------------------------------------------------------------------------------------


def test_the_library_verifies_and_launches(world: World, host: Host) -> None:
    world.serve("echo")
    proof = mcps.verify("echo", home=host.places.home)
    assert proof["alias"] == "echo" and proof["decision"]["signer"]
    with mcps.launch("echo", home=host.places.home) as server:
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
        server.stdin.flush()
        assert json.loads(server.stdout.readline())["result"]["serverInfo"]["name"] == "echo"
        server.stdin.close()
        assert server.wait(30) == 0
    with pytest.raises(mcps.RefusedError) as caught:
        mcps.verify("nothing", home=host.places.home)
    assert caught.value.error["code"] == "alias-unknown"
    assert "[alias-unknown]" in str(caught.value)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["clock"], ("clock", None)),
        (["run", "clock"], ("clock", None)),
        (["--home", "/x", "clock"], ("clock", "/x")),
        (["--home", "/x", "run", "clock"], ("clock", "/x")),
        (["list"], None),
        (["run"], None),
        (["run", "list"], None),
        (["clock", "--json"], None),
        (["--help"], None),
        ([], None),
        (["Clock"], None),
    ],
)
def test_a_plain_start_takes_the_short_way(
    words: list[str], found: tuple[str, str | None] | None
) -> None:
    assert plain_start(words) == found


def test_a_refused_start_is_written_down(world: World, host: Host) -> None:
    world.serve("echo")
    host.talk("echo", INITIALIZE)
    for alias, code in (("nothing", "alias-unknown"), ("NOT AN ALIAS", "bad-name"),
                        ("a" * 300, "bad-name"), ("\udcff", "bad-name")):  # fmt: skip
        done = host.run("run", alias, input=json.dumps(INITIALIZE).encode() + b"\n")
        assert json.loads(done.stdout)["error"]["data"]["code"] == code
        assert b"Traceback" not in done.stderr
    text = AuditDirectory(host.places.audit).host.read_text("utf-8")
    records = [json.loads(record) for record in text.splitlines()]
    found = [record["code"] for record in records if record["event"] == "launch-refused"]
    assert found == ["alias-unknown", "bad-name", "bad-name", "bad-name"]
    assert {state.state for state in verify_audit(AuditDirectory(host.places.audit))} == {"whole"}


def test_a_folder_that_others_may_look_into_is_not_believed(world: World, host: Host) -> None:
    """Such as one that came with a repository, and names another registry."""
    world.serve("echo")
    os.chmod(host.places.home, 0o755)
    assert tell(cli, *at(host), "list", code=78)["code"] == "folder-not-own"
    os.chmod(host.places.home, 0o700)
    assert tell(cli, *at(host), "list")["servers"]
