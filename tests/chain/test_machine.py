"""Machines that lack something: room, rights, programs, the right time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mcps_launcher.back_ends import choose_back_end
from mcps_launcher.configuration import Configuration
from mcps_launcher.install import fetch
from mcps_launcher.sandbox import bwrap
from mcps_launcher.sandbox import docker as docker_back_end
from mcps_trust.errors import McpsError
from mcps_trust.model.names import parse_team
from wheels import sha256
from worlds import INITIALIZE, TEAM, Host, World, call

pytestmark = pytest.mark.bwrap

HELLO = json.dumps(INITIALIZE).encode() + b"\n"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")


def refused(host: Host, alias: str = "echo") -> str:
    """Start a server; gives the code of the refusal, in the answer and on stderr."""
    done = host.run(alias, input=HELLO)
    assert done.returncode != 0
    assert b"Traceback" not in done.stderr
    code = str(json.loads(done.stdout)["error"]["data"]["code"])
    assert f"[{code}]".encode() in done.stderr
    return code


def works(host: Host, alias: str = "echo") -> bool:
    return [a["id"] for a in host.talk(alias, INITIALIZE, call(2, "echo"))] == [1, 2]


@pytest.fixture
def small(world: World, host: Host) -> Iterator[Host]:
    """A host whose folder is a file system of 32 MiB."""
    world.serve("echo")
    place = str(host.places.home)
    enrolment = host.places.enrolment.read_bytes(), host.places.root.read_bytes()
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=32m,mode=0700", "tmpfs", place],
                   check=True)  # fmt: skip
    try:
        host.places.enrolment.write_bytes(enrolment[0])
        host.places.root.write_bytes(enrolment[1])
        yield host
    finally:
        subprocess.run(["/bin/umount", "-l", place], check=True)


def fill(folder: Path) -> Path:
    """Leave no room."""
    place = folder / "full"
    with place.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return place


@needs_root
def test_a_full_disk_refuses_before_anything_runs(small: Host) -> None:
    stuffing = fill(small.places.home)
    assert refused(small) in ("not-writable", "audit-not-writable", "storage")
    assert not list(small.places.home.glob("store/*/tree"))
    stuffing.unlink()
    assert works(small)
    stuffing = fill(small.places.home)
    assert refused(small) in ("audit-not-writable", "not-writable")
    stuffing.unlink()
    assert works(small)


@needs_root
def test_a_folder_that_cannot_be_written_refuses(small: Host) -> None:
    place = str(small.places.home)
    subprocess.run(["/bin/mount", "-o", "remount,ro", place], check=True)
    assert refused(small) in ("not-writable", "audit-not-writable")
    subprocess.run(["/bin/mount", "-o", "remount,rw", place], check=True)
    assert works(small)
    subprocess.run(["/bin/mount", "-o", "remount,ro", place], check=True)
    assert refused(small) in ("not-writable", "audit-not-writable")
    subprocess.run(["/bin/mount", "-o", "remount,rw", place], check=True)
    assert works(small)


@needs_root
def test_a_store_of_somebody_else_is_not_believed(world: World, host: Host) -> None:
    world.serve("echo")
    assert works(host)
    os.chown(host.places.home, 12345, 12345)
    assert refused(host) == "folder-not-own"
    os.chown(host.places.home, 0, 0)
    store = Path(host.resolve("echo").store_path)
    os.chown(store / "tree/echo_server/main.py", 12345, 12345)
    assert refused(host) == "closure-changed"


def test_without_bubblewrap_the_start_is_refused(
    world: World, host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world.serve("echo")
    for place, mode in ((tmp_path / "missing", None), (tmp_path / "open", 0o777)):
        if mode is not None:
            place.touch()
            place.chmod(mode)
        monkeypatch.setattr(bwrap, "BWRAP", str(place))
        with pytest.raises(McpsError) as caught:
            choose_back_end(Configuration(), host.places)
        assert caught.value.code == "back-end-unavailable"
        assert caught.value.exit_code == 78
    monkeypatch.undo()
    assert works(host)


@needs_root
def test_bubblewrap_that_is_not_the_systems_is_refused(world: World, host: Host) -> None:
    """Another file stands in its place, in a mount namespace of the test's own."""
    world.serve("echo")
    command = " ".join(host.command("echo"))
    script = f"mount --bind /dev/null /usr/bin/bwrap && exec {command}"
    done = subprocess.run(["/usr/bin/unshare", "--mount", "/bin/sh", "-c", script],
                          input=HELLO, capture_output=True, timeout=60, check=False)  # fmt: skip
    assert done.returncode == 78
    assert json.loads(done.stdout)["error"]["data"]["code"] == "back-end-unavailable"
    assert works(host)


