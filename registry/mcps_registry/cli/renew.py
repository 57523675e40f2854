"""``mcps-registry renew``."""

from __future__ import annotations

from datetime import UTC, datetime

import click
from securesystemslib.signer import CryptoSigner

from mcps_registry.access import Access
from mcps_registry.ceremony.key_file import BadKeyFileError
from mcps_registry.cli.options import Keys, signing_options
from mcps_registry.lanes.edit import next_root, next_version
from mcps_registry.lanes.roles import expiry
from mcps_trust.clock import format_time
from mcps_trust.command_line import emit, json_option
from mcps_trust.errors import UsageError

__all__ = ["renew"]

_PURPOSES = {"targets": ("targets",), "catalog": ("catalog",), "teams": ("teams",),
             "revoked": ("revoked",), "reinstated": ("reinstated-1", "reinstated-2")}  # fmt: skip
_MOST_ROOT_KEYS = 32


@click.command()
@click.argument("roles", nargs=-1, required=True, metavar="ROLE...")
@signing_options
@json_option
def renew(roles: tuple[str, ...], access: Access, keys: Keys, as_json: bool) -> None:
    """Sign offline roles anew, unchanged, before they expire: `status` shows when.

    ROLE is root, targets, catalog, teams, revoked, reinstated, or team-NAME. For root, bring
    the folders of as many holders as must sign.

    \b
    Examples:
      mcps-registry renew revoked -r https://mcp.example.org --keys ./on-call
      mcps-registry renew root targets catalog -r ./registry --keys ./keys
    """
    now = datetime.now(UTC)
    renewed = {}
    for role in roles:
        current = access.role(role)
        if current is None or (role not in _PURPOSES and role != "root"
                               and not role.startswith("team-")):  # fmt: skip
            raise UsageError(
                "there is no such role, or the registry signs it by itself", found=role,
                expected=", ".join(("root", *_PURPOSES, "team-NAME")),
            )  # fmt: skip
        if role == "root":
            renewed[role] = next_root(current, _root_signers(keys), now)
        else:
            signers = [keys.signer(purpose) for purpose in _PURPOSES.get(role, (role,))]
            renewed[role] = next_version(role, current, signers, now)
    access.accept_roles(renewed, {}, now)
    until = {role: format_time(expiry(role, now)) for role in roles}
    emit(as_json, {"renewed": until}, "\n".join(f"{r}: until {t}" for r, t in until.items()))


def _root_signers(keys: Keys) -> list[CryptoSigner]:
    """Every root key that was brought along."""
    signers = []
    for number in range(1, _MOST_ROOT_KEYS + 1):
        try:
            signers.append(keys.signer(f"root-{number}"))
        except BadKeyFileError:
            continue
    if not signers:
        raise BadKeyFileError("no root key is here", expected="root-1.json, …, or folders of them")
    return signers
