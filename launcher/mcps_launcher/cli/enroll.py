"""``mcps-launch enroll`` and ``unenroll``."""

from __future__ import annotations

import os
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import click

from mcps_launcher.cli.options import Home, pass_home, say
from mcps_launcher.configuration import MANAGED, Configuration
from mcps_launcher.enrolment import Enrolment, NotEnrolledError
from mcps_launcher.places import Places
from mcps_launcher.proved import DevelopmentRegistryError
from mcps_launcher.resolve import Resolver
from mcps_trust.command_line import emit, json_option
from mcps_trust.errors import NotPermittedError, UsageError
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


class ManagedEnrolmentError(NotPermittedError):
    """On a managed host the administrator says which registry and team hold."""

    code = "managed-enrolment"
    advice = f"[enrolment] in {MANAGED} names them"


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
    _refuse_managed(configuration)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError("not an address", expected="https://mcp.example.org", found=url)
    if (root is None) == (fingerprint is None):
        raise UsageError("give either --root or --fingerprint")
    data = root.read_bytes() if root is not None else _fetch(configuration, url, fingerprint or "")
    enrolment = Enrolment(
        registry=url.rstrip("/"), team=parse_team(team), development=development, root=data
    )
    # In a folder of its own: of what is refused nothing is kept, and no cache can answer for it.
    with tempfile.TemporaryDirectory(prefix="mcps-enroll-") as folder:
        trial = Places(Path(folder))
        resolver = Resolver(trial, enrolment, configuration, datetime.now(UTC), say, cached=False)
        allow_list = resolver.allow_list()
        if not development and resolver.is_for_development():
            raise DevelopmentRegistryError("the registry was made for development")
    before = _present(places, configuration)
    enrolment.write(places)
    emit(
        as_json,
        {
            "registry": enrolment.registry,
            "team": team,
            "root": sha256(data),
            "aliases": sorted(allow_list.aliases),
            "managed": configuration.managed,
        },
        f"enrolled with {enrolment.registry} for team {team}{before}\n"
        f"it may start: {', '.join(sorted(allow_list.aliases)) or '(nothing yet)'}\n"
        "The team is self-asserted: no administrator of this host has named it.",
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
    _refuse_managed(Configuration.read(places))
    for path in (places.enrolment, places.root):
        path.unlink(missing_ok=True)
    emit(as_json, {"enrolled": False}, "this host trusts no registry any more")


def _present(places: Places, configuration: Configuration) -> str:
    """In words: what is replaced."""
    try:
        present = Enrolment.read(places, configuration)
    except NotEnrolledError:
        return ""
    return f", and no longer with {present.registry} for team {present.team}"


def _refuse_managed(configuration: Configuration) -> None:
    """Let pass whoever may choose what this host trusts: on a managed one, nobody but root.

    Raises:
        ManagedEnrolmentError: the administrator has chosen, or must.
    """
    if configuration.enrolment is not None or (configuration.managed and os.geteuid() != 0):
        raise ManagedEnrolmentError("this host is managed: its administrator says what it trusts")


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
