"""Local configuration: the administrator's file wins over the user's.

``/etc/mcps/config.toml`` (managed) sets what nobody below can loosen; the launcher's own
folder has the user's ``config.toml``. Neither can name a server or a command.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from mcps_launcher.places import Places
from mcps_trust.errors import ConfigurationError, McpsError
from mcps_trust.http_settings import SYSTEM_CA_FILE, HttpSettings
from mcps_trust.model import strict_json
from mcps_trust.model.digest import Sha256, sha256
from mcps_trust.model.fields import Fields
from mcps_trust.model.names import TeamId, parse_team
from mcps_trust.model.permissions import Permissions
from mcps_trust.policy.intersection import narrow

__all__ = ["MANAGED", "BadConfigurationError", "Configuration", "ManagedEnrolment"]

MANAGED = Path("/etc/mcps/config.toml")
_LIMIT = 256 * 1024  # bytes
_REGISTRY = re.compile(r"https?://\S+")
_ABSOLUTE = re.compile(r"/.+")  # not whatever folder a host starts us in


class BadConfigurationError(ConfigurationError):
    """A configuration file cannot be read or is not valid."""

    code = "bad-configuration"


@dataclass(frozen=True, kw_only=True, slots=True)
class ManagedEnrolment:
    """The one registry and team of a managed host; `root` is a file with its root metadata."""

    registry: str
    root: Path
    team: TeamId


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """What is set on this host.

    Attributes:
        managed: whether the administrator's file is there.
        enrolment: what it says of the registry to trust, if it does.
        ceiling: permissions that no server may exceed, if any are set.
        limits: ``best`` takes what the machine has; ``required`` refuses without a cgroup.
        back_end: ``bwrap`` or ``docker``.
        recheck: seconds between questions to the registry while a server runs.
        http: how to reach servers.
        npm: base URL of an npm registry; empty means npm's own setting.
    """

    managed: bool = False
    enrolment: ManagedEnrolment | None = None
    ceiling: Permissions | None = None
    limits: Literal["best", "required"] = "best"
    back_end: Literal["bwrap", "docker"] = "bwrap"
    recheck: float = 300.0
    http: HttpSettings = HttpSettings()
    npm: str = ""

    @classmethod
    def read(cls, places: Places, *, managed: Path | None = None) -> Self:
        """Read both files; `managed` is the administrator's, in tests.

        Raises:
            BadConfigurationError: one of them is not valid.
        """
        managed = managed or MANAGED
        users = cls._read(places.configuration)
        if users.enrolment is not None:
            raise BadConfigurationError(
                f"{places.configuration} is not valid", found=f"[enrolment]: only in {managed}"
            )
        if not managed.exists():
            return users
        admins = cls._read(managed)
        return cls(
            managed=True,
            enrolment=admins.enrolment,
            ceiling=_both(users.ceiling, admins.ceiling),
            limits="required" if "required" in (users.limits, admins.limits) else "best",
            back_end=admins.back_end,
            recheck=min(users.recheck, admins.recheck),
            http=admins.http,
            npm=admins.npm,
        )

    @classmethod
    def _read(cls, path: Path) -> Self:
        if not path.exists():
            return cls()
        import tomllib  # costs 9 ms, and most hosts have no file

        try:
            fields = Fields(tomllib.loads(path.read_text("utf-8")), str(path))
            network = fields.optional("http", fields.object)
            index = fields.optional("index", fields.object)
            enrolment = fields.optional("enrolment", fields.object)
            configuration = cls(
                enrolment=None if enrolment is None else ManagedEnrolment(
                    registry=enrolment.text("registry", pattern=_REGISTRY).rstrip("/"),
                    root=Path(enrolment.text("root", pattern=_ABSOLUTE)),
                    team=parse_team(enrolment.text("team")),
                ),
                ceiling=fields.optional(
                    "ceiling", lambda key: Permissions.from_fields(fields.object(key))
                ),
                limits=fields.optional("limits", lambda k: fields.choice(k, ("best", "required")))
                or "best",
                back_end=fields.optional("back-end", lambda k: fields.choice(k, ("bwrap", "docker")))
                or "bwrap",
                recheck=fields.optional(
                    "recheck", lambda k: fields.number(k, least=1, most=86_400)
                ) or 300.0,
                http=_http(network),
                npm=(index and index.optional("npm", index.text)) or "",
            )  # fmt: skip
            for part in (network, index, enrolment, fields):
                if part is not None:
                    part.done()
        except (OSError, ValueError, McpsError) as error:
            raise BadConfigurationError(f"{path} is not valid", found=str(error)) from error
        return configuration

    @property
    def ceilings(self) -> Sha256:
        """The digest of everything here that a decision rests on."""
        ceiling = None if self.ceiling is None else self.ceiling.to_dict()
        return sha256(strict_json.dumps([ceiling, self.limits, self.back_end]))


def _both(users: Permissions | None, admins: Permissions | None) -> Permissions | None:
    if users is None or admins is None:
        return users or admins
    return narrow(users, admins)


def _http(fields: Fields | None) -> HttpSettings:
    if fields is None:
        return HttpSettings()
    return HttpSettings(
        ca_file=fields.optional("ca-file", fields.text) or SYSTEM_CA_FILE,
        proxy=fields.optional("proxy", fields.text),
    )
