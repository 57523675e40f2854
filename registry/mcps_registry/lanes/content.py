"""What may stand in a target: each file is read by the model of its path (pure)."""

from __future__ import annotations

from mcps_trust.errors import NotPermittedError
from mcps_trust.model import strict_json
from mcps_trust.model.allow_list import AllowList
from mcps_trust.model.approval import Approvers
from mcps_trust.model.entry import Entry
from mcps_trust.model.names import SEGMENT, EntryPath, allow_list_path
from mcps_trust.model.revocation import Reinstatements, Revocations

__all__ = ["NoSuchTargetError", "RevocationDroppedError", "check_content"]


class NoSuchTargetError(NotPermittedError):
    """There is no place for such a file in the repository."""

    code = "no-such-target"


class RevocationDroppedError(NotPermittedError):
    """A new list of revocations lacks one of the old."""

    code = "revocation-dropped"
    advice = "revocations only grow; to take one back, reinstate it"


def check_content(path: str, data: bytes, before: bytes | None) -> None:
    """Let pass what a client will be able to read.

    Args:
        path: the target's path.
        data: its new content.
        before: its old content, if there was one.

    Raises:
        NoSuchTargetError: no file of that path belongs here.
        RevocationDroppedError: the list of revocations would shrink.
        UntrustedDataError: the content is not valid.
    """
    match path.split("/"):
        case ["trust", "approvers.json"]:
            Approvers.parse(data)
        case ["trust", "runtimes.json"]:
            strict_json.loads(data)
        case ["trust", "sigstore", instance, "trusted_root.json" | "signing_config.json"] if (
            SEGMENT.fullmatch(instance)
        ):
            strict_json.loads(data)
        case ["revoked", "list.json"]:
            _only_grows(Revocations.parse(data), before)
        case ["reinstated", "list.json"]:
            Reinstatements.parse(data)
        case ["teams", team, "allow-list.json"]:
            if allow_list_path(AllowList.parse(data).team) != path:
                raise NoSuchTargetError("the allow-list is another team's", expected=team)
        case ["servers", *_]:
            if str(EntryPath.parse(path)) != str(Entry.parse(data).path):
                raise NoSuchTargetError("the entry says that it stands somewhere else")
        case _:
            raise NoSuchTargetError("no such file belongs into the repository", found=path[:200])


def _only_grows(new: Revocations, before: bytes | None) -> None:
    old = Revocations.parse(before).revocations if before is not None else ()
    dropped = [revocation.id for revocation in old if revocation not in new.revocations]
    if dropped:
        raise RevocationDroppedError("revocations would disappear", found=", ".join(dropped))
