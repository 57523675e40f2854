"""JSON, read so that no two readers can disagree about what it says.

Python takes the last of two equal keys, accepts ``NaN`` and unpaired surrogates,
and turns ``1e999`` into infinity; other languages decide otherwise. A document on
which readers may differ is a document that can be shown to a reviewer and mean
something else to a machine (RFC 8259 §4, §6, §8.2; RFC 7493). All of these are refused.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any, NoReturn

from mcps_trust.errors import UntrustedDataError

__all__ = [
    "MAX_DEPTH",
    "DuplicateKeyError",
    "JsonSyntaxError",
    "NotANumberError",
    "TooDeepError",
    "TooLargeError",
    "UnpairedSurrogateError",
    "dumps",
    "loads",
    "loads_canonical",
]

MAX_DEPTH = 64
"""Nested arrays and objects, as levels. Far above any real document."""

MAX_VALUES = 500_000
"""Values of all kinds in one document: each takes up to a hundred times its text in memory."""

_DEFAULT_LIMIT = 4 * 1024 * 1024  # bytes


class JsonSyntaxError(UntrustedDataError):
    """The bytes are not one JSON document in UTF-8."""

    code = "json-syntax"


class DuplicateKeyError(UntrustedDataError):
    """An object names the same key twice."""

    code = "json-duplicate-key"


class NotANumberError(UntrustedDataError):
    """``NaN``, an infinity, or a number too large to be held."""

    code = "json-not-a-number"


class TooDeepError(UntrustedDataError):
    """Arrays and objects are nested deeper than `MAX_DEPTH`."""

    code = "json-too-deep"


class TooLargeError(UntrustedDataError):
    """The document has more bytes than its kind may have."""

    code = "json-too-large"


class UnpairedSurrogateError(UntrustedDataError):
    """A string contains half of a surrogate pair, which no UTF-8 can carry."""

    code = "json-unpaired-surrogate"


def loads(data: bytes, *, limit: int = _DEFAULT_LIMIT, values: int = MAX_VALUES) -> Any:
    """Read one JSON document.

    Args:
        data: the document, UTF-8 without byte order mark.
        limit: size in bytes beyond which it is not even looked at.
        values: how many values it may hold.

    Raises:
        TooLargeError, JsonSyntaxError, DuplicateKeyError, NotANumberError,
        TooDeepError, UnpairedSurrogateError: as their names say.
    """
    if len(data) > limit:
        raise TooLargeError(
            "the document is too large",
            expected=f"at most {limit} bytes",
            found=f"{len(data)} bytes",
        )
    _check_count(data, values)
    try:
        text = data.decode("utf-8")
        value = _DECODER.decode(text)
    except RecursionError as error:
        raise TooDeepError("the document is nested too deeply") from error
    except ValueError as error:  # also UnicodeDecodeError and JSONDecodeError
        raise JsonSyntaxError("the document is not JSON in UTF-8", found=str(error)) from error
    # Each level costs an opening bracket, so few brackets prove a shallow document.
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        _check_depth(value)
    if b"\\ud" in data or b"\\uD" in data:
        _check_surrogates(value)
    return value


def dumps(value: object) -> bytes:
    """Write `value` the one way in which our own formats are written.

    Sorted keys, no white space, UTF-8, one newline at the end. Two equal values
    give equal bytes, so a digest over the file is a digest over the value.
    """
    text = json.dumps(
        value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return text.encode("utf-8") + b"\n"


def loads_canonical(data: bytes, *, limit: int = _DEFAULT_LIMIT, values: int = MAX_VALUES) -> Any:
    """Read one of our own formats, which must be spelled as `dumps` spells it.

    Raises:
        JsonSyntaxError: it is JSON, but spelled otherwise.
        UntrustedDataError: as `loads`.
    """
    value = loads(data, limit=limit, values=values)
    if dumps(value) != data:
        raise JsonSyntaxError(
            "the document is not in the project's own spelling",
            expected="sorted keys, no white space, one final newline",
        )
    return value


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise DuplicateKeyError("an object names a key twice", found=repr(twice)[:100])
    return result


def _constant(name: str) -> NoReturn:
    raise NotANumberError("the document holds something that is not a number", found=name)


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise NotANumberError("a number is too large to be held", found=text[:40])
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float)


_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)


def _check_count(data: bytes, most: int) -> None:
    """Refuse a document of more than `most` values, before any of them is made."""
    if _separators(data) <= most:
        return
    # Some of them may stand in texts.
    if _separators(_STRING.sub(b"", data)) > most:
        raise TooLargeError("the document holds too many values", expected=f"at most {most}")


def _separators(data: bytes) -> int:
    return data.count(b",") + data.count(b"[") + data.count(b"{")


def _check_depth(value: object) -> None:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _containers(node)]
        if not level:
            return
    raise TooDeepError("the document is nested too deeply", expected=f"at most {MAX_DEPTH} levels")


def _containers(node: dict[str, object] | list[object]) -> list[dict[str, object] | list[object]]:
    children = node.values() if isinstance(node, dict) else node
    return [child for child in children if isinstance(child, dict | list)]


def _check_surrogates(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise UnpairedSurrogateError("a string holds half of a surrogate pair") from error
