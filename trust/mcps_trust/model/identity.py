"""Who must have signed: a Sigstore instance, an issuer, a subject, perhaps claims.

Exact, or with ``*`` that stands for one or more characters within one segment of the
subject. No regular expressions: an unanchored one has let strangers in elsewhere.
Instance, issuer and subject are always required; a policy with a hole matches everybody.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from mcps_trust.model.canonical import canonical_digest
from mcps_trust.model.digest import Sha256
from mcps_trust.model.fields import Fields
from mcps_trust.model.names import SEGMENT

__all__ = ["CLAIMS", "PublisherIdentity", "SignerIdentity", "matches"]

CLAIMS: Mapping[str, str] = {
    "sourceRepositoryURI": "1.3.6.1.4.1.57264.1.12",
    "sourceRepositoryRef": "1.3.6.1.4.1.57264.1.14",
    "sourceRepositoryOwnerURI": "1.3.6.1.4.1.57264.1.16",
    "buildConfigURI": "1.3.6.1.4.1.57264.1.18",
    "buildTrigger": "1.3.6.1.4.1.57264.1.20",
    "runnerEnvironment": "1.3.6.1.4.1.57264.1.11",
}
"""Claims that may be required, and the Fulcio certificate extension that carries each
(Fulcio ``docs/oid-info.md``)."""

_ISSUER = re.compile(r"https?://[^\s*]{1,500}")
_SUBJECT = re.compile(r"[^\s]{1,1000}")


@dataclass(frozen=True, kw_only=True, slots=True)
class PublisherIdentity:
    """Who may sign. `subject` may hold ``*``; nothing else may."""

    instance: str
    issuer: str
    subject: str
    claims: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read the identity from a document.

        Raises:
            FieldError: something is missing, unknown, or not of its kind.
        """
        claims: dict[str, str] = {}
        if (found := fields.optional("claims", fields.object)) is not None:
            for name in CLAIMS:
                if (value := found.optional(name, found.text)) is not None:
                    claims[name] = value
            found.done()
        identity = cls(
            instance=fields.text("instance", pattern=SEGMENT),
            issuer=fields.text("issuer", pattern=_ISSUER),
            subject=fields.text("subject", pattern=_SUBJECT),
            claims=claims,
        )
        if identity.subject.strip("*/") == "":
            raise fields.error("subject", "more than wildcards", identity.subject)
        fields.done()
        return identity

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "instance": self.instance,
            "issuer": self.issuer,
            "subject": self.subject,
            **({"claims": dict(self.claims)} if self.claims else {}),
        }

    @property
    def key(self) -> Sha256:
        """One digest for one identity (RFC 8785), to name it by."""
        return canonical_digest(self.to_dict())


@dataclass(frozen=True, kw_only=True, slots=True)
class SignerIdentity:
    """Who did sign, as a verified certificate says."""

    instance: str
    issuer: str
    subject: str
    claims: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read what `to_dict` writes.

        Raises:
            FieldError: something is missing, unknown, or not of its kind.
        """
        claims = fields.mapping("claims")
        signer = cls(
            instance=fields.text("instance"),
            issuer=fields.text("issuer"),
            subject=fields.text("subject"),
            claims={str(name): str(value) for name, value in claims.items()},
        )
        fields.done()
        return signer

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "instance": self.instance,
            "issuer": self.issuer,
            "subject": self.subject,
            "claims": dict(self.claims),
        }

    def __str__(self) -> str:
        return f"{self.subject} (by {self.issuer}, instance {self.instance})"


def matches(required: PublisherIdentity, signer: SignerIdentity) -> str | None:
    """Compare who must have signed with who did.

    Returns:
        None where they agree, else the name of the first part that does not.
    """
    if signer.instance != required.instance:
        return "instance"
    if signer.issuer != required.issuer:
        return "issuer"
    if not _subject_matches(required.subject, signer.subject):
        return "subject"
    for name, value in required.claims.items():
        if signer.claims.get(name) != value:
            return f"claim {name}"
    return None


def _subject_matches(pattern: str, subject: str) -> bool:
    wanted, found = pattern.split("/"), subject.split("/")
    return len(wanted) == len(found) and all(map(_segment_matches, wanted, found))


def _segment_matches(pattern: str, segment: str) -> bool:
    expression = "[^/]+".join(map(re.escape, pattern.split("*")))
    return re.fullmatch(expression, segment, re.DOTALL) is not None
