"""Options that several commands share, and what they stand for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from mcps_launcher.install.fetch import FetchSettings
from mcps_signer.sign import Instance, public_instance
from mcps_trust.clock import format_time
from mcps_trust.errors import UsageError

__all__ = ["before_option", "cache_option", "fetch_settings", "signing_options"]

F = TypeVar("F", bound=Callable[..., Any])

before_option = click.option(
    "--before", default="", metavar="TIME",
    help="Consider only what was published before this time; else now. The same input and "
    "time give the same lock.",
)  # fmt: skip
index_option = click.option(
    "--index", default="", metavar="URL",
    help="Package index to resolve with; else what uv or npm is configured for.",
)  # fmt: skip
cache_option = click.option(
    "--cache", type=click.Path(path_type=Path, file_okay=False), default=None,
    help="Where downloaded packages are kept.",
)  # fmt: skip


def signing_options(command: F) -> F:
    """``--registry``, ``--registry-root``, ``--instance``, ``--identity-token``, ``--yes``."""
    options = [
        click.option("--registry", default="", metavar="URL", help="The registry to submit to."),
        click.option("--registry-root", type=click.Path(path_type=Path, exists=True,
                     dir_okay=False), help="Its root metadata (N.root.json)."),
        click.option("--instance", default="private", show_default=True,
                     help="The Sigstore instance to sign with: one that the registry trusts, or "
                     "'public'."),
        click.option("--identity-token", type=click.Path(path_type=Path, dir_okay=False),
                     help="A file with an identity token; else that of the CI job."),
        click.option("--yes", is_flag=True, help="Do not ask before writing to a public log."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def before_time(text: str) -> str:
    """The time to resolve at."""
    return text or format_time(datetime.now(UTC))


def fetch_settings(cache: Path | None, registry: str = "") -> FetchSettings:
    """Where packages come from."""
    place = cache or Path(click.get_app_dir("mcps-sign")) / "packages"
    return FetchSettings(place, registry=registry or None)


def find_instance(name: str, registry: str, root: Path | None, *, yes: bool) -> Instance:
    """The Sigstore instance to sign with; asks before a public one."""
    from mcps_signer.registry_client import registry_instance

    if name == "public":
        if not yes:
            click.confirm(
                "This writes who you are and what you sign to a public log, for ever. Go on?",
                abort=True,
                err=True,
            )
        return public_instance()
    if registry and not registry.startswith(("http://", "https://")):
        raise UsageError("not an address", expected="https://mcp.example.org", found=registry)
    if not registry or root is None:
        raise UsageError(
            "a private instance is known through its registry",
            expected="--registry URL --registry-root FILE, or --instance public",
        )
    return registry_instance(registry, root.read_bytes(), name)


__all__ += ["before_time", "find_instance", "index_option"]
