"""Digests: always SHA-256, always 64 lower-case hexadecimal digits."""

from __future__ import annotations

import hashlib
import re
from typing import NewType

__all__ = ["Sha256", "is_sha256", "sha256"]

Sha256 = NewType("Sha256", str)

_SHA256 = re.compile(r"[0-9a-f]{64}")


def sha256(data: bytes) -> Sha256:
    """The digest of `data`."""
    return Sha256(hashlib.sha256(data).hexdigest())


def is_sha256(text: str) -> bool:
    """Whether `text` is spelled as a digest."""
    return _SHA256.fullmatch(text) is not None
