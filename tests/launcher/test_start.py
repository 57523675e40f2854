"""What is run of a closure, on which runtime, under which limits and as whom."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from documents import example
from mcps_launcher.install import runtime as runtime_module
from mcps_launcher.install.installed import Installed
from mcps_launcher.install.runtime import Runtime, candidates, find_runtime, node_platform
from mcps_launcher.install.start import start_argv
from mcps_launcher.sandbox import lease as lease_module
from mcps_launcher.sandbox import limits as limits_module
from mcps_launcher.sandbox.lease import FIRST_UID, UidLease
from mcps_launcher.sandbox.limits import prepare_limits, remove_stale_groups
from mcps_launcher.sandbox.runtime_image import image_name, write_image
from mcps_launcher.start import granted_environment
from mcps_trust.errors import McpsError
from mcps_trust.model import strict_json
from mcps_trust.model.digest import Sha256
from mcps_trust.model.permissions import EnvironmentVariable, Permissions, Resources
from mcps_trust.model.statement import ReleasePackage, ReleaseStatement, Run
from mcps_trust.npm_settings import configured_registry

PYTHON = Runtime(name="python", path="/usr/bin/python3.11", version="3.11.2",
                 sha256=Sha256("a" * 64), identity="x")  # fmt: skip
NODE = replace(PYTHON, name="node", path="/usr/bin/node", version="20.0.0")


def package(run: Run, identifier: str = "clock") -> ReleasePackage:
    found = ReleaseStatement.parse(strict_json.dumps(example("release-statement"))).packages[0]
    return replace(found, run=run, identifier=identifier)


def installed(folder: Path, name: str, document: object) -> Installed:
    place = folder / "tree" / "node_modules" / name
    place.mkdir(parents=True)
    text = document if isinstance(document, str) else json.dumps(document)
    (place / "package.json").write_text(text)
    return Installed(path=folder, digest=Sha256("a" * 64))


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(McpsError) as caught:
        call()
    return caught.value.code


@pytest.mark.parametrize(
    ("name", "document", "target"),
    [
        ("clock", {"bin": {"clock": "./dist/run.js", "other": "x.js"}}, "dist/run.js"),
        ("clock", {"bin": "run.js"}, "run.js"),
        ("@acme/clock", {"bin": "run.js"}, "run.js"),
    ],
)
def test_a_bin_is_found_in_its_package(
    tmp_path: Path, name: str, document: object, target: str
) -> None:
    closure = installed(tmp_path, name, document)
    argv = start_argv(
        package(Run(kind="bin", target="clock", arguments=("-v",)), name), closure, NODE
    )
    assert argv == ("/usr/bin/node", f"/app/node_modules/{name}/{target}", "-v")


@pytest.mark.parametrize(
    "document",
    [{}, [], {"bin": {"other": "x.js"}}, {"bin": {"clock": "../../up.js"}}, {"bin": {"clock": 1}},
     {"bin": {"clock": "/etc/passwd"}}],
)  # fmt: skip
def test_a_bin_that_is_not_in_its_package_is_refused(tmp_path: Path, document: object) -> None:
    run = package(Run(kind="bin", target="clock"))
    closure = installed(tmp_path, "clock", document)
    assert code_of(lambda: start_argv(run, closure, NODE)) == "bad-package"
    assert code_of(lambda: start_argv(replace(run, identifier="none"), closure, NODE)) == (
        "bad-package"
    )


def test_a_module_is_run_by_name(tmp_path: Path) -> None:
    closure = Installed(path=tmp_path, digest=Sha256("a" * 64))
    argv = start_argv(package(Run(kind="module", target="clock.main")), closure, PYTHON)
    assert argv[0] == PYTHON.path and argv[-2:] == ("module", "clock.main")


def test_a_runtime_is_roots_own_and_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_runtime("python", ">=3.9")
    assert found.path in set(candidates("python")) and found.identity
    for name in ("python", "node"):
        assert code_of(lambda n=name: find_runtime(n, ">=99")) == "no-runtime"  # type: ignore[misc]  # a lambda's default
    assert node_platform()["os"] == "linux"
    monkeypatch.setattr(runtime_module, "_is_roots", lambda _path: False)
    assert code_of(lambda: find_runtime("python", ">=3.9")) == "no-runtime"
    monkeypatch.undo()
    monkeypatch.setattr(runtime_module, "candidates", lambda _name: iter(["/bin/false", "/none"]))
    assert code_of(lambda: find_runtime("python", ">=3.9")) == "no-runtime"


def test_a_server_gets_its_granted_variables_and_no_others() -> None:
    variables = (EnvironmentVariable(name="MODE", value="fast"), EnvironmentVariable(name="LEVEL"))
    permissions = Permissions(environment=variables)
    around = {"MODE": "slow", "LEVEL": "3", "SECRET": "x"}
    assert granted_environment(permissions, around) == {"MODE": "fast", "LEVEL": "3"}
    assert granted_environment(permissions, {}) == {"MODE": "fast"}
    needed = Permissions(environment=(EnvironmentVariable(name="LEVEL", required=True),))
    assert code_of(lambda: granted_environment(needed, {})) == "missing-permission"


def test_user_ids_are_leased_once_and_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "UID_COUNT", 2)
    first, second = UidLease(tmp_path), UidLease(tmp_path)
    assert (first.uid, second.uid) == (FIRST_UID, FIRST_UID + 1)
    assert code_of(lambda: UidLease(tmp_path)) == "back-end-unavailable"
    first.release()
    first.release()
    third = UidLease(tmp_path)
    assert third.uid == FIRST_UID
    for lease in (second, third):
        lease.release()


@pytest.mark.parametrize("delegated", [True, False])
def test_a_group_of_version_2_is_made_where_it_is_delegated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, delegated: bool
) -> None:
    """A folder in the kernel's place: what is written there, and what is cleaned up."""
    own = next(line.partition("::")[2] for line in Path("/proc/self/cgroup").read_text().split("\n")
               if line.startswith("0::"))  # fmt: skip
    parent = tmp_path / own.lstrip("/")
    parent.mkdir(parents=True, exist_ok=True)
    (parent / "cgroup.subtree_control").write_text("memory pids cpu" if delegated else "pids")
    monkeypatch.setattr(limits_module, "CGROUP_ROOT", tmp_path)
    limits = prepare_limits(Resources(memory=2**28, pids=32, cpus=0.5), "test")
    if not delegated:
        assert (limits.means, limits.groups) == ("rlimit", [])
        return
    (group,) = limits.groups
    assert limits.means == "cgroup-v2"
    written = {name: (group / name).read_text() for name in os.listdir(group)}
    assert written == {"memory.max": str(2**28), "memory.swap.max": "0", "pids.max": "32",
                       "cpu.max": "50000 100000"}  # fmt: skip
    (group / "cgroup.procs").write_text("12\n34\n")
    assert list(limits.members()) == [12, 34]
    for path in group.iterdir():
        path.unlink()
    limits.remove()
    limits.remove()
    assert not group.exists()


