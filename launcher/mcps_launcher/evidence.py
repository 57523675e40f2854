"""Kept evidence: proofs about bundles, and every revocation that this host has ever seen.

A new decision is made from them. Revocations are a union that only grows: a registry that
forgets one, or that is rolled back to before it, changes nothing here.
"""

from __future__ import annotations

import contextlib

from mcps_launcher.kept import REVOCATIONS
from mcps_launcher.places import Places
from mcps_trust.errors import McpsError, UntrustedDataError
from mcps_trust.locked_file import make_private_directory, write_atomically
from mcps_trust.model.digest import Sha256
from mcps_trust.model.proof import Proof
from mcps_trust.model.revocation import Revocations

__all__ = ["Evidence", "KeptDamagedError"]


class KeptDamagedError(UntrustedDataError):
    """The union of revocations that this host has seen cannot be read."""

    code = "revocations-damaged"
    advice = "restore kept/revocations.json, or enrol this host anew"


class Evidence:
    """The part of the folder of what is kept that new decisions are made from."""

    def __init__(self, places: Places) -> None:
        self._folder = make_private_directory(places.kept)

    def proof(self, bundle: Sha256) -> Proof | None:
        """The proof about a bundle, if there is one; its bindings are the caller's to check."""
        with contextlib.suppress(OSError, McpsError):
            return Proof.parse((self._folder / f"proof-{bundle}.json").read_bytes())
        return None

    def keep_proof(self, proof: Proof) -> None:
        """Keep a proof."""
        write_atomically(self._folder / f"proof-{proof.bundle}.json", proof.to_bytes())

    def revocations(self) -> Revocations | None:
        """All revocations that this host has ever seen; None before it saw any list.

        Raises:
            KeptDamagedError: they cannot be read; without them nothing may start.
        """
        try:
            return Revocations.parse_union((self._folder / REVOCATIONS).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, McpsError) as error:
            raise KeptDamagedError(
                "the revocations seen so far cannot be read", found=str(error)
            ) from error

    def add_revocations(self, new: Revocations) -> Revocations:
        """Add what the registry says now; gives the union.

        Raises:
            KeptDamagedError: as `revocations`.
            NotWritableError: the union cannot be kept.
        """
        old = self.revocations()
        union = new if old is None else old.union(new)
        if union != old:
            write_atomically(self._folder / REVOCATIONS, union.to_bytes())
        return union
