"""What holds inside, by both back ends; each refusal beside the same attempt outside."""

from __future__ import annotations

import json
import os
import platform
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mcps_launcher.install.inside import host_links, machine
from mcps_launcher.install.runtime import find_runtime
from mcps_launcher.sandbox.bwrap import Bwrap
from mcps_launcher.sandbox.docker import Docker
from mcps_launcher.sandbox.measured import Limit
from mcps_launcher.sandbox.plan import Plan, Tmpfs
from mcps_launcher.sandbox.process import BackEnd, SelfTestFailedError
from mcps_launcher.sandbox.readback import Observed, judge
from mcps_launcher.sandbox.seccomp.numbers import NUMBERS
from mcps_launcher.sandbox.seccomp.profile import compile_bpf, rules
from mcps_launcher.sandbox.strict import strict_plan
from mcps_trust.model.permissions import Permissions, Resources, SeccompTier

ATTEMPTS = r"""
import ctypes, json, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)

def syscall(number, *arguments):
    ctypes.set_errno(0)
    # As longs: of a plain int, half of the register is left to chance.
    result = libc.syscall(ctypes.c_long(number), *(
        ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result

def status(key):
    with open("/proc/self/status") as file:
        return next(line.split(":\t")[1].strip() for line in file if line.startswith(key + ":"))

def expect(condition):
    if not condition:
        raise OSError(1, "not so")

ATTEMPTS = {
    "inet socket": lambda: socket.socket(socket.AF_INET),
    "inet6 socket": lambda: socket.socket(socket.AF_INET6),
    "unix socket": lambda: socket.socket(socket.AF_UNIX),
    "netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "vsock socket": lambda: socket.socket(40),
    "alg socket": lambda: socket.socket(38, 5),
    "io_uring": lambda: syscall(425, 8, ctypes.create_string_buffer(256)),
    "read processes": lambda: syscall(310, os.getpid(), 0, 0, 0, 0, 0),
    "memfd": lambda: syscall(319, b"x", 0),
    "mount": lambda: syscall(165, b"none", b"/tmp", b"tmpfs", 0, 0),
    "keyctl": lambda: syscall(250, 0, -3, 1),
    "write root": lambda: open("/x", "w"),
    "write usr": lambda: open("/usr/x", "w"),
    "write app": lambda: open("/app/x", "w"),
    "run from tmp": lambda: (open("/tmp/run", "w").write("#!/usr/bin/env true\n"),
                             os.chmod("/tmp/run", 0o700), os.execv("/tmp/run", ["run"])),
    "host shadow": lambda: open("/etc/shadow").read(),
    "host home": lambda: os.listdir("/root"),
    "sysctl": lambda: open("/proc/sys/kernel/core_pattern", "w"),
    "many processes": lambda: expect(len([n for n in os.listdir("/proc") if n.isdigit()]) > 3),
    "other environment": lambda: expect("CANARY" in open("/proc/1/environ").read()),
    "own environment": lambda: expect("CANARY" in os.environ),
    "engine socket": lambda: expect(os.path.exists("/var/run/docker.sock")),
    "usr local": lambda: expect(os.listdir("/usr/local")),
    "capabilities": lambda: expect(int(status("CapBnd"), 16)),
    "new privileges": lambda: expect(status("NoNewPrivs") == "0"),
    "no seccomp": lambda: expect(status("Seccomp") == "0"),
    "root user": lambda: expect(os.getuid() == 0),
    "open descriptors": lambda: expect(len(os.listdir("/proc/self/fd")) > 4),
    # what a server needs, and must have
    "ALLOWED write tmp": lambda: open("/tmp/file", "w").write("x"),
    "ALLOWED socketpair": lambda: socket.socketpair(),
    "ALLOWED read app": lambda: open("/app/here").read(),
    "ALLOWED threads": lambda: __import__("threading").Thread(target=int).start(),
    "ALLOWED random": lambda: os.urandom(8),
    # last, because outside they succeed and change who this process is
    "clone namespace": lambda: syscall(56, 0x10000000 | 17, 0, 0, 0, 0) or os._exit(0),
    "user namespace": lambda: syscall(272, 0x10000000),
}
found = {}
for name, attempt in ATTEMPTS.items():
    try:
        attempt()
        found[name] = "open"
    except (OSError, ValueError) as error:
        found[name] = "refused"
print(json.dumps(found), flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=[
    pytest.param("bwrap", marks=pytest.mark.bwrap),
    pytest.param("docker", marks=pytest.mark.docker),
])  # fmt: skip
def back_end(request: pytest.FixtureRequest, tmp_path: Path) -> BackEnd:
    return Bwrap(tmp_path) if request.param == "bwrap" else Docker(tmp_path)


@pytest.fixture
def plan_of(tmp_path: Path) -> Callable[..., Plan]:
    app = tmp_path / "app"
    app.mkdir()
    (app / "here").write_text("here")
    for folder in (app, tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)

    def make(code: str, tier: SeccompTier = "strict", **limits: Any) -> Plan:
        permissions = Permissions(seccomp=tier, resources=Resources(**limits))
        runtime = find_runtime("python", ">=3.11")
        return strict_plan(
            app=str(app), bytecode=None, argv=[runtime.path, "-I", "-S", "-B", "-c", code],
            permissions=permissions, environment={}, machine=machine(), host_links=host_links(),
        )  # fmt: skip

    return make


@pytest.fixture
def canary() -> Iterator[None]:
    os.environ["CANARY"] = "secret"
    yield
    del os.environ["CANARY"]


def run(back_end: BackEnd, plan: Plan, *, read: bool = True) -> str:
    """Start a plan, self-test it, read one line, end it."""
    process = back_end.spawn(plan, f"test-{time.monotonic_ns()}")
    try:
        process.self_test()
        data = b""
        while read and not data.endswith(b"\n"):
            chunk = os.read(process.stdout, 65536)
            if not chunk:
                pytest.fail(os.read(process.stderr, 65536).decode())
            data += chunk
        return data.decode()
    finally:
        process.kill()
        for descriptor in (process.stdin, process.stdout, process.stderr):
            os.close(descriptor)


def bare(code: str) -> dict[str, str]:
    """The same attempts by a plain process of the same interpreter."""
    runtime = find_runtime("python", ">=3.11")
    # A mount namespace of its own: what the attempts mount must not stay on this machine.
    done = subprocess.run(
        ["/usr/bin/unshare", "--mount", runtime.path, "-I", "-S", "-c", code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_every_attempt_is_refused_inside_and_every_need_is_met(
    back_end: BackEnd, plan_of: Callable[..., Plan], canary: None
) -> None:
    found = json.loads(run(back_end, plan_of(ATTEMPTS)))
    wrong = {name: state for name, state in found.items()
             if state != ("open" if name.startswith("ALLOWED") else "refused")}  # fmt: skip
    assert wrong == {}


@pytest.mark.bwrap
@pytest.mark.skipif(os.geteuid() != 0, reason="what is open to root is the control")
def test_the_same_attempts_succeed_outside() -> None:
    found = bare(
        ATTEMPTS.replace('"run from tmp"', '"ALLOWED skip"').replace(
            'os.execv("/tmp/run", ["run"])', "0"
        )
    )
    refused = {name for name, state in found.items() if state == "refused"}
    # What a bare machine refuses even to root, or has not.
    assert refused <= {
        "write app",
        "ALLOWED read app",
        "other environment",
        "own environment",
        "no seccomp",
        "keyctl",
        "alg socket",
        "open descriptors",
        "engine socket",
    }


@pytest.mark.parametrize(
    ("tier", "opened"),
    [("strict", set()), ("default", {"unix socket"}),
     ("network", {"unix socket", "inet socket", "inet6 socket"})],
)  # fmt: skip
def test_each_tier_opens_its_sockets_and_no_others(
    back_end: BackEnd, plan_of: Callable[..., Plan], tier: SeccompTier, opened: set[str]
) -> None:
    found = json.loads(run(back_end, plan_of(ATTEMPTS, tier)))
    sockets = {name for name, state in found.items() if name.endswith("socket")
               and state == "open" and name != "engine socket"}  # fmt: skip
    assert sockets == opened


def test_a_process_bomb_stops_at_its_limit(back_end: BackEnd, plan_of: Callable[..., Plan]) -> None:
    code = """
