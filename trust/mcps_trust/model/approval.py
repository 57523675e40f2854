"""Approvals: who may vouch for an entry, and the statement that they sign.

``trust/approvers.json`` names the keys and how many of them it takes. An approval is an
in-toto Statement in a DSSE envelope, over the digest of the entry without its approvals.
Signatures are checked in `mcps_trust.bundle.approvals`; here is only what they say.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from mcps_trust.clock import format_time
from mcps_trust.model import strict_json
from mcps_trust.model.digest import Sha256
from mcps_trust.model.fields import Fields
from mcps_trust.model.names import EntryPath
from mcps_trust.model.statement import IN_TOTO_PAYLOAD_TYPE, STATEMENT_TYPE

__all__ = [
    "APPROVAL_PREDICATE_TYPE",
    "ApprovalStatement",
    "Approver",
    "Approvers",
    "envelope_payload",
]

APPROVAL_PREDICATE_TYPE = "urn:mcps:approval:v1"
_KEY_ID = re.compile(r"[0-9a-f]{64}")
_ED25519 = re.compile(r"[0-9a-f]{64}")
_BEGIN, _END = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"
_PEM = re.compile(rf"{_BEGIN}\n(?:[A-Za-z0-9+/=]{{1,64}}\n){{1,4}}{_END}\n")
# Bytes of a SubjectPublicKeyInfo with an uncompressed point (RFC 5480 §2).
_EC_SPKI_BYTES = {"ecdsa-sha2-nistp256": 91, "ecdsa-sha2-nistp384": 120}


@dataclass(frozen=True, kw_only=True, slots=True)
class Approver:
    """A person's key: `key` is a TUF key object ({keytype, scheme, keyval})."""

    name: str
    key_id: str
    key: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Approvers:
    """Who may approve, and how many different keys it takes."""

    threshold: int
    approvers: tuple[Approver, ...]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the bytes of ``trust/approvers.json``.

        Raises:
            UntrustedDataError: not valid; also when one key stands under two ids, which
                would let one person count twice.
        """
        fields = Fields(strict_json.loads_canonical(data), "approvers")
        fields.version("version", 1)
        found = []
        for key_id, item in fields.entries("keys"):
            if not _KEY_ID.fullmatch(key_id):
                raise fields.error("keys", "ids of 64 hexadecimal digits", key_id)
            key = item.object("key")
            _check_key(key)
            found.append(
                Approver(name=item.text("name", longest=200), key_id=key_id, key=dict(key.document))
            )
            item.done()
        values = {str(approver.key["keyval"]["public"]) for approver in found}
        if len(values) != len(found):
            raise fields.error("keys", "each key value once", [a.name for a in found])
        threshold = fields.integer("threshold", least=1, most=max(1, len(found)))
        if not found:
            raise fields.error("keys", "at least one", [])
        fields.done()
        return cls(threshold=threshold, approvers=tuple(found))

    def to_bytes(self) -> bytes:
        """The bytes of the file."""
        keys = {a.key_id: {"name": a.name, "key": dict(a.key)} for a in self.approvers}
        return strict_json.dumps({"version": 1, "keys": keys, "threshold": self.threshold})

    def by_key_id(self, key_id: str) -> Approver | None:
        """The approver with that key, if there is one."""
        return next((a for a in self.approvers if a.key_id == key_id), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class ApprovalStatement:
    """One person's word that an entry may be allowed."""

    path: EntryPath
    digest: Sha256
    time: datetime
    comment: str

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read a DSSE payload.

        Raises:
            UntrustedDataError: it is not an approval.
        """
        fields = Fields(strict_json.loads_canonical(payload), "approval")
        fields.choice("_type", (STATEMENT_TYPE,))
        fields.choice("predicateType", (APPROVAL_PREDICATE_TYPE,))
        subjects = list(fields.objects("subject"))
        if len(subjects) != 1:
            raise fields.error("subject", "exactly one", len(subjects))
        digests = subjects[0].object("digest")
        predicate = fields.object("predicate")
        approval = cls(
            path=EntryPath.parse(subjects[0].text("name")),
            digest=digests.digest("sha256"),
            time=predicate.time("time"),
            comment=predicate.optional("comment", predicate.text) or "",
        )
        for part in (digests, subjects[0], predicate, fields):
            part.done()
        return approval

    def to_payload(self) -> bytes:
        """The bytes that get signed."""
        return strict_json.dumps(
            {
                "_type": STATEMENT_TYPE,
                "subject": [{"name": str(self.path), "digest": {"sha256": self.digest}}],
                "predicateType": APPROVAL_PREDICATE_TYPE,
                "predicate": {
                    "time": format_time(self.time),
                    **({"comment": self.comment} if self.comment else {}),
                },
            }
        )


def _check_key(fields: Fields) -> None:
    """Let pass a TUF key object in the one spelling that it has.

    A key that could be spelled in two ways could stand under two ids, and count twice.

    Raises:
        FieldError: it is of no kind that is known, or spelled otherwise.
    """
    kind = fields.choice("keytype", ("ed25519", "ecdsa"))
    schemes = ("ed25519",) if kind == "ed25519" else tuple(_EC_SPKI_BYTES)
    scheme = fields.choice("scheme", schemes)
    value = fields.object("keyval")
    if kind == "ed25519":
        value.text("public", pattern=_ED25519)
    else:
        text = value.text("public", pattern=_PEM)
        try:
            der = base64.b64decode("".join(text.split("\n")[1:-2]), validate=True)
        except binascii.Error as error:
            raise value.error("public", "PEM", text) from error
        body = base64.encodebytes(der).replace(b"\n", b"").decode()
        lines = "".join(f"{body[at : at + 64]}\n" for at in range(0, len(body), 64))
        # A point that is not compressed; the compressed one would be a second spelling.
        if len(der) != _EC_SPKI_BYTES[scheme] or text != f"{_BEGIN}\n{lines}{_END}\n":
            raise value.error("public", "an uncompressed point, as OpenSSL writes it", text)
    value.done()
    fields.done()


def envelope_payload(envelope: Mapping[str, Any]) -> tuple[bytes, str]:
    """The payload and the one key id of a DSSE envelope that holds an in-toto Statement.

    Raises:
        FieldError: it is not such an envelope, or has not exactly one signature.
    """
    fields = Fields(dict(envelope), "envelope")
    fields.choice("payloadType", (IN_TOTO_PAYLOAD_TYPE,))
    signatures = list(fields.objects("signatures"))
    if len(signatures) != 1:
        raise fields.error("signatures", "exactly one", len(signatures))
    key_id = signatures[0].text("keyid", pattern=_KEY_ID)
    _decode(signatures[0], "sig")
    payload = _decode(fields, "payload")
    signatures[0].done()
    fields.done()
    return payload, key_id


def _decode(fields: Fields, key: str) -> bytes:
    text = fields.text(key, longest=1024 * 1024)
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise fields.error(key, "base64", text) from error
    if base64.b64encode(raw).decode("ascii") != text:
        raise fields.error(key, "base64 in its normal spelling", text)
    return raw
