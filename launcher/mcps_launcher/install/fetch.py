"""Get the files of a lock: from the cache, the registry's blobs, then a package index.

Where bytes come from is this host's configuration; the hash in the lock decides whether
they are the ones. pip fetches wheels, with the settings of its own configuration files and
no environment; npm tarballs come over HTTP from the registry that npm is configured for.
"""

from __future__ import annotations

import base64
import hashlib
import os
import pwd
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from packaging.utils import parse_wheel_filename

from mcps_trust.errors import McpsError, UnavailableError
from mcps_trust.http import Http
from mcps_trust.http_settings import HttpSettings
from mcps_trust.locked_file import make_private_directory, write_atomically
from mcps_trust.model.digest import Sha256
from mcps_trust.model.names import blob_path
from mcps_trust.model.package_lock import LockedTarball
from mcps_trust.model.pylock import LockedWheel
from mcps_trust.npm_settings import configured_registry

__all__ = [
    "FetchSettings",
    "PackageUnavailableError",
    "fetch_tarballs",
    "fetch_wheels",
    "pip_target",
]

T = TypeVar("T")

MAX_PACKAGE = 512 * 1024 * 1024  # bytes
_PARALLEL = 8
_PIP_TIMEOUT = 300  # seconds
_CPYTHON = re.compile(r"cp([0-9])([0-9]+)")


class PackageUnavailableError(UnavailableError):
    """A locked file cannot be had from anywhere that this host is configured for."""

    code = "package-unavailable"
    advice = "check the network and pip's or npm's settings, or have the registry carry the file"


class FetchSettings:
    """Where to look, and where to keep what was found."""

    def __init__(
        self, cache: Path, *, registry: str | None, npm: str = "", http: HttpSettings | None = None
    ) -> None:
        """`registry` is the base URL whose blobs are asked first; `npm` overrides npm's own."""
        self.cache = make_private_directory(cache)
        self.registry = registry.rstrip("/") if registry else None
        self.npm = npm
        self.http = http or HttpSettings()


def fetch_wheels(wheels: Sequence[LockedWheel], settings: FetchSettings) -> dict[str, Path]:
    """Each wheel by file name, its SHA-256 checked.

    Raises:
        PackageUnavailableError: one cannot be had.
    """
    found = {wheel.filename: settings.cache / wheel.sha256 for wheel in wheels}
    lacking = [wheel for wheel in wheels if not _is(found[wheel.filename], wheel.sha256)]
    if settings.registry is not None:
        _in_parallel(
            lacking, settings, lambda wheel, http: _from_registry(wheel.sha256, settings, http)
        )
        lacking = [wheel for wheel in lacking if not _is(found[wheel.filename], wheel.sha256)]
    if lacking:
        _from_pip(lacking, settings)
    return found


def fetch_tarballs(tarballs: Iterable[LockedTarball], settings: FetchSettings) -> dict[str, Path]:
    """Each tarball by its place, its SHA-512 checked.

    Raises:
        PackageUnavailableError: one cannot be had.
    """
    wanted = {tarball.sha512.hex(): tarball for tarball in tarballs}
    lacking = [t for digest, t in wanted.items() if not _is_512(settings.cache / digest, t)]
    if lacking:
        base = (settings.npm or configured_registry()).rstrip("/")
        _in_parallel(
            lacking, settings, lambda tarball, http: _from_npm(tarball, base, settings, http)
        )
    return {tarball.place: settings.cache / tarball.sha512.hex() for tarball in tarballs}


def _is(path: Path, digest: Sha256) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        return False


def _is_512(path: Path, tarball: LockedTarball) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha512").digest() == tarball.sha512
    except OSError:
        return False


def _in_parallel(
    items: Sequence[T], settings: FetchSettings, fetch: Callable[[T, Http], None]
) -> None:
    """Fetch all of them over a few connections, each used many times."""

    def some(first: int) -> None:
        with Http(settings.http) as http:
            for item in items[first::_PARALLEL]:
                fetch(item, http)

    with ThreadPoolExecutor(_PARALLEL) as pool:
        for _ in pool.map(some, range(min(_PARALLEL, len(items)))):
            pass


