"""The proof: what verifying a bundle established, as a value.

It can be kept, because it names all that it rests on: whoever finds one of these changed
must verify again (design §6.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from mcps_trust.clock import format_time
from mcps_trust.model import strict_json
from mcps_trust.model.digest import Sha256, sha256
from mcps_trust.model.fields import Fields
from mcps_trust.model.identity import PublisherIdentity, SignerIdentity

__all__ = ["Proof"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """A bundle was verified: by whom it was signed, when, and over what.

    Attributes:
        bundle: digest of the bundle's bytes.
        release: digest of the DSSE payload.
        trusted_root: digest of the instance's ``trusted_root.json``.
        required: the identity that had to have signed.
        signer: the identity that did.
        predicate_type: exactly ours.
        closures: the closures that the payload binds, in the publisher's order.
        signed_at: the earliest time that an authority vouches for.
        log_index: where the signature stands in the instance's log.
        software: versions of mcps, sigstore and cryptography that verified.
    """

    bundle: Sha256
    release: Sha256
    trusted_root: Sha256
    required: PublisherIdentity
    signer: SignerIdentity
    predicate_type: str
    closures: tuple[Sha256, ...]
    signed_at: datetime
    log_index: int
    software: str

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a kept proof.

        Raises:
            UntrustedDataError: it is not one of this format version.
        """
        fields = Fields(strict_json.loads_canonical(data), "proof")
        fields.version("version", 1)
        closures = fields.texts("closures")
        proof = cls(
            bundle=fields.digest("bundle"),
            release=fields.digest("release"),
            trusted_root=fields.digest("trustedRoot"),
            required=PublisherIdentity.from_fields(fields.object("required")),
            signer=SignerIdentity.from_fields(fields.object("signer")),
            predicate_type=fields.text("predicateType"),
            closures=tuple(Sha256(text) for text in closures),
            signed_at=fields.time("signedAt"),
            log_index=fields.integer("logIndex"),
            software=fields.text("software"),
        )
        fields.done()
        return proof

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "version": 1,
            "bundle": self.bundle,
            "release": self.release,
            "trustedRoot": self.trusted_root,
            "required": self.required.to_dict(),
            "signer": self.signer.to_dict(),
            "predicateType": self.predicate_type,
            "closures": list(self.closures),
            "signedAt": format_time(self.signed_at),
            "logIndex": self.log_index,
            "software": self.software,
        }

    def to_bytes(self) -> bytes:
        """The bytes that are kept."""
        return strict_json.dumps(self.to_dict())

    @property
    def digest(self) -> Sha256:
        """The proof's own name."""
        return sha256(self.to_bytes())
