"""The next version of a role, made and signed by who holds its key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import Key, Signer
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, TargetFile, Targets
from tuf.api.serialization import DeserializationError
from tuf.api.serialization.json import JSONSerializer

from mcps_registry.lanes.roles import expiry
from mcps_trust.errors import UntrustedDataError

__all__ = ["NotSignedByThisKeyError", "next_root", "next_version", "read_role"]

T = TypeVar("T")


class NotSignedByThisKeyError(UntrustedDataError):
    """What the registry shows as the present state was not signed with this key."""

    code = "not-signed-by-this-key"
    advice = "check that this is the right key, and that the registry is the right one"


def next_version(
    role: str,
    current: bytes | None,
    signers: Sequence[Signer],
    now: datetime,
    *,
    files: Mapping[str, bytes] | None = None,
    change: Callable[[Targets], None] | None = None,
) -> bytes:
    """A targets role, one version on.

    Args:
        role: its name.
        current: its present metadata, or None if it begins here.
        signers: who signs; the first of them must have signed `current`, so that nobody is
            made to build on a state that the registry invented.
        files: targets to add or replace.
        change: any other change.

    Raises:
        NotSignedByThisKeyError: `current` is not signed by the first signer.
    """
    if current is None:
        signed = Targets(version=1)
    else:
        signed = read_role(role, current, signers[0].public_key)
        signed.version += 1
    signed.expires = expiry(role, now)
    for path, data in (files or {}).items():
        signed.targets[path] = TargetFile.from_data(path, data, ["sha256"])
    if change is not None:
        change(signed)
    metadata = Metadata(signed)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes(JSONSerializer(compact=True))


def read_role(role: str, data: bytes, key: Key) -> Targets:
    """The content of a targets role that was signed with `key`.

    Raises:
        NotSignedByThisKeyError: it was not, or is no targets role.
    """
    return _signed(role, data, key, Targets)


def next_root(current: bytes, signers: Sequence[Signer], now: datetime) -> bytes:
    """The root, one version on, with the same keys.

    Args:
        current: its present metadata.
        signers: who signs; the first of them must have signed `current`.
        now: when.

    Raises:
        NotSignedByThisKeyError: `current` is not signed by the first signer.
    """
    signed = _signed("root", current, signers[0].public_key, Root)
    signed.version += 1
    signed.expires = expiry("root", now)
    metadata = Metadata(signed)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes(JSONSerializer(compact=True))


def _signed(role: str, data: bytes, key: Key, kind: type[T]) -> T:
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(data)
        key.verify_signature(metadata.signatures[key.keyid], metadata.signed_bytes)
    except (RepositoryError, DeserializationError, KeyError, VerificationError) as error:
        raise NotSignedByThisKeyError(
            f"the present {role} is not signed with this key", found=str(error)
        ) from error
    if not isinstance(metadata.signed, kind):
        raise NotSignedByThisKeyError(
            f"the present {role} is metadata of another kind", found=metadata.signed.type
        )
    return metadata.signed
