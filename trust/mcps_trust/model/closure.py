"""A closure by its kind: one reader for the locks of every package type."""

from __future__ import annotations

from mcps_trust.model.package_lock import NodeClosure
from mcps_trust.model.purl import PackageType
from mcps_trust.model.pylock import PythonClosure

__all__ = ["Closure", "parse_closure"]

Closure = PythonClosure | NodeClosure


def parse_closure(kind: PackageType, data: bytes) -> Closure:
    """Read the bytes of a lock.

    Raises:
        UntrustedDataError: it is not a valid lock of that kind.
    """
    return PythonClosure.parse(data) if kind == "pypi" else NodeClosure.parse(data)
