"""What is to be locked: ``pypi:NAME==VERSION``, ``npm:NAME@VERSION``, or a project folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from mcps_trust.errors import UsageError
from mcps_trust.model.purl import normalise_name

__all__ = ["BadSourceError", "Locked", "Source"]

_PYPI = re.compile(r"pypi:([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.+!_-]+)")
_NPM = re.compile(r"npm:((?:@[a-z0-9~._-]+/)?[a-z0-9~._-]+)@([0-9][A-Za-z0-9.+-]*)")


class BadSourceError(UsageError):
    """The text does not say what to lock."""

    code = "bad-source"


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A package to lock; `folder` is set for a local project."""

    kind: Literal["pypi", "npm"]
    name: str
    version: str
    folder: Path | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``pypi:…``, ``npm:…`` or a path.

        Raises:
            BadSourceError: it is none of them, or the version is not exact.
        """
        if match := _PYPI.fullmatch(text):
            return cls(kind="pypi", name=normalise_name("pypi", match[1]), version=match[2])
        if match := _NPM.fullmatch(text):
            return cls(kind="npm", name=match[1], version=match[2])
        folder = Path(text)
        if text and (folder / "pyproject.toml").is_file():
            return cls(kind="pypi", name="", version="", folder=folder)
        raise BadSourceError(
            "not something that can be locked",
            found=text,
            expected="pypi:NAME==VERSION, npm:NAME@VERSION, or a folder with a pyproject.toml",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Locked:
    """A lock, and the project's own files that no index has: by name, their bytes."""

    source: Source
    lock: bytes
    artifacts: Mapping[str, bytes] = field(default_factory=dict)
