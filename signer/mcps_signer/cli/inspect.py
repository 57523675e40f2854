"""``mcps-sign verify`` and ``inspect``."""

from __future__ import annotations

from pathlib import Path

import click

from mcps_signer.cli.options import find_instance
from mcps_trust.bundle.parse import parse_bundle
from mcps_trust.bundle.verify import verify_bundle
from mcps_trust.command_line import emit, json_option
from mcps_trust.model.identity import PublisherIdentity
from mcps_trust.model.statement import ReleaseStatement, release_digest

__all__ = ["inspect_bundle", "verify"]

_bundle_argument = click.argument(
    "bundle", type=click.Path(path_type=Path, exists=True, dir_okay=False)
)


@click.command()
@_bundle_argument
@click.option("--issuer", required=True, help="Who must have issued the identity token.")
@click.option("--subject", required=True, help="Who must have signed.")
@click.option("--instance", default="private", show_default=True, help="With which instance.")
@click.option(
    "--trusted-root",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The instance's trusted_root.json; else it is taken from the registry.",
)
@click.option("--registry", default="", metavar="URL", help="The registry that trusts it.")
@click.option(
    "--registry-root",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Its root metadata.",
)
@json_option
def verify(
    bundle: Path, issuer: str, subject: str, instance: str, trusted_root: Path | None,
    registry: str, registry_root: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Verify a bundle: who signed, when, and what.

    \b
    Example:
      mcps-sign verify bundle.json --issuer https://login.example.org --subject it@example.org \\
          --trusted-root trusted_root.json
    """
    root = (
        trusted_root.read_bytes()
        if trusted_root is not None
        else find_instance(instance, registry, registry_root, yes=True).trusted_root
    )
    identity = PublisherIdentity(instance=instance, issuer=issuer, subject=subject)
    proof, _ = verify_bundle(bundle.read_bytes(), trusted_root=root, identity=identity)
    emit(
        as_json,
        proof.to_dict(),
        "\n".join(
            [
                f"release    {proof.release}",
                f"signed by  {proof.signer}",
                f"signed at  {proof.signed_at:%Y-%m-%d %H:%M:%S} UTC, log index {proof.log_index}",
            ]
        ),
    )


@click.command("inspect")
@_bundle_argument
@json_option
def inspect_bundle(bundle: Path, as_json: bool) -> None:
    """Show what a bundle says, without verifying that it is true.

    \b
    Example:
      mcps-sign inspect bundle.json
    """
    payload = parse_bundle(bundle.read_bytes()).payload
    statement = ReleaseStatement.parse(payload)
    lines = [
        f"NOT VERIFIED: {statement.server.name} {statement.server.version}",
        f"  release  {release_digest(payload)}",
        f"  origin   {statement.origin}",
    ]
    lines += [f"  package  {package.purl}" for package in statement.packages]
    lines += [f"  tool     {name}" for name in statement.tools.tool_names()]
    emit(as_json, statement.to_dict(), "\n".join(lines))
