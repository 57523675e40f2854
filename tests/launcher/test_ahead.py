"""What is installed, looked at before the launcher has loaded its code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hosts import INITIALIZE, Host
from mcps_launcher.install.ahead import Ahead
from mcps_launcher.install.installed import StoreChangedError, manifest
from worlds import World

pytestmark = pytest.mark.bwrap


def test_what_is_seen_ahead_is_what_is_there(world: World, host: Host) -> None:
    world.serve("echo")
    decision = host.resolve("echo")
    look = Ahead("echo", str(host.places.home))
    assert look(Path(decision.store_path)) == decision.manifest
    assert look(Path(decision.store_path)) == manifest(Path(decision.store_path)), "and again"
    look.close()
    unused = Ahead("echo", str(host.places.home))
    unused.close()
    unused.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize(
    "spoil", [b"", b"{", b"[]", b'{"storePath": 7}', b'{"storePath": "/none"}']
)
def test_whatever_goes_wrong_ahead_is_found_in_its_own_time(
    world: World, host: Host, tmp_path: Path, spoil: bytes
) -> None:
    world.serve("echo")
    decision = host.resolve("echo")
    (host.places.kept / "decision-echo.json").write_bytes(spoil)
    assert Ahead("echo", str(host.places.home))(Path(decision.store_path)) == decision.manifest
    assert Ahead("nothing", str(tmp_path))(Path(decision.store_path)) == decision.manifest
    with pytest.raises(StoreChangedError):
        Ahead("echo", str(host.places.home))(tmp_path / "none")


def test_a_change_is_seen_ahead(world: World, host: Host) -> None:
    world.serve("echo")
    decision = host.resolve("echo")
    victim = next(Path(decision.store_path).glob("tree/*/main.py"))
    victim.chmod(0o644)
    done = host.run("echo")
    assert done.returncode == 65 and b"closure-changed" in done.stderr
    assert host.run("gc", "--all").returncode == 0
    assert host.talk("echo", INITIALIZE)[0]["result"]
