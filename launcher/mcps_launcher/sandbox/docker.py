"""The back end `docker`: the same plan, by the Docker engine.

Created, attached, then started; no network, no log, no capability, read-only root. The only
module that knows the Docker SDK. Standard streams come over one hijacked connection and are
taken apart here, so that the relay sees three descriptors as from any process.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any

import docker
import docker.errors
import docker.types
import requests

from mcps_launcher.sandbox.plan import INNER_UID, Bind, Data, Link, Plan, Tmpfs
from mcps_launcher.sandbox.process import BackEndUnavailableError, SandboxFailedError, SelfTest
from mcps_launcher.sandbox.readback import judge, observe
from mcps_launcher.sandbox.runtime_image import image_name, write_image
from mcps_launcher.sandbox.seccomp import oci_profile
from mcps_trust.locked_file import make_private_directory

__all__ = ["SOCKET", "Docker"]

SOCKET = "/var/run/docker.sock"
LABEL = "mcps.session"
_START_TIMEOUT = 20.0  # seconds
_HEADER = struct.Struct(">BxxxI")
_ERRORS = (docker.errors.DockerException, requests.RequestException, OSError, TimeoutError)
# Mounted by the engine for every container; root's, and nothing that uid 65532 can write.
_ENGINE_MOUNTS = frozenset({"/dev", "/sys/fs/cgroup"})
_FROM_IMAGE = ("/usr", "/etc/ld.so.cache")


class Docker:
    """Runs plans with the Docker engine of this machine."""

    def __init__(self, folder: Path) -> None:
        """Use the engine at `SOCKET`; small files go below `folder`.

        Raises:
            BackEndUnavailableError: it does not answer.
        """
        self._folder = folder
        try:
            with socket.socket(socket.AF_UNIX) as probe:  # the SDK would leave its own open
                probe.connect(SOCKET)
            self._client = docker.DockerClient(base_url=f"unix://{SOCKET}", timeout=60)
            version = self._client.version()
        except _ERRORS as error:
            raise BackEndUnavailableError(
                "the Docker engine does not answer",
                expected=SOCKET,
                found=str(error)[:200],
                remedy="start dockerd, or use the back end bwrap",
            ) from error
        self._version = str(version["Version"])

    def describe(self) -> Mapping[str, str]:
        """What a decision is bound to."""
        return {"name": "docker", "program": SOCKET, "identity": self._version,
                "image": image_name(), "user": str(INNER_UID)}  # fmt: skip

    def close(self) -> None:
        """Close the connections to the engine."""
        self._client.close()

    def build_image(self) -> str:
        """Make the runtime image, unless it is there; gives its name.

        Raises:
            BackEndUnavailableError: the engine does not take it.
        """
        name = image_name()
        try:
            with contextlib.suppress(docker.errors.ImageNotFound):
                self._client.images.get(name)
                return name
            repository, _, tag = name.partition(":")
            self._client.api.import_image_from_data(write_image(), repository=repository, tag=tag)
        except _ERRORS as error:
            raise BackEndUnavailableError(
                "the runtime image cannot be made", found=str(error)[:300]
            ) from error
        return name

    def images(self) -> list[str]:
        """Runtime images that the engine has."""
        return sorted(
            tag for image in self._client.images.list(name="mcps-runtime") for tag in image.tags
        )

    def spawn(self, plan: Plan, session: str) -> DockerProcess:
        """Start a plan.

        Raises:
            SandboxFailedError: the engine did not start it.
        """
        place = make_private_directory(self._folder / "docker" / session)
        try:
            options = container_options(plan, place, session)
            image = self.build_image()
            self._reap()
            container = self._client.containers.create(image, list(plan.argv), **options)
        except _ERRORS as error:
            shutil.rmtree(place, ignore_errors=True)
            raise SandboxFailedError(
                "the container could not be made", found=str(error)[:300]
            ) from error
        try:
            return DockerProcess(self._client, container, plan, place)
        except _ERRORS as error:
            with contextlib.suppress(*_ERRORS):
                container.remove(force=True)
            shutil.rmtree(place, ignore_errors=True)
            raise SandboxFailedError(
                "the container could not be started", found=str(error)[:300]
            ) from error

    def _reap(self) -> None:
        """Remove containers whose launcher is gone, should its watcher have died with it."""
        for container in self._client.containers.list(all=True, filters={"label": LABEL}):
            owner = container.labels.get("mcps.owner", "")
            if owner and not _is_alive(owner):
                with contextlib.suppress(*_ERRORS):
                    container.remove(force=True)


def container_options(plan: Plan, place: Path, session: str) -> dict[str, Any]:
    """What the engine is asked for, for a plan; writes its small files to `place`."""
    mounts, tmpfs = [], {"/dev/mqueue": "ro,nosuid,nodev,noexec,size=4k"}
    for number, operation in enumerate(plan.operations):
        match operation:
            case Bind(source, target) if target not in _FROM_IMAGE:
                mounts.append(
                    docker.types.Mount(
                        target,
                        os.path.realpath(source),
                        type="bind",
                        read_only=True,
                        propagation="rprivate",
                    )
                )
            case Data(target, content) if not target.startswith("/etc/"):
                file = place / str(number)
                file.write_text(content, "utf-8")
                file.chmod(0o444)
                mounts.append(docker.types.Mount(target, str(file), type="bind", read_only=True))
            case Tmpfs(target, size):
                tmpfs[target] = f"rw,noexec,nosuid,nodev,size={size},mode=1777"
            case Bind() | Data() | Link():
                pass  # in the image
    place.chmod(0o755)
    limits = plan.resources
    profile = json.dumps(oci_profile(plan.seccomp, plan.machine))
    return {
        "network_mode": "none",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges", f"seccomp={profile}"],
        "user": f"{INNER_UID}:{INNER_UID}",
        "pids_limit": limits.pids,
        "mem_limit": limits.memory,
        "memswap_limit": limits.memory,
        "nano_cpus": int(min(limits.cpus, os.cpu_count() or 1) * 1e9),
        "ipc_mode": "none",
        "cgroupns": "private",
        "init": True,
        "auto_remove": True,
        "stdin_open": True,
        "tty": False,
        "hostname": "mcps",
        "working_dir": plan.directory,
        "environment": dict(plan.environment),
        "log_config": docker.types.LogConfig(type="none"),
        "tmpfs": tmpfs,
        "mounts": mounts,
        "ulimits": [docker.types.Ulimit(name="nofile", soft=1024, hard=1024),
                    docker.types.Ulimit(name="core", soft=0, hard=0)],
        "use_config_proxy": False,  # else the SDK adds proxies, and their passwords, to the environment
        "labels": {LABEL: session, "mcps.owner": f"{os.getpid()}:{_started(os.getpid())}"},
    }  # fmt: skip


class DockerProcess:
    """A server in a container."""

    def __init__(self, client: Any, container: Any, plan: Plan, place: Path) -> None:
        self._client = client
        self._container = container
        self._plan = plan
        self._place = place
        self._exit: int | None = None
        self._ended = threading.Event()
        self._watcher = subprocess.Popen(
            [sys.executable, "-I", "-S", str(files("mcps_launcher.sandbox") / "docker_watcher.py"),
             SOCKET, container.id],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={}, start_new_session=True,
        )  # fmt: skip
        streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        attached = client.api.attach_socket(container.id, params=streams)
        self._socket: socket.socket = attached._sock
        self._keep = attached
        inner_in, self.stdin = os.pipe()
        self.stdout, inner_out = os.pipe()
        self.stderr, inner_err = os.pipe()
        self._threads = []
        for work in (
            self._wait_for_end,
            lambda: self._pump_in(inner_in),
            lambda: self._pump_out(inner_out, inner_err),
        ):
            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            self._threads.append(thread)
        # The engine takes a while to start it; meanwhile the launcher loads what comes next.
        self._starting = ThreadPoolExecutor(1)
        self._started = self._starting.submit(container.start)

    def self_test(self) -> SelfTest:
        """Read back what holds; see `Process.self_test`."""
        deadline = time.monotonic() + _START_TIMEOUT
        try:
            self._started.result(_START_TIMEOUT)
            self._container.reload()
            init = int(self._container.attrs["State"]["Pid"])
            program = self._program_pid(init, deadline)
            facts = judge(
                self._plan, observe(program), user_namespace=False, engine_mounts=_ENGINE_MOUNTS
            )
        except (*_ERRORS, ValueError, KeyError) as error:
            raise SandboxFailedError(
                "the server ended before it was looked at", found=str(error)[:300]
            ) from error
        return SelfTest(facts=facts)

    def wait(self, timeout: float) -> int | None:
        """The exit code once it has ended, or None after `timeout` seconds."""
        return self._exit if self._ended.wait(timeout) else None

    def kill(self) -> None:
        """Remove the container and all that was made for it."""
        self._starting.shutdown()  # what is being started is removed once it is
        with contextlib.suppress(*_ERRORS):
            self._container.remove(force=True)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[:1]:
            thread.join(5)  # the one that waits for the end; the others end with their streams
        with contextlib.suppress(OSError):
            self._keep.close()
            self._socket.close()
        if self._watcher.stdin is not None:
            self._watcher.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._watcher.wait(5)
        shutil.rmtree(self._place, ignore_errors=True)

    def _program_pid(self, init: int, deadline: float) -> int:
        children = Path(f"/proc/{init}/task/{init}/children")
        while time.monotonic() < deadline:
            found = children.read_text("ascii").split()
            if found:
                return int(found[0])
            time.sleep(0.001)
        raise ValueError("the program was not started")

    def _wait_for_end(self) -> None:
        with contextlib.suppress(*_ERRORS):
            answer = self._client.api.wait(self._container.id, condition="next-exit", timeout=None)
            self._exit = int(answer["StatusCode"])
        self._ended.set()

    def _pump_in(self, source: int) -> None:
        with contextlib.suppress(OSError):
            while chunk := os.read(source, 1 << 18):
                self._socket.sendall(chunk)
            self._socket.shutdown(socket.SHUT_WR)
        os.close(source)

    def _pump_out(self, out: int, err: int) -> None:
        """Take the two streams apart: each frame has 8 bytes of header (Engine API, attach)."""
        buffer = bytearray()
        left, target = 0, out
        with contextlib.suppress(OSError):
            while chunk := self._socket.recv(1 << 18):
                buffer += chunk
                while buffer:
                    if not left:
                        if len(buffer) < _HEADER.size:
                            break
                        kind, left = _HEADER.unpack_from(buffer)
                        target = err if kind == 2 else out
                        del buffer[: _HEADER.size]
                        continue
                    part = bytes(buffer[:left])
                    del buffer[: len(part)]
                    left -= len(part)
                    _write_all(target, part)
        os.close(out)
        os.close(err)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _started(pid: int) -> str:
    """When a process began, in the kernel's own count: pids are used again."""
    stat = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    return stat.rpartition(")")[2].split()[19]


def _is_alive(owner: str) -> bool:
    pid, _, started = owner.partition(":")
    try:
        return _started(int(pid)) == started
    except (OSError, ValueError, IndexError):
        return False
