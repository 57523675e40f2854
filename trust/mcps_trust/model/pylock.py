"""A Python closure: ``pylock.toml`` (PEP 751), narrowed to what can be run as signed.

Wheels only, each with a SHA-256 and a relative path of one segment; no URLs, no source
distributions, no directories, no version control. `packaging.pylock` reads the format
and selects what fits an environment; this module adds what must not be in it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from packaging.errors import ExceptionGroup  # noqa: A004 - packaging raises its own
from packaging.markers import Environment
from packaging.pylock import (
    PackageWheel,
    Pylock,
    PylockSelectError,
    PylockUnsupportedVersionError,
    PylockValidationError,
)
from packaging.tags import Tag
from packaging.utils import parse_wheel_filename

from mcps_trust.errors import UntrustedDataError
from mcps_trust.model.digest import Sha256, is_sha256
from mcps_trust.model.fields import UnsupportedVersionError
from mcps_trust.model.purl import Purl

__all__ = [
    "BadLockError",
    "LockedWheel",
    "NoMatchingFileError",
    "PythonClosure",
    "marker_environment",
]

MAX_PACKAGES = 2_000
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,250}\.whl")


class BadLockError(UntrustedDataError):
    """A lock is not of its format, or holds what cannot be run as signed."""

    code = "bad-lock"


class NoMatchingFileError(UntrustedDataError):
    """A locked package has no file for this machine's runtime."""

    code = "no-matching-file"
    advice = "ask the publisher to lock this platform too, or run another release"


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class LockedWheel:
    """One wheel of a closure."""

    name: str
    version: str
    filename: str
    sha256: Sha256

    @property
    def purl(self) -> Purl:
        """The package that the wheel belongs to."""
        return Purl("pypi", self.name, self.version)


@dataclass(frozen=True, slots=True)
class PythonClosure:
    """A valid Python lock."""

    _lock: Pylock

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the bytes of a ``pylock.toml``.

        Raises:
            BadLockError: not PEP 751, or not narrow enough.
            UnsupportedVersionError: a newer major version of the format.
        """
        try:
            lock = Pylock.from_dict(tomllib.loads(data.decode("utf-8")))
        except PylockUnsupportedVersionError as error:
            raise UnsupportedVersionError(
                "the lock is of an unknown version", found=str(error)
            ) from error
        except (PylockValidationError, ExceptionGroup, ValueError, RecursionError) as error:
            raise BadLockError("not a pylock.toml (PEP 751)", found=str(error)[:300]) from error
        if not lock.packages or len(lock.packages) > MAX_PACKAGES:
            raise BadLockError(
                "a lock names at least one package",
                expected=f"1 to {MAX_PACKAGES}",
                found=str(len(lock.packages)),
            )
        for package in lock.packages:
            where = f"package {package.name}"
            if package.version is None or not package.wheels:
                raise BadLockError(f"{where} has no version or no wheel")
            if package.sdist or package.archive or package.directory or package.vcs:
                raise BadLockError(f"{where} is not only wheels", expected="wheels")
            if package.index is not None:
                raise BadLockError(
                    f"{where} names an index",
                    expected="no URLs",
                    remedy="where files come from is the host's configuration",
                )
            for wheel in package.wheels:
                _check_wheel(wheel, package.name, str(package.version))
        closure = cls(lock)
        names = [wheel.filename for wheel in closure.files()]
        if len(set(names)) != len(names):
            raise BadLockError("the lock names a file twice")
        return closure

    @property
    def requires_python(self) -> str | None:
        """The lock's own ``requires-python``."""
        return None if self._lock.requires_python is None else str(self._lock.requires_python)

    def files(self) -> tuple[LockedWheel, ...]:
        """Every wheel for every platform, sorted."""
        return tuple(
            sorted(
                _locked(package.name, str(package.version), wheel)
                for package in self._lock.packages
                for wheel in package.wheels or ()
            )
        )

    def select(self, environment: Environment, tags: Sequence[Tag]) -> tuple[LockedWheel, ...]:
        """The wheels that one runtime installs, sorted.

        Args:
            environment: the runtime's marker values (PEP 508).
            tags: the wheel tags that it accepts, best first.

        Raises:
            NoMatchingFileError: the lock has nothing for this runtime.
        """
        try:
            chosen = list(self._lock.select(environment=environment, tags=tags))
        except PylockSelectError as error:
            raise NoMatchingFileError(
                "the lock does not fit this runtime", found=str(error)
            ) from error
        return tuple(sorted(_selected(chosen)))


def _selected(chosen: Iterable[tuple[object, object]]) -> Iterable[LockedWheel]:
    for package, wheel in chosen:
        if not isinstance(wheel, PackageWheel):  # pragma: no cover - refused by parse()
            msg = "a lock that holds only wheels selected something else"
            raise TypeError(msg)
        yield _locked(package.name, str(package.version), wheel)  # type: ignore[attr-defined]  # select() types it loosely


def _locked(name: str, version: str, wheel: PackageWheel) -> LockedWheel:
    return LockedWheel(
        name=name, version=version, filename=wheel.filename, sha256=Sha256(wheel.hashes["sha256"])
    )


def _check_wheel(wheel: PackageWheel, name: str, version: str) -> None:
    where = f"a wheel of {name}"
    if wheel.url is not None:
        raise BadLockError(
            f"{where} names a URL",
            expected="no URLs",
            remedy="where files come from is the host's configuration",
        )
    if wheel.path is None or not _FILE_NAME.fullmatch(wheel.path):
        raise BadLockError(
            f"{where} has a path that is not one file name", found=repr(wheel.path)[:100]
        )
    if not is_sha256(str(wheel.hashes.get("sha256", ""))):
        raise BadLockError(f"{where} has no SHA-256", found=str(sorted(wheel.hashes)))
    # That it is a wheel's file name, and of this package, was checked with the form; but a
    # version has many spellings, and revocations name one.
    if str(parse_wheel_filename(wheel.filename)[1]) != version:
        raise BadLockError(
            f"{where} spells its version in another way",
            expected=f"{name} {version}",
            found=wheel.filename,
        )


def marker_environment(python_version: str, python_full_version: str, machine: str) -> Environment:
    """The PEP 508 environment of a CPython on Linux.

    Args:
        python_version: such as ``3.11``.
        python_full_version: such as ``3.11.2``.
        machine: ``x86_64`` or ``aarch64``.
    """
    return Environment(
        implementation_name="cpython",
        implementation_version=python_full_version,
        os_name="posix",
        platform_machine=machine,
        platform_release="",
        platform_system="Linux",
        platform_version="",
        python_full_version=python_full_version,
        platform_python_implementation="CPython",
        python_version=python_version,
        sys_platform="linux",
    )
