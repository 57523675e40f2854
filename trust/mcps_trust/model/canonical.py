"""RFC 8785 (JCS): one spelling for values that are compared by digest.

Used for tool pins, argument digests and identity keys only. Files are compared by
the digest of their bytes.
"""

from __future__ import annotations

import json
from typing import Any

from mcps_trust.errors import UntrustedDataError
from mcps_trust.model.digest import Sha256, sha256

__all__ = ["NotCanonicalError", "canonical", "canonical_digest"]

_LARGEST = 2**53 - 1
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


class NotCanonicalError(UntrustedDataError):
    """The value has no RFC 8785 form, such as an integer beyond 2^53."""

    code = "not-canonical"
    advice = "integers beyond 2^53 are read differently by different languages: use a string"


def canonical(value: Any) -> bytes:
    """The RFC 8785 bytes of a JSON value.

    Raises:
        NotCanonicalError: the value has none.
    """
    if _is_plain(value):
        return _ENCODER.encode(value).encode()
    import rfc8785  # most values are plain, and never need it

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


def _is_plain(value: object) -> bool:
    """Whether the standard library's encoder gives the RFC 8785 form of `value`.

    It does, but for three things: floats, which it spells otherwise (§3.2.2.3); keys that
    sort otherwise by UTF-16 code units (§3.2.3), which plain ASCII does not; and integers
    beyond 2^53 or lone surrogates, which have no form at all.
    """
    if isinstance(value, str):
        return value.isascii() or _is_encodable(value)
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, int):
        return -_LARGEST <= value <= _LARGEST
    if isinstance(value, dict):
        return all(
            isinstance(key, str) and key.isascii() and _is_plain(item)
            for key, item in value.items()
        )
    return isinstance(value, list) and all(map(_is_plain, value))


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
