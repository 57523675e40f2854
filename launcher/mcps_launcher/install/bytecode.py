"""Bytecode for a Python closure, made by its own runtime inside the strict sandbox."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator

from mcps_launcher.install.inside import host_links, machine, script
from mcps_launcher.install.installed import Installed
from mcps_launcher.install.runtime import Runtime
from mcps_launcher.install.tree import BadPackageError, PackageFile, check_path
from mcps_launcher.sandbox.process import BackEnd
from mcps_launcher.sandbox.strict import strict_plan
from mcps_trust.model.permissions import Permissions, Resources

__all__ = ["compile_closure"]

_MEMORY = 1024 * 1024 * 1024  # bytes
_MAX_OUTPUT = 512 * 1024 * 1024  # bytes
_TIMEOUT = 180.0  # seconds


def compile_closure(
    installed: Installed, runtime: Runtime, back_end: BackEnd, session: str
) -> Iterator[PackageFile]:
    """Compile every module; gives the ``.pyc`` files.

    Raises:
        BadPackageError: the compiler in the sandbox said something else than it should.
        SandboxFailedError: it could not be started.
    """
    compiler = script("compile_python.py")
    plan = strict_plan(
        app=str(installed.tree), bytecode=None,
        argv=[runtime.path, "-I", "-S", "-B", "-W", "ignore", compiler.target],
        permissions=Permissions(resources=Resources(memory=_MEMORY, pids=16, cpus=4)),
        environment={}, machine=machine(), host_links=host_links(), scripts=(compiler,),
    )  # fmt: skip
    process = back_end.spawn(plan, session)
    try:
        process.started()
        os.close(process.stdin)
        data, words = _drain(process.stdout, process.stderr)
        if process.wait(10) != 0:
            raise BadPackageError(
                "the closure could not be compiled", found=words[-300:].decode("utf-8", "replace")
            )
    finally:
        process.kill()
        for descriptor in (process.stdout, process.stderr):
            os.close(descriptor)
    yield from _frames(data)


def _frames(data: bytes) -> Iterator[PackageFile]:
    position = 0
    try:
        while position < len(data):
            end = data.index(b"\n", position)
            path_size, body_size = map(int, data[position:end].split())
            start = end + 1 + path_size
            path = data[end + 1 : start].decode("utf-8")
            yield PackageFile(check_path(path, "bytecode"), data[start : start + body_size])
            position = start + body_size
    except ValueError as error:
        raise BadPackageError("the compiler's output cannot be read") from error


def _drain(out: int, err: int) -> tuple[bytes, bytes]:
    """All of two streams, read side by side so that neither blocks the other."""
    found: dict[int, list[bytes]] = {out: [], err: []}
    open_streams, size = {out, err}, 0
    deadline = time.monotonic() + _TIMEOUT
    while open_streams:
        ready, _, _ = select.select(list(open_streams), [], [], 1.0)
        for stream in ready:
            chunk = os.read(stream, 1 << 20)
            size += len(chunk)
            found[stream].append(chunk)
            if not chunk:
                open_streams.discard(stream)
        if size > _MAX_OUTPUT or time.monotonic() > deadline:
            raise BadPackageError("compiling the closure takes too long or gives too much")
    return b"".join(found[out]), b"".join(found[err])
