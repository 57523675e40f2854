"""Package URLs, as far as mcps names packages with them (ECMA-427, types pypi, npm)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Self
from urllib.parse import quote, unquote

from mcps_trust.errors import UntrustedDataError

__all__ = ["BadPurlError", "PackageType", "Purl", "normalise_name"]

PackageType = Literal["pypi", "npm"]

_PURL = re.compile(r"pkg:(pypi|npm)/((?:[^/@?#]+/)?[^/@?#]+)@([^/@?#]+)(?:\?platform=([^/@?#&]+))?")


class BadPurlError(UntrustedDataError):
    """The text is not a package URL of a kind that mcps runs."""

    code = "bad-purl"


def normalise_name(kind: PackageType, name: str) -> str:
    """A package's name in the one spelling in which it is compared (for pypi: PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower() if kind == "pypi" else name


@dataclass(frozen=True, slots=True, order=True)
class Purl:
    """One version of one package, on any or on named platforms."""

    kind: PackageType
    name: str
    version: str
    platforms: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the spelling that ``str()`` gives; any other spelling is refused.

        Raises:
            BadPurlError: it is not that.
        """
        match = _PURL.fullmatch(text)
        if match is None:
            raise BadPurlError(
                "not a package URL",
                expected="pkg:pypi/name@version or pkg:npm/…",
                found=repr(text)[:200],
            )
        kind: PackageType = "pypi" if match[1] == "pypi" else "npm"
        platforms = tuple(unquote(match[4]).split(",")) if match[4] else ()
        purl = cls(kind, unquote(match[2]), unquote(match[3]), platforms)
        if str(purl) != text:
            raise BadPurlError(
                "the package URL is not in its normal spelling",
                expected=str(purl),
                found=repr(text)[:200],
            )
        return purl

    @property
    def plain(self) -> str:
        """The package URL without platforms: what a revocation of a package names."""
        return str(Purl(self.kind, self.name, self.version))

    def __str__(self) -> str:
        name = quote(normalise_name(self.kind, self.name), safe="/")
        platforms = quote(",".join(sorted(self.platforms)), safe="")
        tail = f"?platform={platforms}" if platforms else ""
        return f"pkg:{self.kind}/{name}@{quote(self.version, safe='')}{tail}"
