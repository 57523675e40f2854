"""Which system calls each tier lets through (pure data).

A default-deny list: what is not named is refused with EPERM, and what the table does not
know at all with ENOSYS, so that newer libraries fall back. Compared with what container
engines let through, these are left out: tracing and reading of other processes, io_uring
and the older asynchronous I/O, System V and POSIX message queues and shared memory,
anonymous executable files, namespaces, mounts, keys, changes of identity, ownership and
clocks. Sockets are filtered by family and type; io_uring would make them past the filter.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mcps_trust.model.permissions import SeccompTier

__all__ = ["ALLOWED", "ENOSYS_CALLS", "SOCKET_FAMILIES", "SOCKET_TYPES"]

_FILES = """
access chdir chmod close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2
fadvise64 fallocate fchdir fchmod fchmodat fcntl fdatasync fgetxattr flistxattr flock fstat
fstatfs fsync ftruncate futimesat getcwd getdents getdents64 getxattr lgetxattr link linkat
listxattr llistxattr lseek lstat mkdir mkdirat newfstatat open openat openat2 pread64 preadv
preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv rename renameat
renameat2 rmdir sendfile splice stat statfs statx symlink symlinkat sync_file_range truncate
umask unlink unlinkat utime utimensat utimes write writev inotify_add_watch inotify_init
inotify_init1 inotify_rm_watch
"""
_MEMORY = """
brk madvise membarrier mincore mmap mprotect mremap msync munmap pkey_alloc pkey_free
pkey_mprotect
"""
_PROCESSES = """
arch_prctl capget execve exit exit_group fork get_robust_list getcpu getegid geteuid getgid
getgroups getitimer getpgid getpgrp getpid getppid getpriority getresgid getresuid getrlimit
getrusage getsid gettid getuid kill pidfd_open pidfd_send_signal prctl prlimit64 restart_syscall
rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min
sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_yield set_robust_list
set_tid_address setitimer setpgid setpriority setrlimit setsid sigaltstack tgkill times tkill
uname vfork wait4 waitid pause alarm sysinfo
"""
_TIME = """
clock_getres clock_gettime clock_nanosleep gettimeofday nanosleep time timer_create timer_delete
timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime
"""
_WAITING = """
epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
epoll_wait_old eventfd eventfd2 futex futex_waitv pipe pipe2 poll ppoll pselect6 select signalfd
signalfd4
"""
# On sockets that exist already: a socket pair of the process's own, or what it was handed.
_SOCKETS = """
accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg
sendmmsg sendmsg sendto setsockopt shutdown
"""
_OTHER = "getrandom ioctl"

_COMMON = frozenset(f"{_FILES} {_MEMORY} {_PROCESSES} {_TIME} {_WAITING} {_OTHER}".split())
_WITH_SOCKETS = _COMMON | frozenset(_SOCKETS.split())
_STRICT_SOCKETS = frozenset(
    [
        "getpeername",
        "getsockname",
        "getsockopt",
        "recvfrom",
        "recvmmsg",
        "recvmsg",
        "sendmmsg",
        "sendmsg",
        "sendto",
        "setsockopt",
        "shutdown",
    ]
)

ALLOWED: Mapping[SeccompTier, frozenset[str]] = MappingProxyType(
    {
        "strict": _COMMON | _STRICT_SOCKETS,
        "default": _WITH_SOCKETS,
        "network": _WITH_SOCKETS,
    }
)
"""Calls allowed whatever their arguments. ``clone``, ``socket``, ``socketpair`` and
``personality`` are decided by argument, in `profile`."""

ENOSYS_CALLS = frozenset({"clone3"})
"""Calls that libraries try first and do without: a filter cannot read their arguments."""

AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
SOCK_STREAM, SOCK_DGRAM = 1, 2

SOCKET_FAMILIES: Mapping[SeccompTier, tuple[int, ...]] = MappingProxyType(
    {"strict": (), "default": (AF_UNIX,), "network": (AF_UNIX, AF_INET, AF_INET6)}
)
"""Families that ``socket`` may make; ``socketpair`` may always make AF_UNIX."""

SOCKET_TYPES = (SOCK_STREAM, SOCK_DGRAM)
"""Types that ``socket`` may make of the internet families: no raw sockets."""
