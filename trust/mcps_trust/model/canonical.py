"""RFC 8785 (JCS): one spelling for values that are compared by digest.

Used for tool pins, argument digests and identity keys only. Files are compared by
the digest of their bytes.
"""

from __future__ import annotations

from typing import Any

import rfc8785

from mcps_trust.errors import UntrustedDataError
from mcps_trust.model.digest import Sha256, sha256

__all__ = ["NotCanonicalError", "canonical", "canonical_digest"]


class NotCanonicalError(UntrustedDataError):
    """The value has no RFC 8785 form, such as an integer beyond 2^53."""

    code = "not-canonical"
    advice = "integers beyond 2^53 are read differently by different languages: use a string"


def canonical(value: Any) -> bytes:
    """The RFC 8785 bytes of a JSON value.

    Raises:
        NotCanonicalError: the value has none.
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise NotCanonicalError("the value has no canonical form", found=str(error)) from error


def canonical_digest(value: Any) -> Sha256:
    """SHA-256 over `canonical`.

    Raises:
        NotCanonicalError: as `canonical`.
    """
    return sha256(canonical(value))
