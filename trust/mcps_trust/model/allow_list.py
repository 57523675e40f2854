"""The allow-list: what one team may start, signed with the team's own keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from mcps_trust.model import strict_json
from mcps_trust.model.digest import Sha256
from mcps_trust.model.fields import Fields
from mcps_trust.model.names import Alias, EntryPath, TeamId, parse_alias, parse_team
from mcps_trust.model.permissions import Permissions

__all__ = ["AllowList", "Allowed", "Tightening"]

_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tightening:
    """What a team takes away from an entry's grant. It can add nothing."""

    permissions: Permissions | None = None
    deny_tools: tuple[str, ...] = ()

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read it; raises `FieldError`."""
        tightening = cls(
            permissions=fields.optional(
                "permissions", lambda key: Permissions.from_fields(fields.object(key))
            ),
            deny_tools=fields.optional("denyTools", fields.texts) or (),
        )
        fields.done()
        return tightening

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {
            **({} if self.permissions is None else {"permissions": self.permissions.to_dict()}),
            **({"denyTools": list(self.deny_tools)} if self.deny_tools else {}),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowed:
    """One line of an allow-list: an entry by path and digest."""

    entry: EntryPath
    sha256: Sha256
    tighten: Tightening = Tightening()

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read it; raises `FieldError`, `BadNameError`."""
        allowed = cls(
            entry=EntryPath.parse(fields.text("entry")),
            sha256=fields.digest("sha256"),
            tighten=Tightening.from_fields(fields.object("tighten")),
        )
        fields.done()
        return allowed

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "entry": str(self.entry),
            "sha256": self.sha256,
            "tighten": self.tighten.to_dict(),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class AllowList:
    """A team's aliases. `policy` is Cedar text; empty means the built-in rules alone."""

    team: TeamId
    aliases: Mapping[Alias, Allowed] = field(default_factory=dict)
    policy: str = ""
    platforms: tuple[str, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the bytes of an ``allow-list.json``.

        Raises:
            UnsupportedVersionError: a format version that this release does not know.
            UntrustedDataError: anything else about it is wrong.
        """
        fields = Fields(strict_json.loads_canonical(data), "allow-list")
        fields.version("version", 1)
        fields.choice("channel", ("pinned",))
        allow_list = cls(
            team=parse_team(fields.text("team")),
            aliases={
                parse_alias(name): Allowed.from_fields(item)
                for name, item in fields.entries("aliases")
            },
            policy=fields.optional("policy", fields.text) or "",
            platforms=fields.texts("platforms", pattern=_PLATFORM),
        )
        fields.done()
        return allow_list

    def to_bytes(self) -> bytes:
        """The bytes of the file."""
        return strict_json.dumps(
            {
                "version": 1,
                "team": self.team,
                "channel": "pinned",
                "aliases": {name: allowed.to_dict() for name, allowed in self.aliases.items()},
                **({"policy": self.policy} if self.policy else {}),
                "platforms": list(self.platforms),
            }
        )
