"""Enrolment: which registry this host trusts, from which root on, and for which team."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from mcps_launcher.configuration import MANAGED, Configuration
from mcps_launcher.places import Places
from mcps_trust.errors import ConfigurationError, McpsError
from mcps_trust.locked_file import write_atomically
from mcps_trust.model import strict_json
from mcps_trust.model.digest import Sha256, sha256
from mcps_trust.model.fields import Fields
from mcps_trust.model.names import TeamId, parse_team

__all__ = ["Enrolment", "NotEnrolledError"]


class NotEnrolledError(ConfigurationError):
    """This host trusts no registry yet."""

    code = "not-enrolled"
    advice = "mcps-launch enroll URL --root FILE --team TEAM"


@dataclass(frozen=True, kw_only=True, slots=True)
class Enrolment:
    """What was agreed once, and what everything else is verified from.

    Attributes:
        registry: base URL.
        team: whose allow-list holds; self-asserted unless the administrator names it.
        development: whether a registry that gives tokens to anybody is accepted.
        root: the root metadata, as bytes.
    """

    registry: str
    team: TeamId
    development: bool
    root: bytes

    @classmethod
    def read(cls, places: Places, configuration: Configuration) -> Self:
        """What the administrator of a managed host says, or else what `write` wrote.

        Raises:
            NotEnrolledError: there is none, or it cannot be read.
        """
        if (named := configuration.enrolment) is not None:
            try:
                root = named.root.read_bytes()
            except OSError as error:
                raise NotEnrolledError(
                    "the root metadata of this managed host cannot be read", found=str(error),
                    remedy=f"repair [enrolment] in {MANAGED}",
                ) from error  # fmt: skip
            return cls(registry=named.registry, team=named.team, development=False, root=root)
        try:
            data, root = places.enrolment.read_bytes(), places.root.read_bytes()
            fields = Fields(strict_json.loads_canonical(data), "enrolment")
            fields.version("version", 1)
            enrolment = cls(
                registry=fields.text("registry"),
                team=parse_team(fields.text("team")),
                development=fields.boolean("development"),
                root=root,
            )
            if fields.digest("root") != sha256(root):
                raise fields.error("root", "the digest of root.json", sha256(root))
            fields.done()
        except FileNotFoundError as error:
            raise NotEnrolledError("this host is not enrolled") from error
        except (OSError, McpsError) as error:
            raise NotEnrolledError("the enrolment cannot be read", found=str(error)) from error
        return enrolment

    def write(self, places: Places) -> None:
        """Keep it.

        Raises:
            NotWritableError: it cannot be written.
        """
        write_atomically(places.root, self.root)
        write_atomically(places.enrolment, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The bytes of the file."""
        return strict_json.dumps(
            {
                "version": 1,
                "registry": self.registry,
                "team": self.team,
                "development": self.development,
                "root": sha256(self.root),
            }
        )

    @property
    def digest(self) -> Sha256:
        """What decisions are bound to."""
        return sha256(self.to_bytes())
