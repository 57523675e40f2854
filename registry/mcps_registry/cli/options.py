"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from securesystemslib.signer import CryptoSigner

from mcps_registry.access import Access, open_access
from mcps_registry.ceremony.holders import find_key, signer
from mcps_trust.command_line import read_passphrase

__all__ = ["key_signer", "keys_option", "passphrase_option", "registry_access", "registry_option"]

F = TypeVar("F", bound=Callable[..., Any])

registry_option = click.option(
    "--registry", "-r", "where", required=True, metavar="DIR|URL", envvar="MCPS_REGISTRY",
    help="The registry's folder, or its URL.",
)  # fmt: skip
keys_option = click.option(
    "--keys", type=click.Path(path_type=Path, exists=True), required=True, metavar="PATH",
    help="The folder of the key's holder, a folder of such folders, or the key file.",
)  # fmt: skip
passphrase_option = click.option(
    "--passphrase-file", type=click.Path(path_type=Path, dir_okay=False), default=None,
    help="A file whose first line is the passphrase; without it, it is asked for.",
)  # fmt: skip


def registry_access(where: str, passphrase_file: Path | None) -> Access:
    """The registry at `where`; its online keys, if needed, open with the same passphrase."""
    return open_access(where, lambda: read_passphrase(passphrase_file, "the online keys"))


def key_signer(keys: Path, purpose: str, passphrase_file: Path | None) -> CryptoSigner:
    """Open the key for `purpose`."""
    key = find_key(keys, purpose)
    return signer(key.open(read_passphrase(passphrase_file, f"the key {purpose}")))