def test_groups_that_a_dead_session_left_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_module, "CGROUP_ROOT", tmp_path)
    for name in ("mcps-old", "mcps-new", "other"):
        (tmp_path / "memory" / name).mkdir(parents=True)
    remove_stale_groups({"new"})
    assert {path.name for path in (tmp_path / "memory").iterdir()} == {"mcps-new", "other"}


def test_the_runtime_image_holds_interpreters_and_nothing_that_raises_rights() -> None:
    with tarfile.open(fileobj=io.BytesIO(write_image())) as archive:
        members = {member.name: member for member in archive}
    assert any(name.startswith("usr/bin/python3.") for name in members)
    assert all(not member.mode & 0o6000 for member in members.values())
    assert all(m.isreg() or m.isdir() or m.issym() for m in members.values())
    assert {"tmp", "app", "proc", "etc/passwd"} <= members.keys()
    assert not [name for name in members if name.startswith(("home", "root", "usr/local", "var"))]
    assert image_name() == image_name()


def test_npm_says_which_registry_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured_registry().startswith("http")
    monkeypatch.setattr("mcps_trust.npm_settings.subprocess.run", unavailable)
    assert code_of(configured_registry) == "npm-unavailable"


def unavailable(*_words: object, **_options: object) -> None:
    raise FileNotFoundError("npm")
