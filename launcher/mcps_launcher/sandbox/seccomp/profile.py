"""A tier as rules, and the two forms in which engines take them (pure).

`rules` says per call: allow, refuse, or look at arguments. `compile_bpf` turns that into a
classic BPF program for bubblewrap: native architecture only, one binary search over the
numbers. `oci_profile` turns it into the JSON that OCI runtimes take.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mcps_launcher.sandbox.seccomp.numbers import KNOWN, NUMBERS
from mcps_launcher.sandbox.seccomp.tiers import (
    AF_UNIX,
    ALLOWED,
    ENOSYS_CALLS,
    SOCKET_FAMILIES,
    SOCKET_TYPES,
)
from mcps_trust.errors import ConfigurationError
from mcps_trust.model.permissions import SeccompTier

__all__ = ["ArgumentTest", "Rule", "UnknownMachineError", "compile_bpf", "oci_profile", "rules"]

CLONE_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET (``sched.h``)."""

_ALL_BITS = 0xFFFFFFFF
_SOCK_TYPE_MASK = 0xF  # below SOCK_NONBLOCK and SOCK_CLOEXEC
_PERSONALITIES = (0, 0xFFFFFFFF)  # plain Linux, and the question which one it is

# <linux/audit.h>
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_OCI_ARCH = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}

# <linux/bpf_common.h>, <linux/seccomp.h>
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_JUMP, _EQUAL, _GREATER_EQUAL = 0x05, 0x15, 0x35
_KILL_PROCESS, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_ARGUMENTS = 0, 4, 16
_MAX_SHORT_JUMP = 255


class UnknownMachineError(ConfigurationError):
    """There is no system call table for this machine's processor."""

    code = "unknown-machine"


@dataclass(frozen=True, slots=True)
class ArgumentTest:
    """``argument & mask == value``, on the lower 32 bits."""

    argument: int
    mask: int
    value: int


@dataclass(frozen=True, slots=True)
class Rule:
    """One call is allowed if any of the alternatives holds; each is a list of tests.

    One empty alternative allows always; no alternative never. `error` is what a refusal
    gives.
    """

    call: str
    alternatives: tuple[tuple[ArgumentTest, ...], ...]
    error: int = errno.EPERM


def rules(tier: SeccompTier, machine: str) -> tuple[Rule, ...]:
    """All rules of a tier for the calls that `machine` has, by number.

    Raises:
        UnknownMachineError: there is no table for it.
    """
    if machine not in NUMBERS:
        raise UnknownMachineError(
            "no system call table for this machine", found=machine, expected=", ".join(NUMBERS)
        )
    always = [Rule(call, ((),)) for call in ALLOWED[tier]]
    absent = [Rule(call, (), errno.ENOSYS) for call in ENOSYS_CALLS]
    numbers = NUMBERS[machine]
    found = [rule for rule in (*always, *absent, *_by_argument(tier)) if rule.call in numbers]
    return tuple(sorted(found, key=lambda rule: numbers[rule.call]))


def _by_argument(tier: SeccompTier) -> tuple[Rule, ...]:
    sockets: list[tuple[ArgumentTest, ...]] = []
    for family in SOCKET_FAMILIES[tier]:
        is_family = ArgumentTest(0, _ALL_BITS, family)
        if family == AF_UNIX:
            sockets.append((is_family,))
        else:
            sockets += [
                (is_family, ArgumentTest(1, _SOCK_TYPE_MASK, kind)) for kind in SOCKET_TYPES
            ]
    personalities = tuple((ArgumentTest(0, _ALL_BITS, value),) for value in _PERSONALITIES)
    return (
        Rule("clone", ((ArgumentTest(0, CLONE_NAMESPACES, 0),),)),
        Rule("socketpair", ((ArgumentTest(0, _ALL_BITS, AF_UNIX),),)),
        Rule("socket", tuple(sockets)),
        Rule("personality", personalities),
    )


def compile_bpf(tier: SeccompTier, machine: str) -> bytes:
    """The tier as a classic BPF program (``struct sock_filter[]``).

    Any architecture but the native one kills the process: the 32-bit entry makes sockets
    with a call whose arguments a filter cannot see. Numbers above the table, x32 among
    them, are answered with ENOSYS.

    Raises:
        UnknownMachineError: there is no table for `machine`.
    """
    blocks = [(NUMBERS[machine][rule.call], _block(rule)) for rule in rules(tier, machine)]
    program = [
        (_LOAD, 0, 0, _OFFSET_ARCH),
        (_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _OFFSET_NUMBER),
        (_GREATER_EQUAL, 0, 1, KNOWN + 1),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
        *_search(blocks),
    ]
    return b"".join(struct.pack("<HBBI", *step) for step in program)


_Step = tuple[int, int, int, int]


def _search(blocks: Sequence[tuple[int, list[_Step]]]) -> list[_Step]:
    """Steps that find the number's block, or refuse."""
    if len(blocks) == 1:
        number, block = blocks[0]
        return [(_EQUAL, 1, 0, number), (_RETURN, 0, 0, _ERRNO | errno.EPERM), *block]
    middle = len(blocks) // 2
    left, right = _search(blocks[:middle]), _search(blocks[middle:])
    pivot = blocks[middle][0]
    if len(left) <= _MAX_SHORT_JUMP:
        return [(_GREATER_EQUAL, len(left), 0, pivot), *left, *right]
    return [(_GREATER_EQUAL, 0, 1, pivot), (_JUMP, 0, 0, len(left)), *left, *right]


def _block(rule: Rule) -> list[_Step]:
    refuse: _Step = (_RETURN, 0, 0, _ERRNO | rule.error)
    allow: _Step = (_RETURN, 0, 0, _ALLOW)
    steps: list[_Step] = []
    for tests in rule.alternatives:
        if not tests:
            return [allow]
        for position, test in enumerate(tests):
            past_this_alternative = 3 * (len(tests) - position - 1) + 1
            steps += [
                (_LOAD, 0, 0, _OFFSET_ARGUMENTS + 8 * test.argument),
                (_AND, 0, 0, test.mask),
                (_EQUAL, 0, past_this_alternative, test.value),
            ]
        steps.append(allow)
    return [*steps, refuse]


def oci_profile(tier: SeccompTier, machine: str) -> dict[str, Any]:
    """The tier as an OCI seccomp profile.

    Raises:
        UnknownMachineError: there is no table for `machine`.
    """
    always: list[str] = []
    others: list[dict[str, Any]] = []
    for rule in rules(tier, machine):
        if rule.alternatives == ((),):
            always.append(rule.call)
        elif rule.error == errno.ENOSYS:
            others.append(
                {"names": [rule.call], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS}
            )
        for tests in rule.alternatives:
            if tests:
                arguments = [
                    {"index": t.argument, "value": t.mask, "valueTwo": t.value,
                     "op": "SCMP_CMP_MASKED_EQ"}
                    for t in tests
                ]  # fmt: skip
                others.append({"names": [rule.call], "action": "SCMP_ACT_ALLOW", "args": arguments})
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.EPERM,
        "architectures": [_OCI_ARCH[machine]],
        "syscalls": [{"names": always, "action": "SCMP_ACT_ALLOW"}, *others],
    }
