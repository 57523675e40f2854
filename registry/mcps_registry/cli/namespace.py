"""``mcps-registry namespace``."""

from __future__ import annotations

from pathlib import Path

import click

from mcps_registry.configuration import PRIVATE_INSTANCE, RegistryFolder
from mcps_registry.desk import open_desk
from mcps_trust.command_line import emit, json_option
from mcps_trust.model.fields import Fields
from mcps_trust.model.identity import PublisherIdentity

__all__ = ["namespace"]


@click.group()
def namespace() -> None:
    """Say who may publish under which namespace."""


@namespace.command("allow")
@click.argument("name", metavar="NAMESPACE")
@click.option(
    "--registry",
    "-r",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="The registry's folder.",
)
@click.option(
    "--instance",
    default=PRIVATE_INSTANCE,
    show_default=True,
    help="The Sigstore instance that must have issued the certificate.",
)
@click.option("--issuer", required=True, help="The token issuer, exactly.")
@click.option(
    "--subject", required=True, help="Email or URI, exactly, or with * within one segment of it."
)
@json_option
def allow(name: str, folder: Path, instance: str, issuer: str, subject: str, as_json: bool) -> None:
    """Let an identity publish under NAMESPACE.

    \b
    Example:
      mcps-registry namespace allow io.github.acme -r ./registry \\
        --issuer https://token.actions.example.org \\
        --subject "https://git.example.org/acme/clock/.github/workflows/release.yml@refs/tags/*"
    """
    identity = PublisherIdentity.from_fields(
        Fields({"instance": instance, "issuer": issuer, "subject": subject}, "identity")
    )
    open_desk(RegistryFolder(folder), bytes).allow_namespace(name, identity)
    emit(
        as_json,
        {"namespace": name, "identity": identity.to_dict()},
        f"{identity.subject} may publish under {name}",
    )


@namespace.command("list")
@click.option(
    "--registry",
    "-r",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="The registry's folder.",
)
@json_option
def list_(folder: Path, as_json: bool) -> None:
    """Show who may publish under which namespace.

    \b
    Example:
      mcps-registry namespace list -r ./registry
    """
    found = open_desk(RegistryFolder(folder), bytes).namespaces()
    text = "\n".join(
        f"{name}  {i.subject}  (by {i.issuer}, instance {i.instance})"
        for name, identities in sorted(found.items())
        for i in identities
    )
    document = {name: [i.to_dict() for i in identities] for name, identities in found.items()}
    emit(as_json, {"namespaces": document}, text or "nobody may publish yet")
