"""A private key in a file, encrypted under a passphrase.

scrypt (RFC 7914) with N = 2^17, r = 8, p = 1 (128 MiB, about a quarter of a second), then
AES-256-GCM with the public part as associated data: a file whose public key was exchanged
does not open. PKCS #8's own encryption is not used: its 2048 rounds of PBKDF2 are too few.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from mcps_trust.errors import NotPermittedError, StorageError, UntrustedDataError
from mcps_trust.model import strict_json
from mcps_trust.model.fields import Fields

__all__ = ["BadKeyFileError", "KeyFile", "WrongPassphraseError", "new_salt"]

_N, _R, _P = 2**17, 8, 1
_SALT_BYTES, _NONCE_BYTES = 16, 12


class BadKeyFileError(UntrustedDataError):
    """The file is not a key file, or not of a strength that is accepted."""

    code = "bad-key-file"


class WrongPassphraseError(NotPermittedError):
    """The key does not open with this passphrase, or the file was changed."""

    code = "wrong-passphrase"


class KeyFileExistsError(StorageError):
    """A key would be overwritten."""

    code = "key-file-exists"


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyFile:
    """An encrypted private key; `purpose` says what it signs."""

    purpose: str
    public: str
    salt: bytes
    nonce: bytes
    ciphertext: bytes

    @classmethod
    def seal(
        cls, key: PrivateKeyTypes, purpose: str, passphrase: bytes, *, salt: bytes | None = None
    ) -> Self:
        """Encrypt a private key.

        Args:
            salt: shared by the keys of one holder, so that a passphrase is stretched once
                for all of them; made anew where it is not given.
        """
        salt = salt or new_salt()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        public = (
            key.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode("ascii")
        )
        plain = key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        sealed = AESGCM(_derive(passphrase, salt)).encrypt(nonce, plain, _bound(purpose, public))
        return cls(purpose=purpose, public=public, salt=salt, nonce=nonce, ciphertext=sealed)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a key file.

        Raises:
            BadKeyFileError: it cannot be read or is none.
            UntrustedDataError: it is not valid.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BadKeyFileError(
                f"cannot read the key file {path}",
                found=error.strerror,
                remedy="bring the folder of this key's holder",
            ) from error
        fields = Fields(strict_json.loads(data, limit=64 * 1024), str(path.name))
        fields.version("version", 1)
        kdf = fields.object("kdf")
        kdf.choice("name", ("scrypt",))
        for name, value in (("n", _N), ("r", _R), ("p", _P)):
            kdf.choice(name, (value,))
        key = cls(
            purpose=fields.text("purpose"),
            public=fields.text("public"),
            salt=base64.b64decode(kdf.text("salt")),
            nonce=base64.b64decode(fields.text("nonce")),
            ciphertext=base64.b64decode(fields.text("ciphertext")),
        )
        kdf.done()
        fields.done()
        return key

    def open(self, passphrase: bytes) -> PrivateKeyTypes:
        """Decrypt the private key.

        Raises:
            WrongPassphraseError: it does not open.
        """
        try:
            plain = AESGCM(_derive(passphrase, self.salt)).decrypt(
                self.nonce, self.ciphertext, _bound(self.purpose, self.public)
            )
        except InvalidTag as error:
            raise WrongPassphraseError(
                f"the key for {self.purpose} does not open",
                remedy="check the passphrase of this holder",
            ) from error
        return serialization.load_der_private_key(plain, None)

    def write(self, path: Path) -> None:
        """Create the file; an existing one is never replaced.

        Raises:
            KeyFileExistsError: there is one.
        """
        document: dict[str, Any] = {
            "version": 1,
            "purpose": self.purpose,
            "public": self.public,
            "kdf": {"name": "scrypt", "n": _N, "r": _R, "p": _P, "salt": _text(self.salt)},
            "nonce": _text(self.nonce),
            "ciphertext": _text(self.ciphertext),
        }
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise KeyFileExistsError(f"there is already a key at {path}") from error
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            json.dump(document, file, indent=2)
            file.write("\n")


def new_salt() -> bytes:
    """A salt for the keys of one holder."""
    return secrets.token_bytes(_SALT_BYTES)


@lru_cache(maxsize=32)
def _derive(passphrase: bytes, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=_N, r=_R, p=_P).derive(passphrase)


def _bound(purpose: str, public: str) -> bytes:
    return f"mcps key file v1\n{purpose}\n{public}".encode()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
