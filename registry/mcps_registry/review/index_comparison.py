"""Compare every file of a lock with a package index.

A lock's names are only its publisher's claims: nothing stops a lock from giving another
wheel's hash under a well-known name. So each file's name, version and hash is looked up in
the index that the approver's own machine is configured for, by uv's and npm's own files. uv
asks a PyPI index; an npm registry is asked over HTTP. The environment does not steer either.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from mcps_trust.errors import McpsError, UnavailableError
from mcps_trust.http import Http
from mcps_trust.http_settings import HttpSettings
from mcps_trust.model import strict_json
from mcps_trust.model.entry import Artifacts
from mcps_trust.model.package_lock import LockedTarball, NodeClosure
from mcps_trust.model.pylock import PythonClosure
from mcps_trust.npm_settings import configured_registry
from mcps_trust.uv_settings import uv_configuration

__all__ = ["IndexUnavailableError", "compare_with_index"]

_UV_TIMEOUT = 300  # seconds
_PACKUMENT_LIMIT = 8 * 1024 * 1024  # bytes
_PARALLEL = 8


class IndexUnavailableError(UnavailableError):
    """The package index cannot be asked."""

    code = "index-unavailable"
    advice = "check the network, or name an index: --index-pypi URL, --index-npm URL"


def compare_with_index(
    closures: Sequence[PythonClosure | NodeClosure], *, pypi: str = "", npm: str = ""
) -> Artifacts:
    """Look every locked file up.

    Args:
        closures: the locks of one release.
        pypi, npm: base URLs; empty means what uv and npm are configured for here.

    Raises:
        IndexUnavailableError: an index does not answer.
    """
    matched, unmatched, names = 0, [], []
    for closure in closures:
        if isinstance(closure, PythonClosure):
            wheels = closure.files()
            count = len(wheels)
            known = _ask_pypi(sorted({(w.name, w.version) for w in wheels}), pypi)
            missing = [
                f"{w.purl} {w.filename}" for w in wheels if (w.filename, w.sha256) not in known
            ]
            names.append(pypi or "pypi, as configured for uv")
        else:
            tarballs = {(t.name, t.version, t.integrity): t for t in closure.files()}
            missing = _compare_npm(tarballs.values(), npm)
            count = len(tarballs)
            names.append(npm or "npm, as configured for npm")
        matched += count - len(missing)
        unmatched += missing
    return Artifacts(
        index="; ".join(sorted(set(names))), matched=matched, unmatched=tuple(sorted(unmatched))
    )


def _ask_pypi(wanted: Sequence[tuple[str, str]], index: str) -> set[tuple[str, str]]:
    """File names and hashes that the index has for these versions.

    uv refuses the whole question if one version is unknown: then each half is asked alone.
    """
    if not wanted:
        return set()
    answer = _run_uv(wanted, index)
    if answer is not None:
        return answer
    if len(wanted) == 1:
        return set()
    middle = len(wanted) // 2
    return _ask_pypi(wanted[:middle], index) | _ask_pypi(wanted[middle:], index)


def _run_uv(wanted: Sequence[tuple[str, str]], index: str) -> set[tuple[str, str]] | None:
    from uv import find_uv_bin

    with tempfile.TemporaryDirectory(prefix="mcps-review-") as folder:
        requirements = Path(folder) / "requirements.in"
        requirements.write_text("".join(f"{n}=={v}\n" for n, v in wanted), "utf-8")
        output = Path(folder) / "pylock.toml"
        command = [
            find_uv_bin(), "pip", "compile", "--quiet", "--no-header", "--no-deps", "--universal",
            "--system-certs", *uv_configuration(), "--format", "pylock.toml", "--only-binary", ":all:",
            *(["--default-index", index] if index else []),
            str(requirements), "--output-file", str(output),
        ]  # fmt: skip
        home = pwd.getpwuid(os.getuid()).pw_dir
        try:
            done = subprocess.run(
                command, env={"HOME": home, "PATH": "/usr/bin:/bin"}, capture_output=True,
                text=True, timeout=_UV_TIMEOUT, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise IndexUnavailableError(
                "the package index cannot be asked", found=str(error)[:300]
            ) from error
        if done.returncode != 0:
            if "fetch" in done.stderr or "connect" in done.stderr.lower():
                raise IndexUnavailableError(
                    "the package index cannot be asked", found=done.stderr.strip()[-300:]
                )
            return None
        lock = tomllib.loads(output.read_text("utf-8"))
    return {
        (_file_name(wheel), wheel["hashes"]["sha256"])
        for package in lock.get("packages", ())
        for wheel in package.get("wheels", ())
    }


def _file_name(wheel: dict[str, str]) -> str:
    return str(wheel.get("name") or (wheel.get("url") or wheel["path"]).rpartition("/")[2])


def _compare_npm(tarballs: Iterable[LockedTarball], registry: str) -> list[str]:
    base = (registry or configured_registry()).rstrip("/")

    wanted = list(tarballs)

    def compare_some(first: int) -> list[str]:
        with Http(HttpSettings()) as http:
            return [str(t.purl) for t in wanted[first::_PARALLEL] if _differs(t, base, http)]

    try:
        with ThreadPoolExecutor(_PARALLEL) as pool:
            found = pool.map(compare_some, range(_PARALLEL))
            return [purl for part in found for purl in part]
    except UnavailableError as error:
        raise IndexUnavailableError(
            "the npm registry cannot be asked", found=error.found
        ) from error


def _differs(tarball: LockedTarball, base: str, http: Http) -> bool:
    """Whether the registry does not know the tarball with this hash."""
    url = f"{base}/{quote(tarball.name, safe='@')}/{tarball.version}"
    answer = http.get(url, limit=_PACKUMENT_LIMIT)
    if answer.status == 404:
        return True
    try:
        document = strict_json.loads(answer.body, limit=_PACKUMENT_LIMIT)
        return bool(document["dist"]["integrity"] != tarball.integrity)
    except (McpsError, KeyError, TypeError) as error:
        raise IndexUnavailableError(
            "the npm registry answers something else", found=f"status {answer.status}"
        ) from error
