"""``index.json``: the curated starter list of real servers.

Each profile says which package a server is, how it is started, and the grant and tool
classes that were chosen for it with care. `mcps-sign endorse` and `mcps-registry approve
--profile` read it. Hashes are of the package's own file, so that a list which travels
says which bytes its authors looked at; no URLs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from mcps_trust.model import strict_json
from mcps_trust.model.fields import Fields
from mcps_trust.model.names import ServerName
from mcps_trust.model.permissions import Permissions
from mcps_trust.model.server_json import ServerJson
from mcps_trust.model.statement import Run
from mcps_trust.model.vetting import TIERS, Tier, ToolRule

__all__ = ["Index", "Profile"]

_INTEGRITY = re.compile(r"sha256-[A-Za-z0-9+/]{43}=|sha512-[A-Za-z0-9+/]{86}==")


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """One server of the list."""

    alias: str
    server: ServerJson
    registry_type: Literal["pypi", "npm"]
    identifier: str
    version: str
    integrity: str
    run: Run
    permissions: Permissions
    tools: Mapping[str, ToolRule]
    withheld: tuple[str, ...]
    tier: Tier
    notes: str

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read it; raises `FieldError`."""
        package = fields.object("package")
        kind: Literal["pypi", "npm"] = package.choice("registryType", ("pypi", "npm"))
        profile = cls(
            alias=fields.text("alias", longest=64),
            server=ServerJson.parse(fields.take("server")),
            registry_type=kind,
            identifier=package.text("identifier", longest=214),
            version=package.text("version", longest=100),
            integrity=package.text("integrity", pattern=_INTEGRITY),
            run=Run.from_fields(fields.object("run")),
            permissions=Permissions.from_fields(fields.object("permissions")),
            tools={name: ToolRule.from_fields(rule) for name, rule in fields.entries("tools")},
            withheld=fields.texts("withheld"),
            tier=fields.choice("tier", TIERS),
            notes=fields.text("notes", longest=4000),
        )
        package.done()
        fields.done()
        return profile


@dataclass(frozen=True, kw_only=True, slots=True)
class Index:
    """The whole list."""

    profiles: tuple[Profile, ...]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the bytes of an ``index.json``.

        Raises:
            UntrustedDataError: it is not one.
        """
        fields = Fields(strict_json.loads(data), "index.json")
        fields.version("version", 1)
        fields.optional("$schema", fields.text)
        profiles = tuple(Profile.from_fields(item) for item in fields.objects("servers"))
        for key in ("alias", "server"):
            names: list[Any] = [
                profile.alias if key == "alias" else profile.server.name for profile in profiles
            ]
            if len(set(names)) != len(names):
                raise fields.error("servers", f"each {key} once", names)
        fields.done()
        return cls(profiles=profiles)

    def find(self, name: str) -> Profile | None:
        """The profile of a server, by alias, full name or package identifier."""
        for profile in self.profiles:
            if name in (profile.alias, str(profile.server.name), profile.identifier):
                return profile
        return None

    def for_server(self, server: ServerName) -> Profile | None:
        """The profile of a server, by its name."""
        return next((p for p in self.profiles if p.server.name == server), None)
