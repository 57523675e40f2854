"""``mcps-launch enroll`` and ``unenroll``."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import click

from mcps_launcher.cli.options import Home, pass_home, say
from mcps_launcher.configuration import Configuration
from mcps_launcher.enrolment import Enrolment
from mcps_launcher.proved import DevelopmentRegistryError
from mcps_launcher.resolve import Resolver
from mcps_trust.command_line import emit, json_option
from mcps_trust.errors import McpsError, NotPermittedError, UsageError
from mcps_trust.http import Http
from mcps_trust.model.digest import sha256
from mcps_trust.model.names import parse_team

__all__ = ["enroll", "unenroll"]

_FINGERPRINT = re.compile(r"([1-9][0-9]{0,5}):([0-9a-f]{64})")
_LIMIT = 512 * 1024  # bytes


class RootMismatchError(NotPermittedError):
    """The registry's root metadata is not the one that was announced."""

    code = "root-mismatch"
    advice = "check the fingerprint with whoever gave it to you, over another channel"


@click.command()
@click.argument("url", metavar="URL")
@click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The registry's root metadata, as its administrator gave it to you.",
)
@click.option(
    "--fingerprint",
    metavar="N:SHA256",
    help="Instead: the number and digest of the root metadata to fetch.",
)
@click.option("--team", required=True, help="Whose allow-list holds on this host.")
@click.option(
    "--development", is_flag=True, help="Accept a registry that was made with `init --development`."
)
@json_option
@pass_home
def enroll(
    home: Home, url: str, root: Path | None, fingerprint: str | None, team: str,
    development: bool, as_json: bool,
) -> None:  # fmt: skip
    """Trust a registry, from this root metadata on.

    \b
    Examples:
      mcps-launch enroll https://mcp.example.org --root 1.root.json --team demo
      mcps-launch enroll https://mcp.example.org --team demo \\
          --fingerprint 1:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    """
    places = home.places()
    configuration = Configuration.read(places)
    if (root is None) == (fingerprint is None):
        raise UsageError("give either --root or --fingerprint")
    data = root.read_bytes() if root is not None else _fetch(configuration, url, fingerprint or "")
    enrolment = Enrolment(
        registry=url.rstrip("/"), team=parse_team(team), development=development, root=data
    )
    before = (
        (places.enrolment.read_bytes(), places.root.read_bytes())
        if (places.enrolment.exists() and places.root.exists())
        else None
    )
    resolver = Resolver(places, enrolment, configuration, datetime.now(UTC), say)
    try:
        allow_list = resolver.allow_list()
        if not development and resolver.is_for_development():
            raise DevelopmentRegistryError("the registry was made for development")
    except McpsError:
        if before is None:
            for path in (places.enrolment, places.root):
                path.unlink(missing_ok=True)
        raise
    enrolment.write(places)
    warning = (
        "" if configuration.managed else ("\nThe team is self-asserted: this host is not managed.")
    )
    emit(
        as_json,
        {
            "registry": enrolment.registry,
            "team": team,
            "root": sha256(data),
            "aliases": sorted(allow_list.aliases),
            "managed": configuration.managed,
        },
        f"enrolled with {enrolment.registry} for team {team}\n"
        f"it may start: {', '.join(sorted(allow_list.aliases)) or '(nothing yet)'}{warning}",
    )


@click.command()
@json_option
@pass_home
def unenroll(home: Home, as_json: bool) -> None:
    """Trust no registry any more. Installed closures and the audit stay.

    \b
    Example:
      mcps-launch unenroll
    """
    places = home.places()
    for path in (places.enrolment, places.root):
        path.unlink(missing_ok=True)
    emit(as_json, {"enrolled": False}, "this host trusts no registry any more")


def _fetch(configuration: Configuration, url: str, fingerprint: str) -> bytes:
    match = _FINGERPRINT.fullmatch(fingerprint)
    if match is None:
        raise UsageError("not a fingerprint", expected="N:SHA256", found=fingerprint)
    with Http(configuration.http) as http:
        answer = http.get(f"{url.rstrip('/')}/metadata/{match[1]}.root.json", limit=_LIMIT)
    if answer.status != 200 or sha256(answer.body) != match[2]:
        raise RootMismatchError(
            "the registry's root is not the one that was announced",
            expected=match[2],
            found=f"status {answer.status}, sha256 {sha256(answer.body)}",
        )
    return answer.body
