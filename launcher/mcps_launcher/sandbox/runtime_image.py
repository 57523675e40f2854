"""An image with the host's own interpreters, for the back end `docker`.

Taken from ``/usr``: the interpreters, their standard libraries, and the shared libraries
that these need or that wheels may rely on. Set-id bits are stripped; nothing else is in it
but the places where a plan mounts things.
"""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

from mcps_launcher.install.inside import host_links
from mcps_launcher.install.installed import stat_identity
from mcps_launcher.install.runtime import candidates, find_runtime
from mcps_launcher.sandbox.plan import INNER_UID
from mcps_trust.errors import McpsError
from mcps_trust.model.digest import sha256

__all__ = ["REPOSITORY", "image_name", "write_image"]

REPOSITORY = "mcps-runtime"
_RECIPE = "3"  # to be raised with every change of what goes in
_FOLDERS = ("app", "bytecode", "dev", "etc", "mcps", "proc", "sys", "tmp")
_FILES = {"etc/passwd": f"mcps:x:{INNER_UID}:{INNER_UID}::/tmp:/usr/sbin/nologin\n",
          "etc/group": f"mcps:x:{INNER_UID}:\n", "etc/hosts": "127.0.0.1 localhost\n",
          "etc/resolv.conf": "", "etc/ld.so.cache": "", "mcps/start_python.py": "",
          "mcps/compile_python.py": ""}  # fmt: skip
_SKIPPED = {"test", "tests", "idlelib", "ensurepip", "config-3.11-x86_64-linux-gnu"}
# PEP 600: libraries that a manylinux wheel may expect of the host.
_MANYLINUX = ("libstdc++.so.6", "libgcc_s.so.1", "libz.so.1", "libdl.so.2", "libm.so.6",
              "librt.so.1", "libutil.so.1", "libpthread.so.0", "libnsl.so.1", "libnss_files.so.2",
              "libresolv.so.2", "libexpat.so.1")  # fmt: skip


def image_name() -> str:
    """The image for the interpreters that are here now; asked at each start, so only by `stat`."""
    found = [stat_identity(path) for name in ("python", "node") for path in candidates(name)]
    return f"{REPOSITORY}:{sha256(' '.join((_RECIPE, *found)).encode())[:24]}"


def write_image() -> bytes:
    """The root file system, as a tar file for ``docker import``."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in _FOLDERS:
            # The engine gives a tmpfs the mode of the folder that it covers.
            _add(archive, name, b"", 0o1777 if name == "tmp" else 0o755, tarfile.DIRTYPE)
        for name, text in _FILES.items():
            _add(archive, name, text.encode(), 0o444, tarfile.REGTYPE)
        for target, to in host_links().items():
            info = tarfile.TarInfo(target.lstrip("/"))
            info.type, info.linkname = tarfile.SYMTYPE, to
            archive.addfile(info)
        for path in sorted(set(_paths())):
            _add_host_file(archive, path)
    return buffer.getvalue()


def _paths() -> Iterator[str]:
    programs = []
    for name in ("python", "node"):
        try:
            runtime = find_runtime(name, ">=0")
        except McpsError:
            continue
        programs.append(runtime.path)
        yield runtime.path
        if name == "python":
            short = ".".join(runtime.version.split(".")[:2])
            for place in _walk(f"/usr/lib/python{short}"):
                yield place
                if place.endswith(".so"):
                    programs.append(place)
    yield from _walk("/usr/share/zoneinfo")
    for program in programs:
        yield from _libraries(program)
    for folder in Path("/usr/lib").glob("*-linux-gnu"):
        yield from (str(folder / name) for name in _MANYLINUX if (folder / name).exists())


def _walk(top: str) -> Iterator[str]:
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name not in _SKIPPED]
        yield from (os.path.join(folder, name) for name in names)


def _libraries(program: str) -> Iterator[str]:
    """Shared libraries of a program of root's, as its own loader finds them."""
    done = subprocess.run(
        ["/usr/bin/ldd", program],
        capture_output=True,
        text=True,
        check=False,
        env={"LANG": "C.UTF-8"},
    )
    for line in done.stdout.splitlines():
        path = line.partition("=>")[2].strip() or line.strip()
        path = path.partition(" (")[0].strip()
        if path.startswith("/"):
            folder, name = os.path.split(path)
            yield os.path.join(os.path.realpath(folder), name)


def _add_host_file(archive: tarfile.TarFile, path: str) -> None:
    """A file at its own path; a link as the file that it leads to."""
    try:
        data, status = Path(path).read_bytes(), os.stat(path)
    except OSError:
        return
    mode = stat.S_IMODE(status.st_mode) & 0o555
    # Bytecode of the standard library is good for a source of that time only.
    _add(archive, path.lstrip("/"), data, mode, tarfile.REGTYPE, time=int(status.st_mtime))


def _add(
    archive: tarfile.TarFile, name: str, data: bytes, mode: int, kind: bytes, time: int = 0
) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.type, info.mtime = len(data), mode, kind, time
    archive.addfile(info, io.BytesIO(data))