import os, time
count = 0
try:
    while count < 400:
        if os.fork() == 0:
            time.sleep(60)
        count += 1
except OSError:
    pass
print(count, flush=True)
time.sleep(60)
"""
    assert 4 < int(run(back_end, plan_of(code, pids=32))) <= 32


def test_memory_stops_at_its_limit(back_end: BackEnd, plan_of: Callable[..., Plan]) -> None:
    code = "x = bytearray(b'1' * (400 << 20)); print('had it', flush=True)"
    small = "import sys; print('ok', flush=True); sys.stdin.read()"
    process = back_end.spawn(plan_of(code, memory=64 << 20), f"test-{time.monotonic_ns()}")
    try:
        data = os.read(process.stdout, 100)
        assert data == b""
        assert process.wait(20) not in (0, None)
    finally:
        process.kill()
        for descriptor in (process.stdin, process.stdout, process.stderr):
            os.close(descriptor)
    assert "ok" in run(back_end, plan_of(small, memory=64 << 20))


def test_the_end_of_stdin_reaches_the_server(
    back_end: BackEnd, plan_of: Callable[..., Plan]
) -> None:
    code = "import sys; sys.stdin.read(); raise SystemExit(7)"
    process = back_end.spawn(plan_of(code), f"test-{time.monotonic_ns()}")
    try:
        process.self_test()
        os.close(process.stdin)
        assert process.wait(10) == 7
    finally:
        process.kill()
        os.close(process.stdout)
        os.close(process.stderr)


GOOD = Observed(
    status={"CapInh": "0" * 16, "CapPrm": "0" * 16, "CapEff": "0" * 16, "CapBnd": "0" * 16,
            "CapAmb": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2", "Uid": "7\t7\t7\t7"},
    mounts=(("/", "ro"), ("/tmp", "rw,nosuid,nodev,noexec")), interfaces=("lo",),
    uid_map="65532 7 1", environment={},
    limits=(Limit(means="cgroup-v1", memory=268435456, pids=64, cpus=1.0),),
)  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"status": {**GOOD.status, "CapEff": "0000000000000001"}},
        {"status": {**GOOD.status, "CapBnd": "000001ffffffffff"}},
        {"status": {**GOOD.status, "NoNewPrivs": "0"}},
        {"status": {**GOOD.status, "Seccomp": "0"}},
        {"status": {**GOOD.status, "Uid": "0\t0\t0\t0"}},
        {"status": {}},
        {"interfaces": ("lo", "eth0")},
        {"interfaces": ()},
        {"mounts": (("/", "rw"), ("/tmp", "rw,nosuid,nodev,noexec"))},
        {"mounts": (("/", "ro"), ("/tmp", "rw,nosuid,nodev"))},
        {"mounts": (("/", "ro"),)},
        {"mounts": (*GOOD.mounts, ("/home", "ro,relatime"))},
        {"mounts": (*GOOD.mounts, ("/var/run/docker.sock", "ro"))},
        {"mounts": (*GOOD.mounts, ("/etc/shadow", "ro"))},
        {"uid_map": "65532 0 1"},
        {"uid_map": ""},
        {"environment": {"HOME": "/tmp"}},
        {"limits": ()},
        {"limits": (Limit(means="cgroup-v1", memory=536870913, pids=64, cpus=1.0),)},
        {"limits": (Limit(means="cgroup-v1", memory=268435456, pids=129, cpus=1.0),)},
        {"limits": (Limit(means="cgroup-v2", memory=268435456, pids=64, cpus=1.5),)},
        {"limits": (Limit(means="cgroup-v2", memory=268435456, pids=64),)},
        {"limits": (Limit(means="rlimit", memory=268435456),)},
    ],
)
def test_the_self_test_notices_each_deviation(
    plan_of: Callable[..., Plan], change: dict[str, Any]
) -> None:
    plan = plan_of("pass")
    assert any(isinstance(op, Tmpfs) for op in plan.operations)
    good = replace(GOOD, environment={**dict(plan.environment), "PWD": "/tmp"})
    facts = judge(plan, good, user_namespace=True)
    assert (facts["seccomp"], facts["limits"]) == ("2", "cgroup-v1")
    with pytest.raises(SelfTestFailedError):
        judge(plan, replace(good, **change), user_namespace=True)


def test_a_weaker_means_holds_where_the_stronger_is_absent(plan_of: Callable[..., Plan]) -> None:
    absent = Limit(means="cgroup-v2")
    weak = Limit(means="rlimit", memory=268435456, pids=64)
    plan = plan_of("pass")
    good = replace(GOOD, environment=dict(plan.environment), limits=(absent, weak))
    facts = judge(plan, good, user_namespace=True)
    assert (facts["limits"], facts["processors"]) == ("rlimit", "not limited")


# the filter -------------------------------------------------------------------------------


def interpret(program: bytes, number: int, arch: int, arguments: tuple[int, ...] = ()) -> int:
    """A classic BPF machine, as far as the filters use it."""
    data = struct.pack("<IIQ", number, arch, 0)
    data += struct.pack("<6Q", *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    steps = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    at, accumulator = 0, 0
    while True:
        code, true, false, value = steps[at]
        at += 1
        if code == 0x20:
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif code == 0x54:
            accumulator &= value
        elif code == 0x06:
            return int(value)
        elif code == 0x05:
            at += value
        elif code == 0x15:
            at += true if accumulator == value else false
        elif code == 0x35:
            at += true if accumulator >= value else false
        else:
            raise AssertionError(code)


ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000


@pytest.mark.parametrize("machine_name", ["x86_64", "aarch64"])
@pytest.mark.parametrize("tier", ["strict", "default", "network"])
def test_the_program_decides_as_the_rules_say(tier: SeccompTier, machine_name: str) -> None:
    program = compile_bpf(tier, machine_name)
    by_number = {NUMBERS[machine_name][rule.call]: rule for rule in rules(tier, machine_name)}
    for number in range(520):
        for arguments in ((0, 0), (1, 1), (2, 1), (2, 3), (10, 2), (16, 3), (40, 1), (0x10000000,),
                          (0x01200011,), (0xFFFFFFFF,)):  # fmt: skip
            got = interpret(program, number, ARCH[machine_name], arguments)
            rule = by_number.get(number)
            if number > 450:
                assert got == ENOSYS
            elif rule is None:
                assert got == EPERM
            else:
                padded = (*arguments, 0, 0, 0)
                held = any(all(padded[t.argument] & t.mask == t.value for t in tests)
                           for tests in rule.alternatives)  # fmt: skip
                assert got == (ALLOW if held else 0x00050000 | rule.error), rule.call


def test_another_architecture_is_killed_and_x32_is_unknown() -> None:
    program = compile_bpf("strict", "x86_64")
    assert interpret(program, 0, ARCH["x86_64"]) == ALLOW
    assert interpret(program, 0, 0x40000003) == KILL
    assert interpret(program, 0x40000000, ARCH["x86_64"]) == ENOSYS


def test_the_numbers_are_those_of_this_machine() -> None:
    if platform.machine() != "x86_64":
        return
    assert NUMBERS["x86_64"]["getpid"] == 39
    assert NUMBERS["aarch64"]["getpid"] == 172
    assert sys.platform == "linux"
