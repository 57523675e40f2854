"""Whose approvals over an entry are valid.

DSSE signatures are verified by securesystemslib with the keys of ``trust/approvers.json``.
Counting is over distinct keys; that two ids cannot hold one key, `Approvers` has checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import Key, Signer

from mcps_trust.errors import McpsError
from mcps_trust.model.approval import ApprovalStatement, Approvers, envelope_payload
from mcps_trust.model.entry import Entry
from mcps_trust.model.statement import IN_TOTO_PAYLOAD_TYPE

__all__ = ["sign_approval", "valid_approvers"]


def valid_approvers(entry: Entry, approvers: Approvers) -> tuple[str, ...]:
    """The names of all approvers whose signature over exactly this entry is valid.

    An approval that is by a stranger, over another entry, malformed or wrongly signed
    does not count; it does not spoil the others either.
    """
    names: dict[str, str] = {}
    for envelope in entry.approvals:
        key_id = _approver_of(envelope, entry, approvers)
        approver = None if key_id is None else approvers.by_key_id(key_id)
        if approver is not None:
            names[approver.key_id] = approver.name
    return tuple(names.values())


def sign_approval(statement: ApprovalStatement, signer: Signer) -> dict[str, Any]:
    """Sign an approval; gives the DSSE envelope as JSON."""
    envelope = Envelope(statement.to_payload(), IN_TOTO_PAYLOAD_TYPE, {})
    envelope.sign(signer)
    return dict(envelope.to_dict())


def _approver_of(envelope: Mapping[str, Any], entry: Entry, approvers: Approvers) -> str | None:
    try:
        payload, key_id = envelope_payload(envelope)
        statement = ApprovalStatement.parse(payload)
    except McpsError:
        return None
    approver = approvers.by_key_id(key_id)
    if approver is None or statement.digest != entry.approved_digest:
        return None
    if statement.path != entry.path:
        return None
    try:
        # securesystemslib takes its dictionaries apart while it reads them.
        key = Key.from_dict(key_id, deepcopy(dict(approver.key)))
        Envelope.from_dict(deepcopy(dict(envelope))).verify([key], 1)
    except (VerificationError, ValueError, KeyError):
        return None
    return key_id
