"""What the child does between fork and exec: a mount namespace, and losing root.

bubblewrap is never run as root: inside, its user 65532 would then be the host's root.
As root, the child makes a mount namespace, mounts what the sandbox needs, and becomes an
unprivileged user. As a user, it makes a user namespace first, which is what gives it the
right to mount the one thing that bubblewrap cannot: a /tmp that is not executable.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass

from mcps_launcher.sandbox.limits import Limits

__all__ = ["Stage"]

# <linux/sched.h>, <linux/mount.h>
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND = 2, 4, 8, 4096
_MS_REC, _MS_PRIVATE = 16384, 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """An empty folder over which the child mounts, unseen by anybody else.

    Attributes:
        folder: the folder; exists and is empty.
        tmp_size: bytes of the writable memory at ``folder/tmp``.
        binds: host paths to show below `folder`, where the unprivileged user could not
            reach them: name to source. Only as root.
        uid: who to become; the caller's own for an ordinary user.
        limits: taken on before privileges are dropped.
        failure: descriptor that a reason is written to if the child fails.
        watcher: descriptor that the child writes its id to, for whoever ends it should the
            launcher be gone.
    """

    folder: str
    tmp_size: int
    binds: tuple[tuple[str, str], ...]
    uid: int
    limits: Limits
    failure: int
    watcher: int

    # Between fork and exec no coverage is written; the sandbox's own tests prove what it does.
    def enter(self) -> None:  # pragma: no cover
        """Called in the child. What it raises, the parent sees as a failed start."""
        try:
            # A group of its own: bubblewrap's second process is in it until it has its own.
            os.setpgid(0, 0)
            os.write(self.watcher, str(os.getpid()).encode())
            self._enter()
        except Exception as error:
            os.write(self.failure, f"{type(error).__name__}: {error}".encode()[:500])
            raise

    def _enter(self) -> None:  # pragma: no cover
        self.limits.enter()
        if os.geteuid() == 0:
            _unshare(_CLONE_NEWNS)
            _mount("none", "/", None, _MS_REC | _MS_PRIVATE, None)
        else:
            uid, gid = os.geteuid(), os.getegid()
            _unshare(_CLONE_NEWUSER | _CLONE_NEWNS)
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"{uid} {uid} 1")
            _write("/proc/self/gid_map", f"{gid} {gid} 1")
        quiet = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
        _mount("tmpfs", self.folder, "tmpfs", quiet, "size=64k,mode=0755")
        os.mkdir(f"{self.folder}/tmp")
        _mount("tmpfs", f"{self.folder}/tmp", "tmpfs", quiet, f"size={self.tmp_size},mode=1777")
        for name, source in self.binds:
            target = f"{self.folder}/{name}"
            os.mkdir(target)
            _mount(source, target, None, _MS_BIND, None)
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(self.uid, self.uid, self.uid)
            os.setresuid(self.uid, self.uid, self.uid)
        self.limits.enter_as_user()


def _unshare(flags: int) -> None:  # pragma: no cover
    if _libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)}")


def _mount(  # pragma: no cover
    source: str, target: str, kind: str | None, flags: int, data: str | None
) -> None:
    encoded = [None if text is None else text.encode() for text in (source, target, kind)]
    options = None if data is None else data.encode()
    if _libc.mount(*encoded, ctypes.c_ulong(flags), options) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {target}: {os.strerror(number)}")


def _write(path: str, text: str) -> None:  # pragma: no cover
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
