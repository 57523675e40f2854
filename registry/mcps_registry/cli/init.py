"""``mcps-registry init``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import click

from mcps_registry.ceremony.begin import begin
from mcps_registry.configuration import RegistryConfiguration, RegistryFolder
from mcps_registry.sigstore.tokens import Issuer
from mcps_trust.command_line import emit, json_option, progress, read_passphrase
from mcps_trust.errors import UsageError
from mcps_trust.model.digest import sha256

__all__ = ["init"]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--url", required=True, help="Where clients will reach it.")
@click.option("--name", default="MCP registry", show_default=True, help="For certificates.")
@click.option(
    "--approver",
    "approvers",
    multiple=True,
    required=True,
    metavar="NAME",
    help="Who may approve releases; give it once for each person.",
)
@click.option(
    "--approval-threshold",
    default=1,
    show_default=True,
    help="How many approvers each entry takes.",
)
@click.option("--root-keys", default=3, show_default=True, help="How many root keys there are.")
@click.option("--root-threshold", default=2, show_default=True, help="How many must sign.")
@click.option(
    "--bins",
    type=click.Choice(["2", "4", "8", "16", "64", "256", "1024", "4096"]),
    default="16",
    show_default=True,
    help="Catalogue bins; 16 for a few thousand entries, 4096 for a million.",
)
@click.option(
    "--issuer",
    "issuers",
    multiple=True,
    metavar="URL=email|uri|workflow",
    help="Whose identity tokens the embedded Sigstore accepts, and what names a signer.",
)
@click.option(
    "--development",
    is_flag=True,
    help="Add a token issuer that trusts everybody. Never for real use.",
)
@click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="One passphrase for every holder; without it, each is asked for.",
)
@json_option
def init(
    folder: Path,
    url: str,
    name: str,
    approvers: tuple[str, ...],
    approval_threshold: int,
    root_keys: int,
    root_threshold: int,
    bins: str,
    issuers: tuple[str, ...],
    development: bool,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Make a registry in DIR: keys, roles, trust files, a private Sigstore.

    \b
    Example:
      mcps-registry init ./registry --url https://mcp.example.org \\
          --approver alice --approver bob --approval-threshold 2
    """
    if not 1 <= root_threshold <= root_keys or not 1 <= approval_threshold <= len(approvers):
        raise UsageError("a threshold is at least 1 and at most the number of keys")
    if len(set(approvers)) != len(approvers):
        raise UsageError("each approver once", found=", ".join(approvers))
    _check_url(url, development=development)
    configuration = RegistryConfiguration(
        name=f"DEVELOPMENT {name}" if development else name,
        url=url.rstrip("/"),
        development=development,
        issuers=tuple(_issuer(text) for text in issuers),
    )
    place = RegistryFolder(folder)
    with progress("making and encrypting keys"):
        holders = begin(
            place, configuration, approvers=approvers, approval_threshold=approval_threshold,
            root_keys=root_keys, root_threshold=root_threshold, bins=int(bins),
            passphrase=lambda holder: read_passphrase(
                passphrase_file, f"holder {holder}", new=True
            ),
            now=datetime.now(UTC),
        )  # fmt: skip
    root = place.public / "metadata" / "1.root.json"
    fingerprint = f"1:{sha256(root.read_bytes())}"
    lines = [
        f"Registry made in {folder}",
        "",
        "Whose each folder of keys is, and where it belongs:",
    ]
    lines += [f"  {place.keys / holder.name}  →  {holder.carry_to}" for holder in holders]
    lines += ["", f"Hosts enrol with {root}", f"  or with --fingerprint {fingerprint}"]
    if not issuers and not development:
        lines += ["", "No --issuer was named: nobody can sign with its own Sigstore yet. See",
                  f"[[issuers]] in {place.configuration}."]  # fmt: skip
    if development:
        lines += [
            "", "DEVELOPMENT: anybody can get a token for any identity. Never for real use.",
            f"  mcps-registry serve {folder} --with-sigstore",
            f"  mcps-registry namespace allow NAMESPACE -r {folder} \\",
            f"      --issuer {url}/sigstore/oidc --subject you@example.org",
            """  curl -s -H 'Content-Type: application/json' -d '{"email": "you@example.org"}' \\""",
            f"      {url}/sigstore/oidc/token | cut -d '\"' -f 4 > token.txt",
            f"  mcps-sign publish --registry {url} --registry-root {root} --identity-token token.txt",
        ]  # fmt: skip
    emit(as_json, {
        "folder": str(folder), "root": str(root), "fingerprint": fingerprint,
        "development": development,
        "holders": [{"name": h.name, "keys": list(h.keys), "carryTo": h.carry_to} for h in holders],
    }, "\n".join(lines))  # fmt: skip


def _check_url(url: str, *, development: bool) -> None:
    """Let pass an address that may stand in trust files for years.

    Raises:
        UsageError: it is none, or is not protected on its way.
    """
    parts = urlsplit(url)
    is_local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
        raise UsageError("not an address", expected="https://mcp.example.org", found=url)
    if parts.scheme == "http" and not is_local:
        raise UsageError(
            "a registry is reached by TLS", expected=f"https://{parts.netloc}", found=url
        )
    if development and not is_local:
        raise UsageError("a registry for development is on this machine alone",
                         expected="http://127.0.0.1:PORT", found=url)  # fmt: skip


def _issuer(text: str) -> Issuer:
    url, _, subject = text.rpartition("=")
    if not url.startswith(("http://", "https://")) or subject not in ("email", "uri", "workflow"):
        raise UsageError("not an issuer", expected="URL=email, URL=uri or URL=workflow", found=text)
    return Issuer(url=url, subject=subject)
