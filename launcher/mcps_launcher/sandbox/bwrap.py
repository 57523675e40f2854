"""The back end `bwrap`: bubblewrap, without root.

Environment and descriptors are exact, seccomp is handed over as a program of our own, and
what bubblewrap cannot do (a /tmp that is not executable) is done before it starts.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from mcps_launcher.sandbox.lease import UidLease
from mcps_launcher.sandbox.limits import Limits, prepare_limits
from mcps_launcher.sandbox.namespace import Stage
from mcps_launcher.sandbox.plan import INNER_UID, Bind, Data, Link, Plan, Tmpfs
from mcps_launcher.sandbox.process import (
    BackEndUnavailableError,
    SandboxFailedError,
    SelfTest,
    SelfTestFailedError,
)
from mcps_launcher.sandbox.seccomp import compile_bpf
from mcps_launcher.sandbox.watcher import Watcher, end_group
from mcps_trust.locked_file import make_private_directory

__all__ = ["BWRAP", "Bwrap", "bwrap_arguments"]

BWRAP = "/usr/bin/bwrap"
_START_TIMEOUT = 10.0  # seconds
_RUN = Path("/run/mcps")
_HIDDEN_FOLDERS = ("/usr/local",)
# What container engines hide of /proc as well.
_MASKED = ("kcore", "keys", "kallsyms", "config.gz", "latency_stats", "timer_list",
           "timer_stats", "sched_debug", "sysrq-trigger")  # fmt: skip
_MASKED_FOLDERS = ("acpi", "asound", "scsi")


class Bwrap:
    """Runs plans with bubblewrap."""

    def __init__(self, folder: Path) -> None:
        """Use bubblewrap; `folder` is the launcher's own, for an ordinary user's stage.

        Raises:
            BackEndUnavailableError: it is not installed, or could be anybody's.
        """
        try:
            stat = os.stat(BWRAP)
        except OSError as error:
            raise BackEndUnavailableError(
                "bubblewrap is not installed", expected=BWRAP, remedy="apt-get install bubblewrap"
            ) from error
        if stat.st_uid != 0 or stat.st_mode & 0o022:
            raise BackEndUnavailableError(
                f"{BWRAP} is not root's alone", found=f"uid {stat.st_uid}, mode {stat.st_mode:o}"
            )
        self._identity = f"{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}"
        self._is_root = os.geteuid() == 0
        self._folder = folder

    def describe(self) -> Mapping[str, str]:
        """What a decision is bound to."""
        user = "leased" if self._is_root else str(os.geteuid())
        return {"name": "bwrap", "program": BWRAP, "identity": self._identity, "user": user}

    def spawn(self, plan: Plan, session: str) -> BwrapProcess:
        """Start a plan.

        Raises:
            SandboxFailedError: it did not start; nothing of it runs.
            BackEndUnavailableError: no user id is free.
        """
        lease = (
            UidLease(make_private_directory(_RUN, mode=0o755) / "uids") if self._is_root else None
        )
        stage_folder = make_private_directory(
            _RUN / "stage" if self._is_root else self._folder / "stage", mode=0o755
        )
        limits = prepare_limits(plan.resources, session)
        try:
            return self._spawn(plan, stage_folder, limits, lease)
        except BaseException:
            limits.remove()
            if lease is not None:
                lease.release()
            raise

    def _spawn(
        self, plan: Plan, stage_folder: Path, limits: Limits, lease: UidLease | None
    ) -> BwrapProcess:
        keep: list[int] = []
        failure_read, failure_write = os.pipe()
        info_read, info_write = os.pipe()
        watcher = Watcher(end_group)
        own_ends: list[int] = []
        try:
            filter_fd = _memory_file("seccomp", compile_bpf(plan.seccomp, plan.machine), keep)
            data = {
                op.target: _memory_file("data", op.content.encode(), keep)
                for op in plan.operations
                if isinstance(op, Data)
            }
            binds = _staged(plan) if lease is not None else {}
            stage = Stage(
                folder=str(stage_folder),
                tmp_size=sum(op.size for op in plan.operations if isinstance(op, Tmpfs)),
                binds=tuple((name, source) for source, name in binds.items()),
                uid=lease.uid if lease is not None else os.geteuid(),
                limits=limits,
                failure=failure_write,
                watcher=watcher.pipe,
            )
            argv = bwrap_arguments(
                plan,
                stage=str(stage_folder),
                staged=binds,
                data=data,
                seccomp=filter_fd,
                info=info_write,
            )
            streams = [os.pipe() for _ in range(3)]
            theirs = (streams[0][0], streams[1][1], streams[2][1])
            keep += theirs
            own_ends = [streams[0][1], streams[1][0], streams[2][0]]
            child = subprocess.Popen(  # the parent's environment is not passed on
                argv, env=dict(plan.environment), stdin=theirs[0], stdout=theirs[1],
                stderr=theirs[2], pass_fds=(filter_fd, info_write, *data.values()), cwd="/",
                preexec_fn=stage.enter,  # noqa: PLW1509 - this process has one thread
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            watcher.close()
            os.close(failure_write)
            failure_write = -1
            reason = os.read(failure_read, 600).decode("utf-8", "replace")
            for descriptor in own_ends:
                os.close(descriptor)
            raise SandboxFailedError(
                "the sandbox could not be prepared", found=reason or str(error)
            ) from error
        finally:
            for descriptor in (*keep, info_write, failure_write, failure_read):
                if descriptor >= 0:
                    with contextlib.suppress(OSError):
                        os.close(descriptor)
        return BwrapProcess(plan, child, own_ends, info_read, limits, lease, watcher)


class BwrapProcess:
    """A server in bubblewrap."""

    def __init__(
        self,
        plan: Plan,
        child: subprocess.Popen[bytes],
        streams: list[int],
        info: int,
        limits: Limits,
        lease: UidLease | None,
        watcher: Watcher,
    ) -> None:
        self.stdin, self.stdout, self.stderr = streams
        self._plan = plan
        self._child = child
        self._info = info
        self._limits = limits
        self._lease = lease
        self._watcher = watcher

    def started(self) -> None:
        """Nothing to wait for: `spawn` has seen it executed."""

    def self_test(self) -> SelfTest:
        """Read back what holds; see `Process.self_test`."""
        from mcps_launcher.sandbox.readback import judge, observe  # while the sandbox is made

        deadline = time.monotonic() + _START_TIMEOUT
        try:
            init = self._init_pid(deadline)
            program = self._program_pid(init, deadline)
            facts = judge(self._plan, observe(program), user_namespace=True)
        except (OSError, ValueError, KeyError) as error:
            raise SandboxFailedError(
                "the server ended before it was looked at", found=self._last_words() or str(error)
            ) from error
        return SelfTest(facts=facts)

    def wait(self, timeout: float) -> int | None:
        """The exit code, as a shell would give it, or None after `timeout` seconds."""
        try:
            code = self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        return 128 - code if code < 0 else code

    def kill(self) -> None:
        """End everything inside, and free group and user id."""
        if self._child.poll() is None:
            self._child.kill()  # its namespace's first process dies with it, and all inside
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)  # where that does not know so yet
        self._child.wait()
        for pid in self._limits.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._limits.remove()
        if self._info >= 0:
            os.close(self._info)
            self._info = -1
        if self._lease is not None:
            self._lease.release()
        self._watcher.close()

    def _init_pid(self, deadline: float) -> int:
        text = b""
        while b"}" not in text:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self._info], [], [], max(left, 0))
            chunk = os.read(self._info, 4096) if ready else b""
            if not chunk:
                raise ValueError("bubblewrap did not start")
            text += chunk
        return int(json.loads(text)["child-pid"])

    def _program_pid(self, init: int, deadline: float) -> int:
        """The server's own process: the child of the sandbox's first, once it was executed."""
        children = Path(f"/proc/{init}/task/{init}/children")
        program = self._plan.argv[0]
        while time.monotonic() < deadline:
            for text in children.read_text("ascii").split():
                if os.path.basename(os.readlink(f"/proc/{text}/exe")) == os.path.basename(
                    os.path.realpath(program)
                ):
                    return int(text)
            if self._child.poll() is not None:
                break
            time.sleep(0.0005)
        raise ValueError("the program was not started")

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            ready, _, _ = select.select([self.stderr], [], [], 0.2)
            if ready:
                return os.read(self.stderr, 2000).decode("utf-8", "replace").strip()
        return ""


def bwrap_arguments(
    plan: Plan,
    *,
    stage: str,
    staged: Mapping[str, str],
    data: Mapping[str, int],
    seccomp: int,
    info: int,
) -> list[str]:
    """The command line for a plan (pure but for what of /proc and /usr exists here).

    Args:
        stage: the folder that `Stage` mounts over.
        staged: sources that are bound there, to their names.
        data: targets of small files to the descriptors that hold them.
        seccomp, info: descriptors.
    """
    argv = [
        BWRAP, "--unshare-all", "--unshare-user", "--uid", str(INNER_UID), "--gid", str(INNER_UID),
        "--disable-userns", "--die-with-parent", "--new-session", "--cap-drop", "ALL",
        "--hostname", "mcps",
    ]  # fmt: skip
    for operation in plan.operations:
        match operation:
            case Bind(source, target):
                place = f"{stage}/{staged[source]}" if source in staged else source
                argv += ["--ro-bind", place, target]
            case Tmpfs(target, _):
                argv += ["--bind", f"{stage}/tmp", target]
            case Link(target, to):
                argv += ["--symlink", to, target]
            case Data(target, _):
                argv += ["--perms", "0444", "--ro-bind-data", str(data[target]), target]
    for folder in _HIDDEN_FOLDERS:
        argv += ["--tmpfs", folder, "--remount-ro", folder]
    argv += ["--proc", "/proc"]
    for name in _MASKED:
        if os.path.exists(f"/proc/{name}"):
            argv += ["--ro-bind", "/dev/null", f"/proc/{name}"]
    for name in _MASKED_FOLDERS:
        if os.path.isdir(f"/proc/{name}"):
            argv += ["--tmpfs", f"/proc/{name}", "--remount-ro", f"/proc/{name}"]
    return [
        *argv, "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev", "--tmpfs", "/dev/shm",
        "--remount-ro", "/dev/shm", "--remount-ro", "/dev", "--remount-ro", "/",
        "--chdir", plan.directory, "--seccomp", str(seccomp), "--info-fd", str(info),
        "--", *plan.argv,
    ]  # fmt: skip


def _staged(plan: Plan) -> dict[str, str]:
    """Sources that an unprivileged user may not be able to reach, and a name for each."""
    sources = [
        op.source
        for op in plan.operations
        if isinstance(op, Bind) and not op.source.startswith(("/usr", "/etc"))
    ]
    return {source: f"bind-{number}" for number, source in enumerate(sources)}


def _memory_file(name: str, content: bytes, keep: list[int]) -> int:
    """A descriptor on an anonymous file: each is consumed by one start."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    keep.append(descriptor)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


__all__ += ["BwrapProcess", "SelfTestFailedError"]
