"""``mcps-registry team``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric import ed25519
from tuf.api.metadata import Metadata, Targets

from mcps_registry.access import Access
from mcps_registry.ceremony.holders import signer
from mcps_registry.ceremony.key_file import KeyFile
from mcps_registry.cli.options import Keys, registry_options, signing_options
from mcps_registry.lanes.edit import next_version
from mcps_registry.lanes.roles import team_delegation, team_role
from mcps_registry.own_target import change_target
from mcps_trust.command_line import emit, json_option
from mcps_trust.errors import UsageError
from mcps_trust.locked_file import make_private_directory
from mcps_trust.model import strict_json
from mcps_trust.model.allow_list import Allowed, AllowList, Tightening
from mcps_trust.model.digest import sha256
from mcps_trust.model.fields import Fields
from mcps_trust.model.names import (
    EntryPath,
    ServerName,
    TeamId,
    allow_list_path,
    parse_alias,
    parse_team,
)

__all__ = ["team"]

_PLATFORMS = ("linux/x86_64", "linux/aarch64")


class NoSuchTeamError(UsageError):
    """The registry knows no such team."""

    code = "no-such-team"
    advice = "make it with `mcps-registry team create`"


@click.group()
def team() -> None:
    """Make teams and say what each may start."""


@team.command()
@click.argument("name", metavar="TEAM")
@signing_options
@click.option(
    "--new-keys",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Where the team's own key goes; give it to the team.",
)
@json_option
def create(name: str, access: Access, keys: Keys, new_keys: Path, as_json: bool) -> None:
    """Make a team, with a key of its own. Signed with IT's key.

    \b
    Example:
      mcps-registry team create demo -r ./registry --keys ./keys/it --new-keys ./keys/team-demo
    """
    team_id = parse_team(name)
    now = datetime.now(UTC)
    role = team_role(team_id)
    if access.role(role) is not None:
        raise UsageError(f"there is already a team {name!r}")
    it = keys.signer("teams")
    secret = keys.passphrase(f"team {name} (new)", new=True)
    private = ed25519.Ed25519PrivateKey.generate()
    own = signer(private)

    def delegate(signed: Targets) -> None:
        if signed.delegations is None or signed.delegations.roles is None:
            msg = "the role teams delegates by construction"
            raise RuntimeError(msg)
        signed.delegations.keys[own.public_key.keyid] = own.public_key
        signed.delegations.roles[role] = team_delegation(team_id, [own.public_key.keyid], 1)

    path = allow_list_path(team_id)
    allow_list = AllowList(team=team_id, platforms=_PLATFORMS).to_bytes()
    roles = {
        "teams": next_version("teams", access.role("teams"), [it], now, change=delegate),
        role: next_version(role, None, [own], now, files={path: allow_list}),
    }
    KeyFile.seal(private, role, secret).write(make_private_directory(new_keys) / f"{role}.json")
    access.accept_roles(roles, {path: allow_list}, now)
    emit(
        as_json,
        {"team": name, "key": str(new_keys / f"{role}.json")},
        f"team {name} made; its key is {new_keys / f'{role}.json'}",
    )


@team.command("list")
@registry_options
@json_option
def list_(access: Access, as_json: bool) -> None:
    """Show the teams and what each may start.

    \b
    Example:
      mcps-registry team list -r ./registry
    """
    found: dict[str, dict[str, str]] = {}
    for name in _teams(access):
        allow_list = _allow_list(access, name)
        found[str(name)] = {alias: str(item.entry) for alias, item in allow_list.aliases.items()}
    lines = []
    for title, aliases in sorted(found.items()):
        lines.append(title)
        lines += [f"  {alias}  {entry}" for alias, entry in sorted(aliases.items())]
    emit(as_json, {"teams": found}, "\n".join(lines) or "no teams yet")


@team.command()
@click.argument("name", metavar="TEAM")
@click.argument("alias")
@click.argument("entry", metavar="ENTRY|SERVER@VERSION")
@click.option(
    "--tighten",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A JSON file: what this team takes away from the grant.",
)
@signing_options
@json_option
def allow(
    name: str,
    alias: str,
    entry: str,
    tighten: Path | None,
    access: Access,
    keys: Keys,
    as_json: bool,
) -> None:
    """Let a team start an approved entry as ALIAS. Signed with the team's key.

    \b
    Example:
      mcps-registry team allow demo clock io.example/clock@1.0.0 \\
          -r https://mcp.example.org --registry-root 1.root.json --keys ./team-demo
    """
    path = _entry_path(access, entry)
    data = _entry(access, path)
    if data is None:
        raise UsageError(f"the catalogue has no {path}", remedy="it must be approved first")
    tightening = Tightening()
    if tighten is not None:
        document = strict_json.loads(tighten.read_bytes())
        tightening = Tightening.from_fields(Fields(document, "tighten"))
    allowed = Allowed(entry=path, sha256=sha256(data), tighten=tightening)
    as_alias = parse_alias(alias)

    def add(old: AllowList) -> AllowList:
        return replace(old, aliases={**old.aliases, as_alias: allowed})

    _change(access, name, add, keys)
    emit(
        as_json,
        {"team": name, "alias": alias, **allowed.to_dict()},
        f"team {name} may start {alias}: {path}",
    )


@team.command()
@click.argument("name", metavar="TEAM")
@click.argument("alias")
@signing_options
@json_option
def deny(name: str, alias: str, access: Access, keys: Keys, as_json: bool) -> None:
    """Take ALIAS off a team's allow-list. Signed with the team's key.

    \b
    Example:
      mcps-registry team deny demo clock -r https://mcp.example.org --keys ./team-demo
    """

    def take_off(old: AllowList) -> AllowList:
        if alias not in old.aliases:
            raise UsageError(f"team {name} has no alias {alias!r}")
        aliases = {key: value for key, value in old.aliases.items() if key != alias}
        return replace(old, aliases=aliases)

    _change(access, name, take_off, keys)
    emit(as_json, {"team": name, "denied": alias}, f"team {name} may no longer start {alias}")


def _change(
    access: Access, name: str, change: Callable[[AllowList], AllowList], keys: Keys,
) -> None:  # fmt: skip
    team_id = parse_team(name)
    role = team_role(team_id)
    if access.role(role) is None:
        raise NoSuchTeamError(f"the registry knows no team {name!r}")
    change_target(
        access, allow_list_path(team_id), role=role,
        signers=[keys.signer(role)], last=keys.last_signed(role),
        change=lambda data: change(AllowList.parse(data)).to_bytes(), now=datetime.now(UTC),
    )  # fmt: skip


def _allow_list(access: Access, name: TeamId) -> AllowList:
    data = access.target(allow_list_path(name))
    if data is None:
        raise NoSuchTeamError(f"the registry knows no team {name!r}")
    return AllowList.parse(data)


def _teams(access: Access) -> list[TeamId]:
    data = access.role("teams")
    delegations = None if data is None else Metadata[Targets].from_bytes(data).signed.delegations
    roles = delegations.roles if delegations is not None and delegations.roles else {}
    return [parse_team(name.removeprefix("team-")) for name in roles]


def _entry_path(access: Access, text: str) -> EntryPath:
    """An entry's path, or the newest revision of ``namespace/name@version``."""
    if text.startswith("servers/"):
        return EntryPath.parse(text)
    server, at, version = text.rpartition("@")
    if not at:
        raise UsageError("not an entry", expected="servers/… or namespace/name@version", found=text)
    path = EntryPath(ServerName.parse(server), version, 1)
    while _entry(access, following := EntryPath(path.server, path.version, path.revision + 1)):
        path = following
    return path


def _entry(access: Access, path: EntryPath) -> bytes | None:
    return access.target(str(path))
