"""The one tree of errors.

::

    McpsError
    ├── UsageError            64  the command was called wrongly
    ├── UntrustedDataError    65  data from outside is not what it claims to be
    ├── UnavailableError      69  something needed cannot be reached or is missing
    ├── InternalError         70  mcps itself failed
    ├── StorageError          73  a file or database cannot be written or read
    ├── NotPermittedError     77  everything is well formed, and the answer is no
    └── ConfigurationError    78  this machine or its configuration is not fit

Subclasses live beside the code that raises them and carry a stable ``code``. An
error says what happened, what was expected and found, and what to do. It never
prints and never exits: one handler in each command line does (`mcps_trust.errors`
is imported by all of them). Exit codes follow ``sysexits.h``.
"""

from __future__ import annotations

from typing import ClassVar

from mcps_trust.printable import printable

__all__ = [
    "ConfigurationError",
    "InternalError",
    "McpsError",
    "NotPermittedError",
    "StorageError",
    "UnavailableError",
    "UntrustedDataError",
    "UsageError",
]


class McpsError(Exception):
    """Base of everything that mcps raises on purpose.

    Attributes:
        code: stable, lower case, hyphenated; documented in ``docs/errors.md``.
        exit_code: what a command that meets this error exits with.
        advice: what to do, unless the raiser knows better.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 70
    advice: ClassVar[str] = ""

    def __init__(
        self,
        what: str,
        *,
        expected: str | None = None,
        found: str | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.expected = expected
        self.found = found
        self.remedy = remedy if remedy is not None else self.advice

    def __str__(self) -> str:
        lines = [self.what]
        if self.expected is not None:
            lines.append(f"  expected: {self.expected}")
        if self.found is not None:
            lines.append(f"  found:    {self.found}")
        if self.remedy:
            lines.append(f"  to do:    {self.remedy}")
        return printable("\n".join(lines))

    def to_dict(self) -> dict[str, object]:
        """The error for machines: ``--json`` output, JSON-RPC ``data``, audit."""
        pairs = {
            "code": self.code,
            "what": self.what,
            "expected": self.expected,
            "found": self.found,
            "remedy": self.remedy or None,
        }
        return {key: _encodable(value) for key, value in pairs.items() if value is not None}


def _encodable(text: str) -> str:
    """`text` without halves of surrogate pairs, which file names may hold and UTF-8 cannot."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class UsageError(McpsError):
    """The command line does not say what is needed."""

    code = "usage"
    exit_code = 64


class UntrustedDataError(McpsError):
    """Data from outside does not parse, or is not what it claims to be."""

    code = "untrusted-data"
    exit_code = 65


class UnavailableError(McpsError):
    """A service, file or program that is needed is not there."""

    code = "unavailable"
    exit_code = 69


class InternalError(McpsError):
    """mcps failed in a way that nobody outside caused."""

    code = "internal"
    exit_code = 70
    advice = "please report this, with what the same command says with MCPS_DEBUG=1 around it"


class StorageError(McpsError):
    """A file, folder or database cannot be written or read."""

    code = "storage"
    exit_code = 73


class NotPermittedError(McpsError):
    """The request is understood and refused."""

    code = "not-permitted"
    exit_code = 77


class ConfigurationError(McpsError):
    """This machine, or its configuration, is not fit for the request."""

    code = "configuration"
    exit_code = 78
