"""Change a target that one's own key signs, where the registry may be lying.

A registry's host that was taken over could show a false content and have it signed with the
next change. So the present content is taken from metadata that this very key has signed, and
from nowhere else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import datetime

from securesystemslib.signer import Signer
from tuf.api.exceptions import LengthOrHashMismatchError

from mcps_registry.access import Access, NoRootError
from mcps_registry.ceremony.last_signed import LastSigned
from mcps_registry.lanes.edit import NotSignedByThisKeyError, next_version, read_role
from mcps_trust.errors import UnavailableError, UntrustedDataError
from mcps_trust.model.digest import Sha256

__all__ = ["NotPublishedError", "change_target"]


class NotPublishedError(UntrustedDataError):
    """The registry accepted a change and does not publish it."""

    code = "not-published"
    advice = "its host may be in somebody else's hands: ask the other hosts what they see"


def change_target(
    access: Access,
    path: str,
    *,
    role: str,
    signers: Sequence[Signer],
    change: Callable[[bytes], bytes],
    now: datetime,
    last: LastSigned | None = None,
) -> None:
    """Replace a target by what `change` makes of it, and publish the role anew.

    Args:
        access: the registry.
        path: the target; `role` names it already.
        role: the role that signs it.
        signers: who signs; the first must have signed the present version.
        change: from the present content to the new one.
        now: when.
        last: what was signed from here before, if that is remembered.

    Raises:
        NotSignedByThisKeyError: the present version was not signed so, or does not name `path`.
        UnavailableError: the registry does not have the role or the content.
        OlderThanSignedError: it is older than what was signed from here.
        NotPublishedError: what was signed cannot be read back.
        McpsError: the registry refuses the new version.
    """
    data = access.role(role)
    if data is None:
        raise UnavailableError(f"the registry does not have the role {role}")
    shown_role = read_role(role, data, signers[0].public_key)
    if last is not None:
        last.check(shown_role.version)
    present = shown_role.targets.get(path)
    if present is None:
        raise NotSignedByThisKeyError(f"the present {role} does not name {path}")
    content = access.file(path, Sha256(present.hashes.get("sha256", "")))
    try:
        present.verify_length_and_hashes(content)
    except LengthOrHashMismatchError as error:
        raise NotSignedByThisKeyError(
            f"this is not the {path} that was signed", found=str(error)
        ) from error
    new = change(content)
    signed = next_version(role, data, signers, now, files={path: new})
    access.accept_roles({role: signed}, {path: new}, now)
    if last is not None:
        last.remember(shown_role.version + 1)
    # A registry that takes it and drops it would be believed otherwise.
    try:
        shown = access.target(path)
    except NoRootError:
        sys.stderr.write("warning: not read back, as there is no --registry-root to do it from\n")
        return
    if shown != new:
        raise NotPublishedError(f"the registry took the new {path} and does not show it")
