"""Who holds which key. A holder is a folder that can be carried away.

The registry's host needs only ``online``. Taking it over gives an attacker no way to
approve or to allow: those keys are in other folders, which `status` asks to carry away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from securesystemslib.signer import CryptoSigner

from mcps_registry.ceremony.key_file import BadKeyFileError, KeyFile, new_salt
from mcps_trust.locked_file import make_private_directory
from mcps_trust.model.names import parse_segment

__all__ = ["ONLINE", "Holder", "find_key", "find_key_file", "make_holders", "offline_folders",
           "signer"]  # fmt: skip

ONLINE = "online"


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """A folder of keys and what to do with it."""

    name: str
    keys: tuple[str, ...]
    carry_to: str


def make_holders(*, root_keys: int, approvers: Sequence[str]) -> tuple[Holder, ...]:
    """All holders of a new registry.

    Raises:
        BadNameError: an approver's name cannot be a folder.
    """
    people = [parse_segment(name, "approver's name") for name in approvers]
    return (
        *(
            Holder(name=f"root-{number}", keys=(f"root-{number}",),
                   carry_to="a safe; needed once a year, or when another key is lost")
            for number in range(1, root_keys + 1)
        ),
        Holder(name="targets", keys=("targets", "catalog", "reinstated-1"),
               carry_to="a safe; needed when approvers or trusted instances change"),
        Holder(name="it", keys=("teams", "reinstated-2"),
               carry_to="IT; needed when a team is made, and to take a revocation back"),
        *(
            Holder(name=f"approver-{name}", keys=(f"approver-{name}",),
                   carry_to=f"{name}; needed for each approval")
            for name in people
        ),
        Holder(name="on-call", keys=("revoked",),
               carry_to="whoever is on call; needed to revoke"),
        Holder(name=ONLINE, carry_to="stays here",
               keys=("bins", "snapshot", "timestamp", "ca", "ct", "log", "tsa-ca", "tsa", "oidc")),
    )  # fmt: skip


def generate(
    folder: Path, holders: Sequence[Holder], passphrase: Callable[[str], bytes]
) -> dict[str, PrivateKeyTypes]:
    """Make every holder's keys; gives them decrypted, for the first signatures.

    Args:
        folder: where the holders' folders go.
        passphrase: the passphrase of a holder.

    Raises:
        NotWritableError, KeyFileExistsError: as their names say.
    """
    keys: dict[str, PrivateKeyTypes] = {}
    for holder in holders:
        place = make_private_directory(folder / holder.name)
        secret, salt = passphrase(holder.name), new_salt()
        for purpose in holder.keys:
            key = _new(purpose)
            KeyFile.seal(key, purpose, secret, salt=salt).write(place / f"{purpose}.json")
            keys[purpose] = key
    return keys


def _new(purpose: str) -> PrivateKeyTypes:
    if purpose in ("ca", "ct", "tsa-ca", "tsa", "oidc"):
        return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate()


def find_key(folder: Path, purpose: str) -> KeyFile:
    """The key file for `purpose` in whichever holder's folder of `folder` has it.

    `folder` may also be one holder's folder, or the key file itself.

    Raises:
        BadKeyFileError: none has it.
    """
    return KeyFile.read(find_key_file(folder, purpose))


def find_key_file(folder: Path, purpose: str) -> Path:
    """The file that `find_key` reads.

    Raises:
        BadKeyFileError: there is none.
    """
    if folder.is_file():
        return folder
    places = [folder / f"{purpose}.json", *sorted(folder.glob(f"*/{purpose}.json"))]
    for place in places:
        if place.exists():
            return place
    raise BadKeyFileError(
        f"there is no key {purpose} in {folder}", expected=f"the folder {_folder_of(purpose)}",
        remedy="give --keys the folder of this key's holder, or one that has that folder",
    )  # fmt: skip


def _folder_of(purpose: str) -> str:
    """The name that the holder's folder of a key has."""
    holders = make_holders(root_keys=1, approvers=())
    return next((holder.name for holder in holders if purpose in holder.keys), purpose)


def signer(key: PrivateKeyTypes) -> CryptoSigner:
    """A TUF and DSSE signer with `key`."""
    return CryptoSigner(key)


def offline_folders(folder: Path) -> tuple[str, ...]:
    """Holders whose keys still lie beside the online ones."""
    return tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name != ONLINE))
