"""The registry's own command line: made, served with TLS, asked for its state; and what is refused."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mcps_trust.errors import McpsError
from mcps_trust.http import Http
from mcps_trust.http_settings import HttpSettings
from worlds import free_port


def registry(*words: str, code: int = 0) -> dict[str, Any]:
    """Run mcps-registry with --json; gives what it printed, or its error."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", "from mcps_registry.cli import main; main()", *words, "--json"],
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert b"Traceback" not in done.stderr
    assert done.returncode == code, done.stderr.decode()
    text = done.stdout if code == 0 else done.stderr.splitlines()[-1]
    document: dict[str, Any] = json.loads(text)
    return document


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry that a command made."""
    place = tmp_path_factory.mktemp("served")
    (place / "passphrase").write_text("for tests\n")
    registry("init", str(place / "registry"), "--url", "https://localhost", "--approver", "alice",
             "--bins", "2", "--passphrase-file", str(place / "passphrase"))  # fmt: skip
    return place


@pytest.fixture(scope="module")
def tls(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ))  # fmt: skip
    return paths


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-I", "-c", "from mcps_registry.cli import main; main()", "serve",
            str(folder / "registry"), "--passphrase-file", str(folder / "passphrase"),
            *words]  # fmt: skip


@contextmanager
def serving(folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Serve, and end by Ctrl-C."""
    with subprocess.Popen(command(folder, *words), stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if b"registry" in line and b" at http" in line:
                break
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            words_left = process.stderr.read()
            process.wait(20)
    assert b"Traceback" not in words_left


def health(url: str, ca: Path) -> int:
    with Http(HttpSettings(ca_file=str(ca), timeout=10)) as http:
        for _ in range(100):
            try:
                return http.get(f"{url}/api/v1/health", limit=4096).status
            except McpsError as error:
                if "refused" not in str(error.found):
                    raise
                time.sleep(0.05)
        raise AssertionError("nobody listens")


def test_a_registry_is_served_with_tls(folder: Path, tls: tuple[Path, Path]) -> None:
    port = free_port()
    options = ("--port", str(port), "--cert", str(tls[0]), "--key", str(tls[1]))
    with serving(folder, *options):
        url = f"https://127.0.0.1:{port}"
        assert health(url, tls[0]) == 200
        with pytest.raises(McpsError) as caught:
            health(url, Path("/etc/ssl/certs/ca-certificates.crt"))
        assert caught.value.code == "server-unreachable"
        assert "certificate" in str(caught.value.found).lower()


def refused(folder: Path, *words: str) -> str:
    """Serve, which must be refused; gives the code."""
    done = subprocess.run(command(folder, *words), capture_output=True, timeout=60, check=False)
    assert done.returncode != 0
    assert b"Traceback" not in done.stderr
    return done.stderr.decode().partition("error [")[2].partition("]")[0]


def test_what_cannot_be_served_is_said_before_anything_is_done(
    folder: Path, tls: tuple[Path, Path], tmp_path: Path
) -> None:
    cert, key = map(str, tls)
    port = ("--port", str(free_port()))
    assert refused(folder, *port, "--cert", cert) == "bad-certificate-file"
    assert refused(folder, *port, "--cert", key, "--key", key) == "bad-certificate-file"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = ("--port", str(taken.getsockname()[1]))
        assert refused(folder, *where) == "address-in-use"
    assert refused(folder, *port, "--passphrase-file", str(tmp_path / "none")) == "configuration"
    wrong = tmp_path / "wrong"
    wrong.write_text("another\n")
    assert refused(folder, *port, "--passphrase-file", str(wrong)) == "wrong-passphrase"
    with serving(folder, *port):
        assert health(f"http://127.0.0.1:{port[1]}", tls[0]) == 200


def test_a_registry_is_made_once(folder: Path) -> None:
    before = (folder / "registry/public/metadata/timestamp.json").read_bytes()
    error = registry("init", str(folder / "registry"), "--url", "https://localhost", "--approver",
                     "bob", "--passphrase-file", str(folder / "passphrase"), code=78)  # fmt: skip
    assert error["error"]["code"] == "already-a-registry"
    assert (folder / "registry/public/metadata/timestamp.json").read_bytes() == before


def test_status_and_fsck_tell_what_is_there(folder: Path) -> None:
    place = str(folder / "registry")
    status = registry("status", place)
    assert status["offlineKeysHere"], "the ceremony's keys were not carried away"
    assert registry("fsck", place)["problems"] == []
    victim = next((folder / "registry/public/metadata").glob("1.targets.json"))
    genuine = victim.read_bytes()
    victim.write_bytes(genuine[:-2])
    assert registry("fsck", place, code=65)
    victim.write_bytes(genuine)
    assert registry("fsck", place)["problems"] == []


def test_a_folder_that_is_no_registry_is_refused(tmp_path: Path) -> None:
    for words in (["status"], ["fsck"], ["refresh", "--passphrase-file", "/dev/null"]):
        name, *rest = words
        error = registry(name, str(tmp_path), *rest, code=78)
        assert error["error"]["code"] in ("not-a-registry", "configuration")


def test_a_registry_for_development_gives_tokens_and_stays_on_this_machine(
    tmp_path: Path,
) -> None:
    port = free_port()
    (tmp_path / "passphrase").write_text("for tests\n")
    words = [
        "--approver",
        "alice",
        "--bins",
        "2",
        "--passphrase-file",
        str(tmp_path / "passphrase"),
    ]
    place = str(tmp_path / "registry")
    for wrong in (["--approval-threshold", "2"], ["--root-threshold", "4"], ["--issuer", "x=email"],
                  ["--issuer", "https://id.example.org=name"]):  # fmt: skip
        error = registry("init", place, "--url", "https://localhost", *words, *wrong, code=64)
        assert error["error"]["code"] == "usage"
    made = registry("init", place, "--url", f"http://127.0.0.1:{port}", *words, "--development",
                    "--issuer", "https://id.example.org=uri")  # fmt: skip
    assert made["development"] and made["fingerprint"].startswith("1:")
    away = refused(tmp_path, "--port", str(free_port()), "--host", "0.0.0.0")  # noqa: S104 - refused
    assert away == "development-not-loopback"
    with serving(tmp_path, "--port", str(port), "--with-sigstore"), Http(HttpSettings()) as http:
        url = f"http://127.0.0.1:{port}"
        assert health(url, Path("/etc/ssl/certs/ca-certificates.crt")) == 200
        about = http.get(f"{url}/sigstore/oidc/.well-known/openid-configuration", limit=10_000)
        assert json.loads(about.body)["mcps_development"] is True
        answer = http.request(
            "POST", f"{url}/sigstore/tsa/api/v1/timestamp", limit=10_000, body=b"x"
        )
        assert answer.status == 400


def test_what_is_served_and_damaged_is_named(folder: Path) -> None:
    place = str(folder / "registry")
    blob = folder / "registry/public/blobs/sha256/ab" / ("ab" + "0" * 62)
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"other")
    missing = next((folder / "registry/public/targets/trust").glob("*.approvers.json"))
    genuine = missing.read_bytes()
    missing.unlink()
    error = registry("fsck", place, code=65)["error"]
    assert error["code"] == "registry-damaged"
    assert "missing: " in error["found"] and "changed: " in error["found"]
    blob.unlink()
    registry("refresh", place, "--passphrase-file", str(folder / "passphrase"))
    assert missing.read_bytes() == genuine, "written again from the database"
    assert registry("fsck", place)["problems"] == []
    database = folder / "registry/registry.db"
    whole = database.read_bytes()
    for data, name in ((b"not a database" * 100, "database"),):
        database.write_bytes(data)
        assert registry("fsck", place, code=73)["error"]["code"] == name
    database.write_bytes(whole)
    configuration = folder / "registry/config.toml"
    text = configuration.read_text()
    for spoiled in ("= =", text + "more = 1\n"):
        configuration.write_text(spoiled)
        assert registry("status", place, code=78 if spoiled == "= =" else 65)["error"]["code"] in (
            "configuration", "field",
        )  # fmt: skip
    configuration.write_text(text)
    assert registry("status", place)["queue"] == {}
