"""The launcher's other commands, as their user calls them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import mcps
import mcps_launcher.configuration as configuration_module
from commands import said, tell
from hosts import ECHO_SERVER, INITIALIZE, Host, call
from mcps_launcher.cli import plain_start
from mcps_launcher.cli.commands import cli
from mcps_launcher.cli.run import run_in_home
from mcps_launcher.configuration import Configuration
from mcps_launcher.enrolment import Enrolment
from mcps_trust.audit.sink import AuditDirectory
from mcps_trust.audit.verify import verify_audit
from mcps_trust.errors import McpsError
from mcps_trust.locked_file import exclusive
from mcps_trust.model.permissions import Permissions, Resources
from worlds import TEAM, World

pytestmark = pytest.mark.bwrap


def root_of(world: World) -> Path:
    return world.desk.folder.public / "metadata/1.root.json"


# enrolment ----------------------------------------------------------------------------------


def test_a_host_enrols_by_a_fingerprint(world: World, tmp_path: Path) -> None:
    world.serve("echo")
    digest = root_digest(world)
    words: list[str | Path] = [
        "--home",
        tmp_path / "home",
        "enroll",
        world.url,
        "--team",
        TEAM,
        "--development",
    ]
    for text, code in (("1", "usage"), (f"0:{digest}", "usage"), (f"1:{'0' * 64}", "root-mismatch"),
                       (f"9:{digest}", "root-mismatch")):  # fmt: skip
        exit_code = 64 if code == "usage" else 77
        assert tell(cli, *words, "--fingerprint", text, code=exit_code)["code"] == code
    assert tell(cli, *words, code=64)["code"] == "usage"
    both: list[str | Path] = ["--fingerprint", f"1:{digest}", "--root", root_of(world)]
    assert tell(cli, *words, *both, code=64)["code"] == "usage"
    assert not (tmp_path / "home/enrolment.json").exists()
    done = tell(cli, *words, "--fingerprint", f"1:{digest}")
    assert done["root"] == digest and "echo" in done["aliases"] and not done["managed"]
    assert "self-asserted" in said(cli, *words, "--fingerprint", f"1:{digest}")


def test_no_cache_answers_for_the_address_that_a_host_enrols_with(world: World, host: Host) -> None:
    """Not even that of a good enrolment, which stays as it was."""
    world.serve("echo")
    assert tell(cli, *at(host), "list")["servers"]
    before = host.places.enrolment.read_bytes()
    for url, code, exit_code in (
        ("http://127.0.0.1:9", "registry-unavailable", 69), ("127.0.0.1:8443", "usage", 64),
        ("nonsense", "usage", 64), ("https://", "usage", 64),
    ):  # fmt: skip
        assert tell(cli, *at(host), *enrolling(world, url), code=exit_code)["code"] == code
        assert host.places.enrolment.read_bytes() == before
    text = said(cli, *at(host), *enrolling(world, world.url))
    assert f"no longer with {world.url} for team demo" in text


def enrolling(world: World, url: str) -> list[str | Path]:
    return ["enroll", url, "--root", root_of(world), "--team", "demo", "--development"]


def root_digest(world: World) -> str:
    return hashlib.sha256(root_of(world).read_bytes()).hexdigest()


def test_an_enrolment_that_fails_leaves_the_one_before(world: World, own_world: World) -> None:
    host = own_world.host("moves")
    own_world.serve("echo")
    before = host.places.enrolment.read_bytes()
    assert tell(cli, *at(host), "list")["servers"]
    words = ["enroll", own_world.url, "--development"]
    for root, team, code in (
        (root_of(own_world), "nobody", "team-unknown"),
        (root_of(world), TEAM, "metadata-invalid"),
        (root_of(own_world), "NOT A TEAM", "bad-name"),
    ):
        exit_code = 77 if code == "team-unknown" else 65
        options = ("--root", root, "--team", team)
        assert tell(cli, *at(host), *words, *options, code=exit_code)["code"] == code
        assert host.places.enrolment.read_bytes() == before
    assert tell(cli, *at(host), "list")["servers"]


def test_a_host_moves_to_another_registry(world: World, own_world: World) -> None:
    """What was cached of the one does not stand in the way of the other."""
    world.serve("echo")
    host = own_world.host("moves")
    own_world.serve("apart")
    assert host.talk("apart", INITIALIZE)[0]["result"]
    there = ("enroll", world.url, "--root", root_of(world), "--team", TEAM, "--development")
    assert "echo" in tell(cli, *at(host), *there)["aliases"]
    assert host.talk("echo", INITIALIZE, call(2, "echo"))[1]["result"]
    assert tell(cli, *at(host), "verify", "apart", code=77)["code"] == "alias-unknown"
    back = ("enroll", own_world.url, "--root", root_of(own_world), "--team", TEAM, "--development")
    assert tell(cli, *at(host), *back)["aliases"] == ["apart"]
    assert host.talk("apart", INITIALIZE)[0]["result"]


def at(host: Host) -> list[str | Path]:
    return ["--home", host.places.home]


# configuration --------------------------------------------------------------------------------


def test_an_administrators_file_cannot_be_loosened(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    managed = tmp_path / "managed.toml"
    ceiling = Permissions(resources=Resources(memory=2**28, pids=32, cpus=1.0)).to_dict()

    def toml(limits: dict[str, object]) -> str:
        return (f"[ceiling]\negress = []\nmounts = []\nsecrets = []\nenvironment = []\n"
                f"seccomp = 'strict'\n[ceiling.resources]\nmemory = {limits['memory']}\n"
                f"pids = {limits['pids']}\ncpus = {limits['cpus']}\n")  # fmt: skip

    resources = ceiling["resources"]
    assert isinstance(resources, dict)
    managed.write_text("limits = 'required'\nrecheck = 60\n" + toml(resources))
    host.places.configuration.write_text(
        "limits = 'best'\nrecheck = 600\nback-end = 'docker'\n[http]\nproxy = 'evil:1'\n"
        + toml({"memory": 2**30, "pids": 16, "cpus": 2.0})
    )
    found = Configuration.read(host.places, managed=managed)
    assert (found.managed, found.limits, found.recheck, found.back_end, found.http.proxy) == (
        True, "required", 60, "bwrap", None,
    )  # fmt: skip
    assert found.ceiling == Permissions(resources=Resources(memory=2**28, pids=16, cpus=1.0))
    alone = Configuration.read(host.places, managed=tmp_path / "none")
    assert (alone.managed, alone.back_end, alone.http.proxy) == (False, "docker", "evil:1")
    host.places.configuration.unlink()
    assert Configuration.read(host.places, managed=managed).recheck == 60
    monkeypatch.setattr(configuration_module, "MANAGED", managed)
    monkeypatch.setattr("mcps_launcher.cli.run.MANAGED", managed)
    assert run_in_home("echo", str(host.places.home)) == 77


def test_a_managed_host_trusts_what_its_administrator_names(
    world: World, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.serve("echo")
    managed = tmp_path / "managed.toml"
    section = f"[enrolment]\nregistry = '{world.url}/'\nroot = '{root_of(world)}'\nteam = 'demo'\n"
    managed.write_text(section)
    host.places.configuration.write_text(section)
    assert tell(cli, *at(host), "list", code=78)["code"] == "bad-configuration", "not the user's"
    host.places.configuration.unlink()
    host.places.enrolment.write_bytes(b"anything")
    named = Configuration.read(host.places, managed=managed)
    found = Enrolment.read(host.places, named)
    assert (found.registry, found.team, found.development) == (world.url, "demo", False)
    assert found.root == root_of(world).read_bytes()

    monkeypatch.setattr(configuration_module, "MANAGED", managed)
    monkeypatch.setattr("mcps_launcher.places._ROOT_FOLDER", host.places.home)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    before = host.places.enrolment.read_bytes()
    for refused in (enrolling(world, world.url), ["unenroll"]):
        assert tell(cli, *refused, code=77)["code"] == "managed-enrolment"
    assert host.places.enrolment.read_bytes() == before
    assert [server["alias"] for server in tell(cli, "list")["servers"]]
    managed.write_text(section.replace("1.root.json", "none.json"))
    assert tell(cli, "list", code=78)["code"] == "not-enrolled"
    managed.write_text("")
    assert tell(cli, "unenroll") == {"enrolled": False}, "root may, where nothing is named"


@pytest.mark.parametrize(
    "text",
    ["limits = 'none'", "recheck = 0", "back-end = 'chroot'", "x = 1", "= =", "[http]\ny = 1"],
)
def test_a_configuration_that_cannot_be_read_stops_everything(host: Host, text: str) -> None:
    host.places.configuration.write_text(text)
    assert tell(cli, *at(host), "list", code=78)["code"] == "bad-configuration"
    host.places.configuration.write_text("[index]\nnpm = 'https://npm.example.org'\n")
    assert Configuration.read(host.places).npm == "https://npm.example.org"


def test_an_enrolment_that_was_changed_is_none(host: Host) -> None:
    genuine = host.places.enrolment.read_bytes()
    for data in (genuine.replace(b"demo", b"other\x00"), genuine[:-3], b"{}\n"):
        host.places.enrolment.write_bytes(data)
        assert tell(cli, *at(host), "list", code=78)["code"] == "not-enrolled"
    host.places.enrolment.write_bytes(genuine)
    root = host.places.root.read_bytes()
    host.places.root.write_bytes(root + b" ")
    with pytest.raises(McpsError) as caught:
        Enrolment.read(host.places, Configuration.read(host.places))
    assert caught.value.code == "not-enrolled"
    host.places.root.write_bytes(root)
    assert Enrolment.read(host.places, Configuration.read(host.places)).team == TEAM


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
