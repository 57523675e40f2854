"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click
from securesystemslib.signer import CryptoSigner

from mcps_registry.access import Access, open_access
from mcps_registry.ceremony.holders import find_key, find_key_file, signer
from mcps_registry.ceremony.last_signed import LastSigned
from mcps_trust.command_line import read_passphrase

__all__ = ["Keys", "passphrase_option", "registry_options", "signing_options"]

_registry = click.option(
    "--registry", "-r", "where", required=True, metavar="DIR|URL",
    help="The registry's folder, or its URL.",
)  # fmt: skip
_registry_root = click.option(
    "--registry-root", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="For a URL: the registry's root metadata, from which all else is verified.",
)  # fmt: skip
_keys = click.option(
    "--keys", type=click.Path(path_type=Path, exists=True), required=True, metavar="PATH",
    help="The folder of the key's holder, a folder of such folders, or the key file.",
)  # fmt: skip
passphrase_option = click.option(
    "--passphrase-file", type=click.Path(path_type=Path, dir_okay=False), default=None,
    help="A file whose first line is the passphrase; without it, it is asked for.",
)  # fmt: skip


class Keys:
    """The keys of whoever calls a command, still closed."""

    def __init__(self, path: Path, passphrase_file: Path | None) -> None:
        self._path = path
        self._passphrase_file = passphrase_file

    def signer(self, purpose: str) -> CryptoSigner:
        """Open the key for `purpose`.

        Raises:
            BadKeyFileError, WrongPassphraseError: as their names say.
        """
        secret = self.passphrase(f"the key {purpose}")
        return signer(find_key(self._path, purpose).open(secret))

    def last_signed(self, purpose: str) -> LastSigned:
        """What the key for `purpose` signed last, from here.

        Raises:
            BadKeyFileError: there is no such key.
        """
        return LastSigned(find_key_file(self._path, purpose).with_suffix(".signed"))

    def passphrase(self, whose: str, *, new: bool = False) -> bytes:
        """A passphrase, from the file that was named or from the terminal."""
        return read_passphrase(self._passphrase_file, whose, new=new)


def registry_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say where the registry is; the command gets it as ``access``.

    Its online keys, if needed, open with the passphrase that is given.
    """

    @functools.wraps(command)
    def opened(
        *, where: str, registry_root: Path | None, passphrase_file: Path | None, **rest: object
    ) -> object:
        with _opened(where, registry_root, passphrase_file) as access:
            return command(access=access, **rest)

    return _registry(_registry_root(passphrase_option(opened)))


def signing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """As `registry_options`, and the keys to sign with, which the command gets as ``keys``."""

    @functools.wraps(command)
    def opened(
        *, where: str, registry_root: Path | None, passphrase_file: Path | None, keys: Path,
        **rest: object,
    ) -> object:  # fmt: skip
        with _opened(where, registry_root, passphrase_file) as access:
            return command(access=access, keys=Keys(keys, passphrase_file), **rest)

    return _registry(_registry_root(_keys(passphrase_option(opened))))


def _opened(
    where: str, root: Path | None, passphrase_file: Path | None
) -> AbstractContextManager[Access]:
    data = None if root is None else root.read_bytes()
    return open_access(where, data, lambda: read_passphrase(passphrase_file, "the online keys"))
