"""What a host trusts, and who says so: enrolment and configuration."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

import mcps_launcher.configuration as configuration_module
from commands import said, tell
from hosts import INITIALIZE, Host, at, call
from mcps_launcher.cli.commands import cli
from mcps_launcher.cli.run import run_in_home
from mcps_launcher.configuration import Configuration
from mcps_launcher.enrolment import Enrolment
from mcps_trust.errors import McpsError
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
    for spoilt in (section.replace(str(root_of(world)), "1.root.json"),
                   section.replace("http://", "ftp://")):  # fmt: skip
        managed.write_text(spoilt)
        with pytest.raises(McpsError) as caught:
            Configuration.read(host.places, managed=managed)
        assert caught.value.code == "bad-configuration"
    managed.write_text(section)
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
