"""A Merkle tree over log entries (RFC 6962 §2.1), growing at its right edge."""

from __future__ import annotations

import hashlib

__all__ = ["MerkleTree", "leaf_hash"]


def leaf_hash(data: bytes) -> bytes:
    """The hash of an entry as a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class MerkleTree:
    """All leaf hashes, and each complete subtree's hash computed once."""

    def __init__(self) -> None:
        self._levels: list[list[bytes]] = [[]]

    def __len__(self) -> int:
        return len(self._levels[0])

    def append(self, leaf: bytes) -> int:
        """Add a leaf hash; gives its index."""
        node, level = leaf, 0
        while True:
            if level == len(self._levels):
                self._levels.append([])
            row = self._levels[level]
            row.append(node)
            if len(row) % 2:
                return len(self) - 1
            node, level = _node(row[-2], row[-1]), level + 1

    def root(self) -> bytes:
        """The tree's hash."""
        return self._hash(0, len(self)) if len(self) else hashlib.sha256(b"").digest()

    def inclusion_proof(self, index: int) -> list[bytes]:
        """The audit path of a leaf, from the leaf to the root.

        Raises:
            IndexError: there is no such leaf.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._path(index, 0, len(self))

    def _hash(self, start: int, end: int) -> bytes:
        size = end - start
        if size & (size - 1) == 0 and start % size == 0:
            return self._levels[size.bit_length() - 1][start // size]
        split = start + _largest_power_below(size)
        return _node(self._hash(start, split), self._hash(split, end))

    def _path(self, index: int, start: int, end: int) -> list[bytes]:
        if end - start == 1:
            return []
        split = start + _largest_power_below(end - start)
        if index < split:
            return [*self._path(index, start, split), self._hash(split, end)]
        return [*self._path(index, split, end), self._hash(start, split)]


def _largest_power_below(size: int) -> int:
    return 1 << ((size - 1).bit_length() - 1)