def _from_registry(digest: Sha256, settings: FetchSettings, http: Http) -> None:
    """Take a file from the registry's blobs, if it is there and is what it must be."""
    try:
        answer = http.get(f"{settings.registry}/{blob_path(digest)}", limit=MAX_PACKAGE)
    except UnavailableError:
        return
    if answer.status == 200 and hashlib.sha256(answer.body).hexdigest() == digest:
        write_atomically(settings.cache / digest, answer.body, durable=False)


def _from_pip(wheels: Sequence[LockedWheel], settings: FetchSettings) -> None:
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=settings.cache) as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text("".join(
            f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n" for wheel in wheels
        ), "utf-8")  # fmt: skip
        command = [
            sys.executable, "-I", "-m", "pip", "download", "--quiet", "--no-deps",
            "--disable-pip-version-check", "--no-input", "--only-binary", ":all:",
            "--require-hashes", "--no-cache-dir", "--dest", folder,
            *pip_target(wheels), "--requirement", str(requirements),
        ]  # fmt: skip
        home = pwd.getpwuid(os.geteuid()).pw_dir
        try:
            words = subprocess.run(
                command, env={"HOME": home, "PATH": "/usr/bin:/bin"}, cwd=folder,
                capture_output=True, text=True, timeout=_PIP_TIMEOUT, check=False,
            ).stderr.strip()  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            words = str(error)
        for wheel in wheels:
            place = Path(folder) / wheel.filename
            if not _is(place, wheel.sha256):
                raise PackageUnavailableError(
                    f"{wheel.filename} cannot be had", expected=f"sha256 {wheel.sha256}",
                    found=words[-300:] or "pip fetched something else",
                )  # fmt: skip
            os.replace(place, settings.cache / wheel.sha256)


def pip_target(wheels: Sequence[LockedWheel]) -> list[str]:
    """Options that have pip take these files, whatever interpreter it runs on itself.

    The closure's runtime may be another one. Of the runtime all that matters here is what
    the names of its wheels say; whether they fit it, the lock has decided.
    """
    options = ["--ignore-requires-python"]
    tags = [tag for wheel in wheels for tag in parse_wheel_filename(wheel.filename)[3]]
    versions = [match for tag in tags if (match := _CPYTHON.fullmatch(tag.interpreter))]
    if not versions:
        return options
    # The stable ABI of a version serves every later one, so the latest takes them all.
    major, minor = max((int(match[1]), int(match[2])) for match in versions)
    options += ["--implementation", "cp", "--python-version", f"{major}.{minor}"]
    for abi in sorted({tag.abi for tag in tags}):
        options += ["--abi", abi]
    for platform in sorted({tag.platform for tag in tags} - {"any"}):
        options += ["--platform", platform]
    return options


def _from_npm(tarball: LockedTarball, base: str, settings: FetchSettings, http: Http) -> None:
    short = tarball.name.rpartition("/")[2]
    path = f"{quote(tarball.name, safe='@/')}/-/{short}-{tarball.version}.tgz"
    try:
        answer = http.get(f"{base}/{path}", limit=MAX_PACKAGE)
    except McpsError as error:
        raise PackageUnavailableError(
            f"{tarball.name} cannot be had", found=error.found or error.what
        ) from error
    if answer.status != 200 or hashlib.sha512(answer.body).digest() != tarball.sha512:
        raise PackageUnavailableError(
            f"{tarball.name} {tarball.version} cannot be had",
            expected=tarball.integrity,
            found=_found(answer.body, answer.status),
        )
    write_atomically(settings.cache / tarball.sha512.hex(), answer.body, durable=False)


def _found(body: bytes, status: int) -> str:
    if status != 200:
        return f"status {status}"
    return "sha512-" + base64.b64encode(hashlib.sha512(body).digest()).decode()
