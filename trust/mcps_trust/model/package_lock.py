"""A Node closure: ``package-lock.json`` version 3, narrowed to what can be run as signed.

Every package outside the root is a registry tarball with an ``integrity``; no links, no
URLs, no git, no workspaces. Install scripts are never run, so whether a package has one
does not matter.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from mcps_trust.model import strict_json
from mcps_trust.model.fields import Fields
from mcps_trust.model.purl import Purl
from mcps_trust.model.pylock import BadLockError

__all__ = ["LockedTarball", "NodeClosure"]

MAX_PACKAGES = 5_000
_PART = r"(?:@[a-z0-9~-][a-z0-9._~-]{0,100}/)?[A-Za-z0-9~_-][A-Za-z0-9._~-]{0,150}"
_PLACE = re.compile(rf"node_modules/{_PART}(?:/node_modules/{_PART}){{0,30}}")
_NAME = re.compile(_PART)
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+-]{0,100}")
_SHA512_BYTES = 64


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class LockedTarball:
    """One tarball of a closure and the folder that it unpacks to."""

    place: str
    name: str
    version: str
    integrity: str
    optional: bool = False
    os: tuple[str, ...] = ()
    cpu: tuple[str, ...] = ()
    libc: tuple[str, ...] = ()

    @property
    def purl(self) -> Purl:
        """The package that the tarball belongs to."""
        return Purl("npm", self.name, self.version)

    @property
    def sha512(self) -> bytes:
        """The digest that ``integrity`` spells in base64."""
        return base64.b64decode(self.integrity.removeprefix("sha512-"), validate=True)

    def fits(self, os: str, cpu: str, libc: str) -> bool:
        """Whether the package is meant for this platform, in npm's own words."""
        return _allows(self.os, os) and _allows(self.cpu, cpu) and _allows(self.libc, libc)


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeClosure:
    """A valid Node lock."""

    tarballs: tuple[LockedTarball, ...]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the bytes of a ``package-lock.json``.

        Raises:
            BadLockError: something in it cannot be run as signed.
            UnsupportedVersionError: not version 3 of the format.
            UntrustedDataError: it is not strict JSON.
        """
        fields = Fields(strict_json.loads(data, limit=16 * 1024 * 1024), "package-lock.json")
        fields.version("lockfileVersion", 3)
        packages = fields.mapping("packages")
        if not 2 <= len(packages) <= MAX_PACKAGES or "" not in packages:
            raise BadLockError(
                "a lock has a root and at least one package", found=f"{len(packages)} entries"
            )
        tarballs = tuple(
            sorted(_tarball(place, value) for place, value in packages.items() if place)
        )
        places = {tarball.place.lower() for tarball in tarballs}
        if len(places) != len(tarballs):
            raise BadLockError("two packages would share a folder where case does not count")
        releases = {(tarball.name, tarball.version) for tarball in tarballs}
        if len(releases) != len({(t.name, t.version, t.integrity) for t in tarballs}):
            raise BadLockError("one version of a package is locked with two contents")
        return cls(tarballs=tarballs)

    def files(self) -> tuple[LockedTarball, ...]:
        """Every tarball for every platform, sorted by place."""
        return self.tarballs

    def select(self, os: str, cpu: str, libc: str) -> tuple[LockedTarball, ...]:
        """The tarballs that one runtime installs.

        Raises:
            BadLockError: a package that is not optional is not for this platform.
        """
        chosen = []
        for tarball in self.tarballs:
            if tarball.fits(os, cpu, libc):
                chosen.append(tarball)
            elif not tarball.optional:
                raise BadLockError(
                    f"{tarball.name} is needed, and not made for this platform",
                    expected=f"{tarball.os} {tarball.cpu}",
                    found=f"{os} {cpu}",
                )
        return tuple(chosen)


def _allows(conditions: tuple[str, ...], value: str) -> bool:
    if f"!{value}" in conditions:
        return False
    wanted = [condition for condition in conditions if not condition.startswith("!")]
    return not wanted or value in wanted or "any" in wanted


def _tarball(place: str, value: Mapping[str, Any]) -> LockedTarball:
    if not _PLACE.fullmatch(place) or "/../" in place or place.endswith("/.."):
        raise BadLockError("a package has a place outside node_modules", found=repr(place)[:200])
    fields = Fields(value, f"package-lock.json.packages[{place!r}]")
    for key in ("resolved", "link", "inBundle"):
        if key in value:
            raise BadLockError(
                f"{place} has {key!r}",
                expected="a registry tarball by its hash",
                remedy="lock again: a lock of mcps names no URL and no link",
            )
    name = fields.optional("name", lambda key: fields.text(key, pattern=_NAME))
    return LockedTarball(
        place=place,
        name=name or place.rpartition("node_modules/")[2],
        version=fields.text("version", pattern=_VERSION),
        integrity=_integrity(fields),
        optional="optional" in value and fields.boolean("optional"),
        os=fields.optional("os", fields.texts) or (),
        cpu=fields.optional("cpu", fields.texts) or (),
        libc=fields.optional("libc", fields.texts) or (),
    )


def _integrity(fields: Fields) -> str:
    text = fields.text("integrity", longest=200)
    try:
        raw = base64.b64decode(text.removeprefix("sha512-"), validate=True)
    except binascii.Error as error:
        raise fields.error("integrity", "sha512-<base64>", text) from error
    if not text.startswith("sha512-") or len(raw) != _SHA512_BYTES:
        raise fields.error("integrity", "sha512-<base64>", text)
    return text