def test_without_an_engine_the_docker_back_end_is_refused(
    world: World, host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world.serve("echo")
    monkeypatch.setattr(docker_back_end, "SOCKET", str(tmp_path / "no.sock"))
    with pytest.raises(McpsError) as caught:
        choose_back_end(Configuration(back_end="docker"), host.places)
    assert caught.value.code == "back-end-unavailable"
    assert "bwrap" in caught.value.remedy
    assert works(host)


def test_a_clock_set_forward_finds_everything_expired(world: World, host: Host) -> None:
    world.serve("echo")
    decision = host.resolve("echo")
    with pytest.raises(McpsError) as caught:
        host.resolve("echo", ahead=timedelta(days=3650))
    assert caught.value.code in ("metadata-expired", "entry-expired")
    assert host.resolve("echo").entry == decision.entry, "no time was learned from that clock"
    assert works(host)


def test_a_team_that_the_registry_does_not_know_is_refused(world: World, host: Host) -> None:
    world.serve("echo")
    stranger = world.host(f"{host.places.home.name}-stranger", team=parse_team("nobody"))
    assert refused(stranger) == "team-unknown"
    assert TEAM != "nobody" and works(host)


def test_a_host_that_is_not_enrolled_is_told_how(world: World, host: Host) -> None:
    world.serve("echo")
    enrolment = host.places.enrolment.read_bytes()
    host.places.enrolment.unlink()
    assert refused(host) == "not-enrolled"
    host.places.enrolment.write_bytes(enrolment.replace(b"demo", b"d3mo"))
    assert refused(host) in ("team-unknown", "not-enrolled")
    host.places.enrolment.write_bytes(enrolment)
    assert works(host)


def test_a_file_that_nobody_has_is_named(own_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry has other bytes under the wheel's digest, and no index is to be asked."""
    own_world.serve("echo")
    host = own_world.host("host")
    (wheel,) = (own_world.folder / "echo-1.0.0").glob("*.whl")
    digest = sha256(wheel.read_bytes())
    place = own_world.desk.folder.public / f"blobs/sha256/{digest[:2]}/{digest}"
    genuine = place.read_bytes()
    place.write_bytes(genuine[:-1] + b"x")

    def no_index(*_words: object) -> None:
        raise fetch.PackageUnavailableError("there is no index")

    monkeypatch.setattr(fetch, "_from_pip", no_index)
    with pytest.raises(McpsError) as caught:
        host.resolve("echo")
    assert caught.value.code == "package-unavailable"
    assert not list(host.places.home.glob("store/*/tree"))
    place.write_bytes(genuine)
    assert host.resolve("echo").alias == "echo"


def test_no_user_namespace_is_an_error_that_says_so(world: World, host: Host) -> None:
    """As an ordinary user whose kernel gives out no user namespaces."""
    world.serve("echo")
    host.resolve("echo")
    code = (
        "import os, sys\n"
        "open('/proc/sys/user/max_user_namespaces', 'w').write('0')\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    done = subprocess.run(
        ["/usr/bin/unshare", "--user", "--map-current-user", sys.executable, "-I", "-c", code,
         *host.command("echo")],
        input=HELLO, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert b"Traceback" not in done.stderr
    assert json.loads(done.stdout)["error"]["data"]["code"] == "sandbox-failed"
    assert works(host)
