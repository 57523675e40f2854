"""Limits by a scope of the user's own systemd: a real one, in a hierarchy made for it.

It is started as an ordinary user, in mount and cgroup namespaces of its own, over a cgroup v2
that this test mounts. Where version 1 holds the controllers, as on the machines that run this,
the scope is made and limits nothing: then resource limits must be there as well.
"""

from __future__ import annotations

import json
import os
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcps_launcher.sandbox.limits import prepare_limits
from mcps_launcher.sandbox.scope import has_manager
from mcps_trust.model.permissions import Resources
from ordinary_user import DROP, UID

pytestmark = pytest.mark.systemd

GROUP = f"mcps-test-{os.getpid()}"

# As root: an empty /run, a cgroup v2, and a part of it that belongs to the user.
MACHINE = textwrap.dedent(f"""
    set -e
    mount --make-rprivate /
    mount -t tmpfs none /run
    install -d -o {UID} -g {UID} -m 700 /run/user/{UID}
    install -d /run/systemd/system
    umount -l /sys/fs/cgroup
    mount -t cgroup2 none /sys/fs/cgroup
    mkdir -p /sys/fs/cgroup/{GROUP}/init.scope
    chown -R {UID}:{UID} /sys/fs/cgroup/{GROUP}
    echo $$ > /sys/fs/cgroup/{GROUP}/init.scope/cgroup.procs
    exec {" ".join(DROP)} env -i PATH=/usr/bin:/bin HOME=/nonexistent \\
        XDG_RUNTIME_DIR=/run/user/{UID} "$@"
""")

# As the user: their manager, and then the command.
USER = textwrap.dedent(f"""
    /usr/lib/systemd/systemd --user --unit=basic.target > /dev/null 2>&1 &
    manager=$!
    trap 'kill $manager; wait' EXIT
    for _ in $(seq 100); do
        [ -S /run/user/{UID}/bus ] && [ -S /run/user/{UID}/systemd/private ] && break
        sleep 0.1
    done
    "$@"
""")

SESSION = textwrap.dedent("""
    import json, os, resource, subprocess, sys, time
    from mcps_launcher.sandbox.limits import prepare_limits
    from mcps_trust.model.permissions import Resources

    def show(unit):
        names = "ActiveState,MemoryMax,MemorySwapMax,TasksMax,CPUQuotaPerSecUSec"
        text = subprocess.run(["systemctl", "--user", "show", unit, f"--property={names}"],
                              capture_output=True, text=True).stdout
        return dict(line.split("=", 1) for line in text.splitlines())

    limits = prepare_limits(Resources(memory=100_000_000, pids=50, cpus=0.5), "test")
    means = limits.means
    told, tell = os.pipe()
    go, may_go = os.pipe()
    if os.fork() == 0:
        os.close(may_go)
        limits.enter()
        limits.enter_as_user()
        groups = open("/proc/self/cgroup").read().splitlines()
        os.write(tell, json.dumps({
            "group": next(line for line in groups if line.startswith("0::")),
            "data": resource.getrlimit(resource.RLIMIT_DATA)[0],
            "nproc": resource.getrlimit(resource.RLIMIT_NPROC)[0],
            "held": limits.means}).encode())
        os.read(go, 1)
        os._exit(0)
    inside = json.loads(os.read(told, 10_000))
    during = show("mcps-test.scope")
    os.write(may_go, b"x")
    os.wait()
    for _ in range(100):
        after = show("mcps-test.scope")["ActiveState"]
        if after == "inactive":
            break
        time.sleep(0.05)
    print(json.dumps({"means": means, **inside, "during": during, "after": after}))
""")


@pytest.fixture
def group() -> Iterator[None]:
    """Remove what the manager leaves in the hierarchy."""
    yield
    for root in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")):
        for place, _, _ in os.walk(root / GROUP, topdown=False):
            os.rmdir(place)


def as_user(*command: str | Path) -> dict[str, Any]:
    """Run a command as a user who has a manager; gives the document that it prints."""
    done = subprocess.run(
        ["/usr/bin/unshare", "--mount", "--cgroup", "--fork", "--kill-child", "bash", "-c", MACHINE, "-",
         "bash", "-c", USER, "-", *map(str, command)],
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.mark.usefixtures("group")
def test_a_session_gets_a_scope_with_its_limits(installation: Path) -> None:
    found = as_user(installation, "-I", "-c", SESSION)
    assert found["means"] == "scope"
    assert found["group"].endswith("/mcps-test.scope")
    assert found["during"] == {
        "ActiveState": "active", "MemoryMax": "100000000", "MemorySwapMax": "0",
        "TasksMax": "50", "CPUQuotaPerSecUSec": "500ms",
    }  # fmt: skip
    assert found["after"] == "inactive", "the scope ends with its process"
    if found["held"] == "rlimit":
        assert (found["data"], found["nproc"]) == (100_000_000, 50)
    else:
        assert found["data"] == -1


@pytest.mark.usefixtures("group")
def test_a_sandbox_is_made_inside_a_scope(installation: Path, home: Path) -> None:
    command = """ "$0" -I -m mcps_launcher.cli --home "$1" doctor --json || true"""
    findings = as_user("bash", "-c", command, installation, home)["findings"]
    sandbox = next(finding for finding in findings if finding["what"] == "sandbox")
    assert sandbox["state"] in ("ok", "warning"), sandbox


def test_who_has_no_manager_asks_none() -> None:
    assert os.geteuid() == 0 and not has_manager()
    limits = prepare_limits(Resources(), "test")
    assert limits.means != "scope"
    limits.remove()
