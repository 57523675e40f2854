"""``mcps-registry trust``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from mcps_registry.cli.options import (
    key_signer,
    keys_option,
    passphrase_option,
    registry_access,
    registry_option,
)
from mcps_registry.lanes.content import check_content
from mcps_registry.lanes.edit import next_version
from mcps_trust.command_line import emit, json_option

__all__ = ["trust"]


@click.group()
def trust() -> None:
    """Change what the registry itself trusts."""


@trust.command()
@click.argument("files", nargs=-1, required=True, metavar="TARGET=FILE...")
@registry_option
@keys_option
@passphrase_option
@json_option
def update(
    files: tuple[str, ...], where: str, keys: Path, passphrase_file: Path | None, as_json: bool
) -> None:
    """Replace trust files: approvers, Sigstore instances, runtimes. Signed offline.

    \b
    Example:
      mcps-registry trust update -r ./registry --keys ./targets \\
          trust/sigstore/public/trusted_root.json=trusted_root.json
    """
    access = registry_access(where, passphrase_file)
    contents = {}
    for text in files:
        target, _, file = text.partition("=")
        contents[target] = Path(file).read_bytes()
        check_content(target, contents[target], None)
    now = datetime.now(UTC)
    signer = key_signer(keys, "targets", passphrase_file)
    role = next_version("targets", access.role("targets"), [signer], now, files=contents)
    access.accept_roles({"targets": role}, contents, now)
    emit(as_json, {"updated": sorted(contents)}, "updated " + ", ".join(sorted(contents)))
