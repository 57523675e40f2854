"""Typed access to decoded JSON, with the path to whatever is wrong.

A parser takes what it needs from a `Fields` and then calls `done`, which refuses
keys that nobody asked for: a key we do not know may be one that changes the meaning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar

from mcps_trust.clock import parse_time
from mcps_trust.errors import UntrustedDataError
from mcps_trust.model.digest import Sha256, is_sha256

__all__ = ["FieldError", "Fields", "UnsupportedVersionError"]

T = TypeVar("T")

_MAX_TEXT = 64 * 1024  # characters


class FieldError(UntrustedDataError):
    """One field of a document is missing, unknown or not of its kind."""

    code = "field"


class UnsupportedVersionError(UntrustedDataError):
    """The document is of a format version that this release does not know."""

    code = "unsupported-version"
    advice = "upgrade mcps on this machine"


class Fields:
    """One JSON object and where in its document it stands."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise FieldError(f"{where} is not an object", found=type(value).__name__)
        self._value: dict[str, Any] = value
        self._taken: set[str] = set()
        self.where = where

    @property
    def document(self) -> Mapping[str, Any]:
        """The object itself, for formats that keep keys they do not know."""
        return self._value

    def error(self, key: str, expected: str, found: object) -> FieldError:
        """A `FieldError` about `key`, for the caller to raise."""
        text = repr(found)
        return FieldError(
            f"{self.where}.{key} is not valid",
            expected=expected,
            found=text if len(text) <= 100 else text[:97] + "...",
        )

    def take(self, key: str) -> Any:
        """The value of a required key, whatever it is."""
        if key not in self._value:
            raise FieldError(f"{self.where}.{key} is missing")
        self._taken.add(key)
        return self._value[key]

    def optional(self, key: str, read: Callable[[str], T]) -> T | None:
        """``read(key)``, or None where the key is absent. A null is not absent."""
        return read(key) if key in self._value else None

    def text(
        self, key: str, *, longest: int = _MAX_TEXT, pattern: re.Pattern[str] | None = None
    ) -> str:
        """A string of at most `longest` characters that matches `pattern` as a whole."""
        value = self.take(key)
        if not isinstance(value, str) or not value:
            raise self.error(key, "a text that is not empty", value)
        if len(value) > longest:
            raise self.error(key, f"at most {longest} characters", value)
        if pattern is not None and not pattern.fullmatch(value):
            raise self.error(key, f"a text that matches {pattern.pattern}", value)
        return value

    def integer(self, key: str, *, least: int = 0, most: int = 2**53) -> int:
        """A whole number between `least` and `most`; true is not 1."""
        value = self.take(key)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.error(key, f"a whole number from {least} to {most}", value)
        return value

    def number(self, key: str, *, least: float, most: float) -> float:
        """A number between `least` and `most`."""
        value = self.take(key)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.error(key, "a number", value)
        if not least <= value <= most:
            raise self.error(key, f"a number from {least} to {most}", value)
        return value

    def boolean(self, key: str) -> bool:
        """True or false."""
        value = self.take(key)
        if not isinstance(value, bool):
            raise self.error(key, "true or false", value)
        return value

    def choice(self, key: str, choices: tuple[T, ...]) -> T:
        """One of `choices`, by value and type."""
        value = self.take(key)
        for option in choices:
            if type(value) is type(option) and value == option:
                return option
        raise self.error(key, "one of " + ", ".join(map(str, choices)), value)

    def digest(self, key: str) -> Sha256:
        """A SHA-256 in lower-case hexadecimal."""
        value = self.take(key)
        if not isinstance(value, str) or not is_sha256(value):
            raise self.error(key, "64 lower-case hexadecimal digits", value)
        return Sha256(value)

    def time(self, key: str) -> datetime:
        """A UTC time with whole seconds."""
        value = self.take(key)
        try:
            return parse_time(value if isinstance(value, str) else "")
        except ValueError as error:
            raise self.error(key, "a time such as 2026-11-21T09:30:00Z", value) from error

    def array(self, key: str, *, longest: int = 10_000) -> list[Any]:
        """An array of at most `longest` values."""
        value = self.take(key)
        if not isinstance(value, list):
            raise self.error(key, "an array", value)
        if len(value) > longest:
            raise self.error(key, f"at most {longest} values", len(value))
        return value

    def texts(self, key: str, *, pattern: re.Pattern[str] | None = None) -> tuple[str, ...]:
        """An array of strings, each matching `pattern`."""
        values = self.array(key)
        for value in values:
            if not isinstance(value, str) or (pattern and not pattern.fullmatch(value)):
                expected = f"texts that match {pattern.pattern}" if pattern else "texts"
                raise self.error(key, expected, value)
        return tuple(values)

    def mapping(self, key: str) -> Mapping[str, Any]:
        """An object whose keys are data."""
        value = self.take(key)
        if not isinstance(value, dict):
            raise self.error(key, "an object", value)
        return value

    def object(self, key: str) -> Fields:
        """An object whose keys are fields."""
        return Fields(self.take(key), f"{self.where}.{key}")

    def objects(self, key: str) -> Iterator[Fields]:
        """An array of objects."""
        for index, value in enumerate(self.array(key)):
            yield Fields(value, f"{self.where}.{key}[{index}]")

    def entries(self, key: str) -> Iterator[tuple[str, Fields]]:
        """An object from names, which are data, to objects."""
        for name, value in self.mapping(key).items():
            yield name, Fields(value, f"{self.where}.{key}[{name!r}]")

    def version(self, key: str, supported: int) -> None:
        """Check the format version, first of all fields.

        Raises:
            UnsupportedVersionError: it is a version that this release does not know.
        """
        value = self.take(key)
        if type(value) is not int or value != supported:
            raise UnsupportedVersionError(
                f"{self.where} is of a version that this release does not know",
                expected=str(supported),
                found=repr(value)[:40],
            )

    def done(self) -> None:
        """Refuse every key that was not taken."""
        unknown = sorted(set(self._value) - self._taken)
        if unknown:
            raise FieldError(f"{self.where} has a key that nobody knows", found=repr(unknown[0]))
