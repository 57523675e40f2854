"""The transparency log: Rekor v2 entries in one append-only file.

Each line of ``entries.jsonl`` is one entry's canonical body; ``checkpoint`` is the last
signed tree head (C2SP tlog-checkpoint). At start the tree is built again from the entries
and held against the checkpoint, so a changed or shortened file stops the service.
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import rfc8785
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mcps_registry.sigstore.tree import MerkleTree, leaf_hash
from mcps_trust.errors import StorageError
from mcps_trust.locked_file import make_private_directory, write_atomically

__all__ = ["LogDamagedError", "TransparencyLog", "log_id"]

_ED25519 = b"\x01"


class LogDamagedError(StorageError):
    """The log's file is not what its last checkpoint says."""

    code = "log-damaged"
    advice = "restore the file from a back-up: entries that were signed must not be lost"


def log_id(origin: str, key: Ed25519PrivateKey) -> bytes:
    """The log's id: C2SP signed-note key id of an Ed25519 key, not shortened."""
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(origin.encode() + b"\n" + _ED25519 + raw).digest()


class TransparencyLog:
    """One log. Safe to use from several threads of one process."""

    def __init__(self, folder: Path, origin: str, key: Ed25519PrivateKey) -> None:
        """Open the log in `folder`, or begin one.

        Raises:
            LogDamagedError: the entries do not give the tree that the checkpoint signs.
        """
        self._entries = make_private_directory(folder) / "entries.jsonl"
        self._checkpoint = folder / "checkpoint"
        self._origin = origin
        self._key = key
        self.id = log_id(origin, key)
        self._lock = threading.Lock()
        self._tree = MerkleTree()
        self._load()

    def __len__(self) -> int:
        return len(self._tree)

    def append(self, body: dict[str, Any]) -> dict[str, Any]:
        """Add an entry; gives the ``TransparencyLogEntry`` that a client puts in a bundle.

        Raises:
            OSError: it could not be written; the log is as before.
        """
        data = rfc8785.dumps(body)
        with self._lock:
            with self._entries.open("ab") as file:
                before = file.tell()
                try:
                    file.write(data + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    os.truncate(self._entries, before)
                    raise
            index = self._tree.append(leaf_hash(data))
            checkpoint = self._sign_checkpoint()
            write_atomically(self._checkpoint, checkpoint.encode())
            proof, root, size = (
                self._tree.inclusion_proof(index),
                self._tree.root(),
                len(self._tree),
            )
        return {
            "logIndex": str(index),
            "logId": {"keyId": _b64(self.id)},
            "kindVersion": {"kind": "hashedrekord", "version": "0.0.2"},
            "integratedTime": "0",
            "inclusionProof": {
                "logIndex": str(index),
                "rootHash": _b64(root),
                "treeSize": str(size),
                "hashes": [_b64(item) for item in proof],
                "checkpoint": {"envelope": checkpoint},
            },
            "canonicalizedBody": _b64(data),
        }

    def _sign_checkpoint(self) -> str:
        note = f"{self._origin}\n{len(self._tree)}\n{_b64(self._tree.root())}\n"
        signature = self._key.sign(note.encode())
        return f"{note}\n\u2014 {self._origin} {_b64(self.id[:4] + signature)}\n"

    def _load(self) -> None:
        lines: list[bytes] = []
        if self._entries.exists():
            data = self._entries.read_bytes()
            lines = data.split(b"\n")[:-1]
            if data and not data.endswith(b"\n"):
                # A crash in mid-write: no checkpoint and no client has seen this entry.
                os.truncate(self._entries, len(data) - len(data.rpartition(b"\n")[2]))
        signed_size, signed_root = self._read_checkpoint()
        for number, line in enumerate(lines):
            self._tree.append(leaf_hash(line))
            if number + 1 == signed_size and self._tree.root() != signed_root:
                raise LogDamagedError(f"an entry of {self._entries} was changed")
        if len(lines) < signed_size:
            raise LogDamagedError(
                f"entries of {self._entries} are missing",
                expected=f"{signed_size} entries",
                found=str(len(lines)),
            )
        while len(self._tree) < 2:
            # Clients disagree about index 0 and about empty proofs: seed past them.
            self.append({"apiVersion": "0.0.2", "kind": "seed", "spec": {"n": len(self._tree)}})

    def _read_checkpoint(self) -> tuple[int, bytes]:
        if not self._checkpoint.exists():
            return 0, b""
        try:
            origin, size, root = self._checkpoint.read_text("utf-8").split("\n")[:3]
            if origin != self._origin:
                raise LogDamagedError(
                    "the checkpoint is another log's", expected=self._origin, found=origin
                )
            return int(size), base64.b64decode(root, validate=True)
        except ValueError as error:
            raise LogDamagedError("the checkpoint cannot be read") from error


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
