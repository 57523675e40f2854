"""``mcps-registry serve`` and ``refresh``."""

from __future__ import annotations

import ipaddress
import socket
import ssl
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
from mcps_trust.errors import ConfigurationError, InternalError, UnavailableError
from mcps_trust.http_settings import HttpSettings

__all__ = ["refresh", "serve"]

_SIGSTORE_KEYS = ("ca", "ct", "log", "tsa-ca", "tsa")


class NotLoopbackError(ConfigurationError):
    """A development registry would be reachable from outside."""

    code = "development-not-loopback"
    advice = "a registry made with --development is served on 127.0.0.1 or ::1 only"


class AddressInUseError(UnavailableError):
    """The address is not there, or somebody listens on it."""

    code = "address-in-use"
    advice = "choose another --port, or end what listens there"


class BadCertificateFileError(ConfigurationError):
    """Certificate and key for TLS are not both there, or not a pair."""

    code = "bad-certificate-file"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8443,
    show_default=True,
    help="Port to listen on.",
)
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
    listening = _listen(host, port)
    _check_tls(cert, key)
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
    sigstore = "with its own Sigstore" if with_sigstore else "without Sigstore (--with-sigstore)"
    here = f"{scheme}://{host}:{port}"
    click.echo(f"{banner} {desk.configuration.name!r} at {here}, {sigstore}", err=True)
    if desk.configuration.url != here:
        click.echo(
            f"  clients ask {desk.configuration.url}: what answers there must lead here", err=True
        )
    application = make_application(desk, routes, resign_every=resign_every)
    settings = uvicorn.Config(
        application, ssl_certfile=cert, ssl_keyfile=key, log_level="warning",
        timeout_graceful_shutdown=3, server_header=False,
    )  # fmt: skip
    server = uvicorn.Server(settings)
    server.run(sockets=[listening])
    if not server.started:
        raise InternalError("the HTTP server did not start")


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


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket, before anything else is done.

    Raises:
        AddressInUseError: it cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise AddressInUseError(
            f"cannot listen on {host}:{port}", found=error.strerror or str(error)
        ) from error
    return listening


def _check_tls(cert: str | None, key: str | None) -> None:
    """Let pass no TLS at all, or a certificate with its key.

    Raises:
        BadCertificateFileError: one lacks the other, or they do not fit.
    """
    if cert is None and key is None:
        return
    if cert is None or key is None:
        raise BadCertificateFileError(
            "TLS needs a certificate and its key", expected="--cert, --key"
        )
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key)
    except (OSError, ValueError) as error:
        raise BadCertificateFileError(
            "TLS cannot be used with these files", found=str(error)
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
