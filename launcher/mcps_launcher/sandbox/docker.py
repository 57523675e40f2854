"""The back end `docker`: the same plan, by the Docker engine.

Created, attached, then started; no network, no log, no capability, read-only root. Standard
streams come over one connection and are taken apart here, so that the relay sees three
descriptors as from any process. Images are made by the Docker SDK, which only this module knows.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mcps_launcher.sandbox.engine import Engine, EngineError
from mcps_launcher.sandbox.plan import INNER_UID, Bind, Data, Link, Plan, Tmpfs
from mcps_launcher.sandbox.process import BackEndUnavailableError, SandboxFailedError, SelfTest
from mcps_launcher.sandbox.runtime_image import REPOSITORY, image_name, write_image
from mcps_launcher.sandbox.seccomp import oci_profile
from mcps_launcher.sandbox.watcher import Watcher, remove_container
from mcps_trust.locked_file import make_private_directory

__all__ = ["SOCKET", "Docker"]

SOCKET = "/var/run/docker.sock"
LABEL = "mcps.session"
_START_TIMEOUT = 20.0  # seconds
_REMOVAL_SECONDS = 10.0
_REMOVAL_UNDER_WAY = 409  # its program ended by itself, and the engine has begun already
_HEADER = struct.Struct(">BxxxI")
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
        self._engine = Engine(SOCKET)
        try:
            self._version = self._engine.version()
        except EngineError as error:
            raise BackEndUnavailableError(
                "the Docker engine does not answer",
                expected=SOCKET,
                found=str(error)[:200],
                remedy="start dockerd, or use the back end bwrap",
            ) from error

    def describe(self) -> Mapping[str, str]:
        """What a decision is bound to."""
        return {"name": "docker", "program": SOCKET, "identity": self._version,
                "image": image_name(), "user": str(INNER_UID)}  # fmt: skip

    def build_image(self) -> str:
        """Make the runtime image, unless it is there; gives its name.

        Raises:
            BackEndUnavailableError: the engine does not take it.
        """
        name = image_name()
        try:
            self._engine.call("GET", f"/images/{name}/json")
        except EngineError as error:
            if error.status != 404:
                raise BackEndUnavailableError(
                    "the engine does not say which images it has", found=str(error)[:300]
                ) from error
            _import_image(name)
        return name

    def images(self) -> list[str]:
        """Runtime images that the engine has.

        Raises:
            BackEndUnavailableError: it does not say.
        """
        query = {"filters": json.dumps({"reference": [REPOSITORY]})}
        try:
            found = self._engine.call("GET", "/images/json", query=query)
        except EngineError as error:
            raise BackEndUnavailableError(
                "the engine does not say which images it has", found=str(error)[:300]
            ) from error
        return sorted(tag for image in found for tag in image["RepoTags"] or ())

    def spawn(self, plan: Plan, session: str) -> DockerProcess:
        """Start a plan.

        Raises:
            SandboxFailedError: the engine did not start it.
        """
        place = make_private_directory(self._folder / "docker" / session)
        container = ""
        try:
            body = container_options(plan, place, session, image_name())
            container = self._create(body)
            process = DockerProcess(self._engine, container, plan, place)
        except BaseException as error:
            with contextlib.suppress(EngineError):
                if container:
                    remove(self._engine, container)
            shutil.rmtree(place, ignore_errors=True)
            if not isinstance(error, OSError):
                raise
            raise SandboxFailedError(
                "the container could not be made", found=str(error)[:300]
            ) from error
        with contextlib.suppress(EngineError):
            self._reap()  # meanwhile: the engine is busy starting it
        return process

    def _create(self, body: Mapping[str, Any]) -> str:
        """Make a container, and first its image where there is none; gives its id."""
        try:
            return str(self._engine.call("POST", "/containers/create", body=body)["Id"])
        except EngineError as error:
            if error.status != 404:
                raise
        self.build_image()
        return str(self._engine.call("POST", "/containers/create", body=body)["Id"])

    def _reap(self) -> None:
        """Remove containers whose launcher is gone, should its watcher have died with it."""
        query = {"all": "1", "filters": json.dumps({"label": [LABEL]})}
        for container in self._engine.call("GET", "/containers/json", query=query):
            owner = container["Labels"].get("mcps.owner", "")
            if owner and not _is_alive(owner):
                with contextlib.suppress(EngineError):
                    remove(self._engine, container["Id"])


def remove(engine: Engine, container: str) -> None:
    """End a container and have it removed; afterwards it is gone.

    Raises:
        EngineError: it was gone already, or the engine is.
    """
    try:
        engine.call("DELETE", f"/containers/{container}", query={"force": "1", "v": "1"})
    except EngineError as error:
        if error.status != _REMOVAL_UNDER_WAY:
            raise
        wait = f"/containers/{container}/wait"
        engine.call("POST", wait, query={"condition": "removed"}, timeout=_REMOVAL_SECONDS)


def container_options(plan: Plan, place: Path, session: str, image: str) -> dict[str, Any]:
    """What the engine is asked for, for a plan (Engine API, ContainerCreate).

    Writes the plan's small files to `place`.
    """
    mounts, tmpfs = [], {"/dev/mqueue": "ro,nosuid,nodev,noexec,size=4k"}
    for number, operation in enumerate(plan.operations):
        match operation:
            case Bind(source, target) if target not in _FROM_IMAGE:
                mounts.append(_bind(os.path.realpath(source), target))
            case Data(target, content) if not target.startswith("/etc/"):
                file = place / str(number)
                file.write_text(content, "utf-8")
                file.chmod(0o444)
                mounts.append(_bind(str(file), target))
            case Tmpfs(target, size):
                tmpfs[target] = f"rw,noexec,nosuid,nodev,size={size},mode=1777"
            case Bind() | Data() | Link():
                pass  # in the image
    place.chmod(0o755)
    limits = plan.resources
    profile = json.dumps(oci_profile(plan.seccomp, plan.machine))
    return {
        "Image": image,
        "Cmd": list(plan.argv),
        "Env": [f"{name}={value}" for name, value in plan.environment],
        "User": f"{INNER_UID}:{INNER_UID}",
        "WorkingDir": plan.directory,
        "Hostname": "mcps",
        "Labels": {LABEL: session, "mcps.owner": f"{os.getpid()}:{_started(os.getpid())}"},
        # The end of the attached connection is the end of the server's input.
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": False,
        "HostConfig": {
            "NetworkMode": "none",
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges", f"seccomp={profile}"],
            "PidsLimit": limits.pids,
            "Memory": limits.memory,
            "MemorySwap": limits.memory,
            "NanoCpus": int(min(limits.cpus, os.cpu_count() or 1) * 1e9),
            "IpcMode": "none",
            "CgroupnsMode": "private",
            "Init": True,
            "AutoRemove": True,
            "LogConfig": {"Type": "none", "Config": {}},
            "Tmpfs": tmpfs,
            "Mounts": mounts,
            "Ulimits": [{"Name": "nofile", "Soft": 1024, "Hard": 1024},
                        {"Name": "core", "Soft": 0, "Hard": 0}],
        },
    }  # fmt: skip


def _bind(source: str, target: str) -> dict[str, Any]:
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": True,
            "BindOptions": {"Propagation": "rprivate"}}  # fmt: skip


def _import_image(name: str) -> None:
    import docker
    import docker.errors
    import requests

    repository, _, tag = name.partition(":")
    try:
        client = docker.DockerClient(base_url=f"unix://{SOCKET}", timeout=60)
        try:
            client.api.import_image_from_data(write_image(), repository=repository, tag=tag)
        finally:
            client.close()
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        raise BackEndUnavailableError(
            "the runtime image cannot be made", found=str(error)[:300]
        ) from error


class DockerProcess:
    """A server in a container."""

    def __init__(self, engine: Engine, container: str, plan: Plan, place: Path) -> None:
        self._engine = engine
        self._container = container
        self._plan = plan
        self._place = place
        self._exit: int | None = None
        self._ended = threading.Event()
        self._watcher = Watcher(lambda _told: remove_container(SOCKET, container))
        self._socket = engine.attach(container)
        inner_in, self.stdin = os.pipe()
        self.stdout, inner_out = os.pipe()
        self.stderr, inner_err = os.pipe()
        self._waiter = _in_thread(self._wait_for_end)
        _in_thread(lambda: self._pump_in(inner_in))
        _in_thread(lambda: self._pump_out(inner_out, inner_err))
        # The engine takes a while to start it; meanwhile the launcher loads what comes next.
        self._failure: EngineError | None = None
        self._starter = _in_thread(self._start)

    def started(self) -> None:
        """Wait for the engine; see `Process.started`."""
        self._starter.join(_START_TIMEOUT)
        if self._failure is not None or self._starter.is_alive():
            raise SandboxFailedError(
                "the container was not started",
                found=str(self._failure or "it takes too long")[:300],
            ) from self._failure

    def self_test(self) -> SelfTest:
        """Read back what holds; see `Process.self_test`."""
        from mcps_launcher.sandbox.readback import judge, observe  # while the sandbox is made

        self.started()
        deadline = time.monotonic() + _START_TIMEOUT
        try:
            state = self._engine.call("GET", f"/containers/{self._container}/json")["State"]
            init = int(state["Pid"])
            program = self._program_pid(init, deadline)
            facts = judge(
                self._plan, observe(program), user_namespace=False, engine_mounts=_ENGINE_MOUNTS
            )
        except (OSError, ValueError, KeyError) as error:
            raise SandboxFailedError(
                "the server ended before it was looked at", found=str(error)[:300]
            ) from error
        return SelfTest(facts=facts)

    def wait(self, timeout: float) -> int | None:
        """The exit code once it has ended, or None after `timeout` seconds."""
        return self._exit if self._ended.wait(timeout) else None

    def kill(self) -> None:
        """Remove the container and all that was made for it."""
        self._starter.join(_START_TIMEOUT)  # what is being started is removed once it is
        with contextlib.suppress(EngineError):
            remove(self._engine, self._container)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._waiter.join(5)  # the other threads end with their streams
        with contextlib.suppress(OSError):
            self._socket.close()
        self._watcher.close()
        shutil.rmtree(self._place, ignore_errors=True)

    def _program_pid(self, init: int, deadline: float) -> int:
        children = Path(f"/proc/{init}/task/{init}/children")
        while time.monotonic() < deadline:
            found = children.read_text("ascii").split()
            if found:
                return int(found[0])
            time.sleep(0.001)
        raise ValueError("the program was not started")

    def _start(self) -> None:
        try:
            self._engine.call("POST", f"/containers/{self._container}/start")
        except EngineError as error:
            self._failure = error

    def _wait_for_end(self) -> None:
        path, query = f"/containers/{self._container}/wait", {"condition": "next-exit"}
        with contextlib.suppress(EngineError, KeyError, ValueError):
            answer = self._engine.call("POST", path, query=query, timeout=None)
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


def _in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


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
