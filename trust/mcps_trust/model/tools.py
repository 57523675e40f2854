"""What a server says about itself, captured at vetting time, and pinned by digest.

A pin covers the whole definition in its RFC 8785 form, annotations and unknown keys
included: a server that flips ``destructiveHint`` has changed its tool.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from mcps_trust.model.canonical import canonical_digest
from mcps_trust.model.digest import Sha256
from mcps_trust.model.fields import Fields

__all__ = ["Capabilities", "Captured", "Era", "ToolSurface", "definition_key"]

Era = Literal["legacy", "modern"]
Capabilities = Literal["none", "all"]

_ERAS: tuple[Era, ...] = ("legacy", "modern")
_CAPABILITIES: tuple[Capabilities, ...] = ("none", "all")


@dataclass(frozen=True, kw_only=True, slots=True)
class Captured:
    """One definition, and under which eras and client capabilities it was shown.

    `definition` is a tool, prompt or resource template as the server sent it, or
    ``{"instructions": text}``.
    """

    definition: Mapping[str, Any]
    eras: tuple[Era, ...]
    capabilities: tuple[Capabilities, ...]

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read it; raises `FieldError`, `NotCanonicalError`."""
        captured = cls(
            definition=fields.mapping("definition"),
            eras=_subset(fields, "eras", _ERAS),
            capabilities=_subset(fields, "capabilities", _CAPABILITIES),
        )
        canonical_digest(captured.definition)
        fields.done()
        return captured

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "definition": self.definition,
            "eras": list(self.eras),
            "capabilities": list(self.capabilities),
        }

    @property
    def pin(self) -> Sha256:
        """The digest that a later definition must have."""
        return canonical_digest(self.definition)


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolSurface:
    """All that a server shows to a client before it is asked to do anything."""

    protocol_versions: tuple[str, ...]
    instructions: tuple[Captured, ...] = ()
    items: tuple[Captured, ...] = ()
    resource_templates: tuple[Captured, ...] = ()
    prompts: tuple[Captured, ...] = ()

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read it.

        Raises:
            FieldError: a field is not of its kind, or a definition has no name.
            NotCanonicalError: a definition cannot be pinned.
        """
        surface = cls(
            protocol_versions=fields.texts("protocolVersions"),
            instructions=_captured(fields, "instructions", "instructions"),
            items=_captured(fields, "items", "name"),
            resource_templates=_captured(fields, "resourceTemplates", "uriTemplate"),
            prompts=_captured(fields, "prompts", "name"),
        )
        if not surface.protocol_versions:
            raise fields.error("protocolVersions", "at least one version", [])
        fields.done()
        return surface

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "protocolVersions": list(self.protocol_versions),
            "instructions": [item.to_dict() for item in self.instructions],
            "items": [item.to_dict() for item in self.items],
            "resourceTemplates": [item.to_dict() for item in self.resource_templates],
            "prompts": [item.to_dict() for item in self.prompts],
        }

    def tool_names(self) -> tuple[str, ...]:
        """The tools' names, each once, sorted."""
        return tuple(sorted({str(item.definition["name"]) for item in self.items}))


def definition_key(kind: str) -> str:
    """The member of a definition of `kind` that names it."""
    return {"tools": "name", "prompts": "name", "resourceTemplates": "uriTemplate"}[kind]


def _captured(fields: Fields, key: str, name: str) -> tuple[Captured, ...]:
    return tuple(_named(fields, key, name))


def _named(fields: Fields, key: str, name: str) -> Iterator[Captured]:
    for item in fields.objects(key):
        captured = Captured.from_fields(item)
        if not isinstance(captured.definition.get(name), str):
            raise item.error("definition", f"an object with a text {name!r}", captured.definition)
        yield captured


def _subset(fields: Fields, key: str, whole: tuple[Any, ...]) -> tuple[Any, ...]:
    found = fields.texts(key)
    if not found or tuple(value for value in whole if value in found) != found:
        raise fields.error(key, "some of " + ", ".join(whole) + ", in this order", found)
    return found
