"""``mcps-launch configure``: enter a server into a host's configuration."""

from __future__ import annotations

import difflib
import shutil
from dataclasses import replace
from pathlib import Path

import click

from mcps_launcher.cli.options import Home, pass_home
from mcps_launcher.hosts.configuration_file import HOSTS, merged, read_file
from mcps_trust.command_line import emit, json_option
from mcps_trust.errors import McpsError
from mcps_trust.locked_file import write_atomically
from mcps_trust.model.names import Alias, parse_alias
from mcps_trust.policy.chain import find_allowed
from mcps_trust.printable import printable

__all__ = ["configure"]


@click.command()
@click.argument("host", type=click.Choice(sorted(HOSTS)))
@click.argument("name")
@click.option(
    "--file",
    "chosen",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The configuration file; else the host's usual one.",
)
@click.option("--remove", is_flag=True, help="Take the server out again.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--print", "only_print", is_flag=True, help="Print the entry, for any other host.")
@json_option
@pass_home
def configure(
    home: Home, host: str, name: str, chosen: Path | None, remove: bool, dry_run: bool,
    only_print: bool, as_json: bool,
) -> None:  # fmt: skip
    """Enter a server into a host's configuration; other entries stay as they are.

    \b
    Examples:
      mcps-launch configure claude-code clock --dry-run
      mcps-launch configure vscode clock
      mcps-launch configure vscode clock --remove
    """
    kind = replace(HOSTS[host], home=home.chosen)
    alias = parse_alias(name)
    if not remove and shutil.which("mcps-launch") is None:
        click.echo("warning: mcps-launch is not on PATH here; the host must find it", err=True)
    if not remove:
        _warn_of_unknown(home, alias)
    if only_print:
        entry = kind.entry(alias)
        emit(as_json, entry, _pretty(entry))
        return
    path = chosen or kind.default_file()
    old, document = read_file(path)
    new = merged(document, kind, alias, remove=remove)
    if dry_run:
        diff = "".join(
            difflib.unified_diff(
                old.splitlines(keepends=True), new.splitlines(keepends=True), str(path), str(path)
            )
        )
        emit(as_json, {"file": str(path), "diff": diff}, diff or "nothing would change")
        return
    if new != old:
        if old:
            write_atomically(path.with_name(path.name + ".mcps-backup"), old.encode())
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, new.encode())
    done = "removed from" if remove else "entered into"
    if new == old:
        done = "was not in" if remove else "was already in"
    emit(as_json, {"file": str(path), "changed": new != old}, f"{name} {done} {path}")


def _warn_of_unknown(home: Home, alias: Alias) -> None:
    """A configuration may be written before the team allows the server; a typing error, too."""
    try:
        find_allowed(home.resolver(quiet=True).allow_list(), alias)
    except McpsError as error:
        click.echo(f"warning: {printable(str(error))}", err=True)


def _pretty(entry: object) -> str:
    import json

    return json.dumps(entry, indent=2)
