"""``mcps-registry serve`` and ``refresh``."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime
from pathlib import Path

import click
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.routing import Route

from mcps_registry.api.application import RESIGN_EVERY, make_application
from mcps_registry.api.sigstore import sigstore_routes
from mcps_registry.ceremony.holders import ONLINE, find_key
from mcps_registry.cli.options import passphrase_option
from mcps_registry.configuration import RegistryFolder
from mcps_registry.desk import Desk, open_desk
from mcps_registry.sigstore.instance import open_instance
from mcps_registry.sigstore.tokens import DevelopmentIssuer, TokenChecker
from mcps_trust.command_line import emit, json_option, progress, read_passphrase
from mcps_trust.errors import ConfigurationError
from mcps_trust.http_settings import HttpSettings

__all__ = ["refresh", "serve"]

_SIGSTORE_KEYS = ("ca", "ct", "log", "tsa-ca", "tsa")


class NotLoopbackError(ConfigurationError):
    """A development registry would be reachable from outside."""

    code = "development-not-loopback"
    advice = "a registry made with --development is served on 127.0.0.1 or ::1 only"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8443, show_default=True, help="Port to listen on.")
@click.option("--cert", type=click.Path(exists=True, dir_okay=False), help="TLS certificate (PEM).")
@click.option("--key", type=click.Path(exists=True, dir_okay=False), help="TLS key (PEM).")
@click.option("--with-sigstore", is_flag=True, help="Serve the embedded Sigstore too.")
@click.option(
    "--resign-every",
    default=RESIGN_EVERY,
    show_default=True,
    metavar="SECONDS",
    help="How often the timestamp is signed again.",
)
@passphrase_option
def serve(
    folder: Path,
    host: str,
    port: int,
    cert: str | None,
    key: str | None,
    with_sigstore: bool,
    resign_every: float,
    passphrase_file: Path | None,
) -> None:
    """Serve the registry in DIR over HTTP.

    \b
    Examples:
      mcps-registry serve ./registry --cert server.pem --key server.key --host 0.0.0.0
      mcps-registry serve ./registry --with-sigstore --passphrase-file online.txt
    """
    place = RegistryFolder(folder)
    secret = read_passphrase(passphrase_file, "the online keys")
    desk = open_desk(place, lambda: secret)
    if desk.configuration.development and not _is_loopback(host):
        raise NotLoopbackError("a development registry would be reachable from outside", found=host)
    with progress("opening keys and publishing what is not published yet"):
        desk.repository.materialise()
        desk.repository.refresh(datetime.now(UTC))
        routes = _sigstore(desk, secret) if with_sigstore else []
    scheme = "https" if cert else "http"
    banner = "DEVELOPMENT registry" if desk.configuration.development else "registry"
    click.echo(f"{banner} {desk.configuration.name!r} at {scheme}://{host}:{port}", err=True)
    application = make_application(desk, routes, resign_every=resign_every)
    uvicorn.run(
        application,
        host=host,
        port=port,
        ssl_certfile=cert,
        ssl_keyfile=key,
        log_level="warning",
        timeout_graceful_shutdown=3,
        server_header=False,
    )


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@passphrase_option
@json_option
def refresh(folder: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Sign the timestamp again, and whatever else of the online roles ends soon.

    \b
    Example:
      mcps-registry refresh ./registry --passphrase-file online.txt
    """
    desk = open_desk(RegistryFolder(folder), lambda: read_passphrase(passphrase_file, "online"))
    desk.repository.refresh(datetime.now(UTC))
    emit(as_json, {"refreshed": True}, "refreshed")


def _sigstore(desk: Desk, secret: bytes) -> list[Route]:
    folder, configuration = desk.folder, desk.configuration
    keys = {name: find_key(folder.keys / ONLINE, name).open(secret) for name in _SIGSTORE_KEYS}
    certs = {
        name: x509.load_pem_x509_certificate((folder.sigstore / f"{name}.pem").read_bytes())
        for name in ("ca", "tsa-ca", "tsa")
    }
    instance = open_instance(folder.sigstore, configuration.log_origin, keys, certs)
    tokens = TokenChecker({issuer.url: issuer for issuer in configuration.issuers}, HttpSettings())
    development = None
    if configuration.development:
        oidc = find_key(folder.keys / ONLINE, "oidc").open(secret)
        if not isinstance(oidc, ec.EllipticCurvePrivateKey):
            msg = "the token key is P-256 by construction"
            raise TypeError(msg)
        development = DevelopmentIssuer(f"{configuration.url}/sigstore/oidc", oidc)
        tokens.add_local(development.issuer, development.keys())
    return sigstore_routes(instance, tokens, development)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
