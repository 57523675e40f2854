"""``mcps-registry trust``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from mcps_registry.access import Access
from mcps_registry.cli.options import Keys, signing_options
from mcps_registry.lanes.content import check_content
from mcps_registry.lanes.edit import next_version
from mcps_trust.command_line import emit, json_option
from mcps_trust.errors import UsageError

__all__ = ["trust"]


@click.group()
def trust() -> None:
    """Change what the registry itself trusts."""


@trust.command()
@click.argument("files", nargs=-1, required=True, metavar="TARGET=FILE...")
@signing_options
@json_option
def update(files: tuple[str, ...], access: Access, keys: Keys, as_json: bool) -> None:
    """Replace trust files: approvers, Sigstore instances, runtimes. Signed offline.

    \b
    Example:
      mcps-registry trust update -r ./registry --keys ./targets \\
          trust/sigstore/public/trusted_root.json=trusted_root.json
    """
    contents = {}
    for text in files:
        target, equals, file = text.partition("=")
        try:
            contents[target] = Path(file).read_bytes()
        except OSError as error:
            raise UsageError(
                f"cannot read {file!r}" if equals else "a target and its file are needed",
                expected="TARGET=FILE", found=error.strerror if equals else text,
            ) from error  # fmt: skip
        check_content(target, contents[target], None)
    now = datetime.now(UTC)
    signer = keys.signer("targets")
    role = next_version("targets", access.role("targets"), [signer], now, files=contents)
    access.accept_roles({"targets": role}, contents, now)
    emit(as_json, {"updated": sorted(contents)}, "updated " + ", ".join(sorted(contents)))
