"""Lock a Python package: uv resolves, and what it found is narrowed and written anew.

Wheels only, for CPython 3.11 to 3.14 on Linux, x86_64 and aarch64; every dependency that any
of these needs. The same input and date give the same bytes.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from mcps_signer.closure.source import Locked, Source
from mcps_signer.closure.tools import ResolverFailedError, run_uv
from mcps_trust.errors import UntrustedDataError
from mcps_trust.model.pylock import PythonClosure, marker_environment
from mcps_trust.uv_settings import uv_configuration

__all__ = ["MACHINES", "PLATFORMS", "PYTHONS", "lock_pypi"]

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
MACHINES = ("x86_64", "aarch64")
PLATFORMS = tuple(f"linux/{machine}" for machine in sorted(MACHINES))

_NEWEST_GLIBC_MINOR = 45
_EPOCH = "315532800"  # 1980-01-01: the earliest time that a zip file can hold


class NoWheelError(UntrustedDataError):
    """A dependency has no wheel for a platform that is locked."""

    code = "no-wheel"
    advice = "a release runs wheels only; ask the dependency's project for one"


class StaleBuildError(UntrustedDataError):
    """A build back end would pack files that are no part of the project any more."""

    code = "stale-build"


def lock_pypi(source: Source, *, before: str, index: str = "") -> Locked:
    """Resolve and lock.

    Args:
        source: a package of an index, or a project folder whose wheel is built first.
        before: RFC 3339 time; what was uploaded later is not considered.
        index: base URL of the index to use instead of the configured one.

    Raises:
        ResolverFailedError: uv could not resolve or build.
        NoWheelError: something is only there as source.
    """
    with tempfile.TemporaryDirectory(prefix="mcps-lock-") as folder:
        work = Path(folder)
        artifacts: tuple[Path, ...] = ()
        if source.folder is not None:
            wheel = _build(source.folder, work)
            name, version, _, _ = parse_wheel_filename(wheel.name)
            source = Source(kind="pypi", name=name, version=str(version), folder=source.folder)
            artifacts = (wheel,)
        document = _resolve(source, work, before, index, artifacts)
        packages = [_package(item, artifacts) for item in document["packages"]]
        lock = {
            "lock-version": "1.0",
            "created-by": "mcps-sign",
            "requires-python": f">={PYTHONS[0]}",
            "packages": [item for item in packages if item is not None],
        }
        data = tomli_w.dumps(lock).encode("utf-8")
        PythonClosure.parse(data)
        kept = {path.name: path.read_bytes() for path in artifacts}
    return Locked(source=source, lock=data, artifacts=kept)


def _build(project: Path, work: Path) -> Path:
    """The project's wheel, built where the project lies, which is left as it was.

    Raises:
        StaleBuildError: an earlier build left files there that would be packed again.
        ResolverFailedError: it does not build one wheel.
    """
    out, project = work / "dist", project.resolve()
    if stale := sorted(project.glob("build/lib*")):
        raise StaleBuildError(
            "an earlier build left files that would be packed again",
            found=str(stale[0]),
            remedy=f"remove {project / 'build'}",
        )
    before = _left_behind(project)
    try:
        run_uv(
            ["build", "--wheel", "--quiet", "--system-certs", "--out-dir", str(out), str(project)],
            cwd=work,
            extra={"SOURCE_DATE_EPOCH": _EPOCH},
        )
    finally:
        for place in _left_behind(project) - before:
            shutil.rmtree(place, ignore_errors=True)
    wheels = list(out.glob("*.whl"))
    if len(wheels) != 1:
        raise ResolverFailedError("the project did not build one wheel", found=str(wheels))
    return wheels[0]


def _left_behind(project: Path) -> set[Path]:
    """Folders that build back ends make beside a project's sources."""
    places = (project.glob(pattern) for pattern in ("build", "*.egg-info", "src/*.egg-info"))
    return {place for found in places for place in found}


def _resolve(
    source: Source, work: Path, before: str, index: str, artifacts: Sequence[Path]
) -> dict[str, Any]:
    requirements, output = work / "requirements.in", work / "pylock.toml"
    requirements.write_text(f"{source.name}=={source.version}\n", "utf-8")
    command = [
        "pip", "compile", "--quiet", "--no-header", "--universal", "--system-certs",
        *uv_configuration(),        "--format", "pylock.toml", "--only-binary", ":all:", "--python-version", PYTHONS[0],
        "--exclude-newer", before, *(["--default-index", index] if index else []),
        *(part for path in artifacts for part in ("--find-links", str(path.parent))),
        str(requirements), "--output-file", str(output),
    ]  # fmt: skip
    run_uv(command, cwd=work)
    return tomllib.loads(output.read_text("utf-8"))


def _package(item: Mapping[str, Any], artifacts: Sequence[Path]) -> dict[str, Any] | None:
    """One package of the lock, or None where no locked platform wants it."""
    marker = Marker(item["marker"]) if "marker" in item else None
    wanted = [
        (python, machine)
        for python in PYTHONS
        for machine in MACHINES
        if marker is None
        or marker.evaluate(dict(marker_environment(python, f"{python}.0", machine)))  # type: ignore[arg-type]  # a TypedDict of texts
    ]
    if not wanted:
        return None
    own = {path.name: _sha256(path) for path in artifacts}
    wheels: dict[str, str] = {}
    for wheel in item.get("wheels", ()):
        name = str(wheel.get("name") or (wheel.get("url") or wheel["path"]).rpartition("/")[2])
        digest = wheel["hashes"]["sha256"]
        if own.get(name, digest) == digest:
            wheels[name] = digest
    chosen = {name for target in wanted for name in _fitting(wheels, *target)}
    for python, machine in wanted:
        if not any(True for _ in _fitting(wheels, python, machine)):
            raise NoWheelError(
                f"{item['name']} {item.get('version')} has no wheel for "
                f"CPython {python} on {machine}"
            )
    return {
        "name": item["name"],
        "version": item["version"],
        **({"marker": item["marker"]} if "marker" in item else {}),
        "wheels": [{"path": name, "hashes": {"sha256": wheels[name]}} for name in sorted(chosen)],
    }


def _fitting(names: Iterable[str], python: str, machine: str) -> Iterable[str]:
    accepted = _tags(python, machine)
    for name in names:
        if accepted & parse_wheel_filename(name)[3]:
            yield name


_TAGS: dict[tuple[str, str], frozenset[Tag]] = {}


def _tags(python: str, machine: str) -> frozenset[Tag]:
    if (python, machine) not in _TAGS:
        major, minor = map(int, python.split("."))
        platforms = [f"manylinux_2_{n}_{machine}" for n in range(_NEWEST_GLIBC_MINOR, 4, -1)]
        platforms += [f"manylinux{n}_{machine}" for n in ("2014", "2010", "1")]
        platforms.append(f"linux_{machine}")
        interpreter = f"cp{major}{minor}"
        _TAGS[python, machine] = frozenset(cpython_tags((major, minor), platforms=platforms)) | (
            frozenset(compatible_tags((major, minor), interpreter, platforms))
        )
    return _TAGS[python, machine]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
