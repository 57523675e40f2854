"""``server.json``, schema 2025-12-11 of the official MCP registry.

Our own model of the parts that mcps reads; the document itself is kept as it came,
unknown keys included, and is what gets signed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from mcps_trust.model.fields import Fields
from mcps_trust.model.names import SEGMENT, ServerName

__all__ = ["SCHEMA", "Package", "ServerJson"]

SCHEMA = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"

_NAME = re.compile(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """One entry of ``packages``."""

    registry_type: str
    identifier: str
    version: str | None
    transport: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerJson:
    """A server as its publisher describes it; `document` is the whole of it."""

    name: ServerName
    version: str
    description: str
    title: str | None
    packages: tuple[Package, ...]
    document: Mapping[str, Any]

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read a decoded ``server.json``.

        Raises:
            FieldError: a field that mcps reads is not as the schema says.
            BadNameError: the name does not fit into a path (design §4).
        """
        fields = Fields(value, "server.json")
        schema = fields.optional("$schema", fields.text)
        if schema is not None and schema != SCHEMA:
            raise fields.error("$schema", SCHEMA, schema)
        raw_packages = fields.optional("packages", lambda key: tuple(fields.objects(key)))
        return cls(
            name=ServerName.parse(fields.text("name", longest=200, pattern=_NAME)),
            version=fields.text("version", longest=128, pattern=SEGMENT),
            description=fields.text("description", longest=100),
            title=fields.optional("title", lambda key: fields.text(key, longest=100)),
            packages=tuple(_package(item) for item in raw_packages or ()),
            document=dict(fields.document),
        )

    def to_dict(self) -> dict[str, Any]:
        """The document as it came."""
        return dict(self.document)


def _package(fields: Fields) -> Package:
    version = fields.optional("version", lambda key: fields.text(key, longest=128))
    if version == "latest" or (version and re.search(r"[\^~<>=*|\s]", version)):
        raise fields.error("version", "an exact version", version)
    return Package(
        registry_type=fields.text("registryType", longest=40),
        identifier=fields.text("identifier", longest=400),
        version=version,
        transport=fields.object("transport").text("type", longest=40),
    )
