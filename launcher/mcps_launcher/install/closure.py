"""Install one package's closure for one runtime: fetch, check, unpack, compile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.tags import Tag, compatible_tags, cpython_tags, platform_tags

from mcps_launcher.install.bytecode import compile_closure
from mcps_launcher.install.fetch import FetchSettings, fetch_tarballs, fetch_wheels
from mcps_launcher.install.inside import machine
from mcps_launcher.install.installed import Installed
from mcps_launcher.install.runtime import Runtime, node_platform
from mcps_launcher.install.store import Store
from mcps_launcher.install.tarball import read_tarball
from mcps_launcher.install.tree import PackageFile, only_once
from mcps_launcher.install.wheel import read_wheel
from mcps_launcher.sandbox.process import BackEnd
from mcps_trust.model import strict_json
from mcps_trust.model.digest import Sha256, sha256
from mcps_trust.model.package_lock import LockedTarball, NodeClosure
from mcps_trust.model.pylock import LockedWheel, PythonClosure, marker_environment

__all__ = ["Selection", "install_selection", "select_files", "unpack"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The files of a closure that one runtime installs; `key` names the result."""

    key: Sha256
    files: tuple[LockedWheel, ...] | tuple[LockedTarball, ...]


def select_files(
    closure: PythonClosure | NodeClosure, digest: Sha256, runtime: Runtime
) -> Selection:
    """What `runtime` installs of the lock with that digest.

    Raises:
        NoMatchingFileError, BadLockError: the lock has nothing for this platform.
    """
    files: tuple[LockedWheel, ...] | tuple[LockedTarball, ...]
    if isinstance(closure, PythonClosure):
        short = ".".join(runtime.version.split(".")[:2])
        environment = marker_environment(short, runtime.version, machine())
        files = closure.select(environment, wheel_tags(short))
        names = [wheel.filename for wheel in files]
    else:
        files = closure.select(**node_platform())
        names = [tarball.place for tarball in files]
    key = sha256(strict_json.dumps([digest, runtime.name, runtime.version, names]))
    return Selection(key=key, files=files)


def wheel_tags(python_version: str) -> list[Tag]:
    """Tags that a CPython of this host's `/usr` accepts, best first."""
    major, minor = map(int, python_version.split("."))
    platforms = list(platform_tags())
    interpreter = f"cp{major}{minor}"
    return [
        *cpython_tags((major, minor), platforms=platforms),
        *compatible_tags((major, minor), interpreter, platforms),
    ]


def install_selection(
    selection: Selection,
    runtime: Runtime,
    *,
    store: Store,
    fetch: FetchSettings,
    back_end: BackEnd,
    session: str,
    report: Callable[[str], None],
) -> Installed:
    """Install what was selected, unless it is installed already.

    Args:
        report: told what is going on, in words for people.

    Raises:
        PackageUnavailableError: a file cannot be had.
        BadPackageError: a file is not what it must be.
        NotWritableError: the store cannot be written.
    """
    found = store.find(selection.key)
    if found is not None:
        return found
    with store.installing(selection.key):
        found = store.find(selection.key)
        if found is not None:
            return found
        report(f"fetching files: {len(selection.files)}")
        unpacked = unpack(selection, fetch)
        report("checking and unpacking")
        installed = store.add(selection.key, unpacked)
        if runtime.name == "python":
            report("compiling")
            compiled = compile_closure(installed, runtime, back_end, session)
            store.add_bytecode(installed, compiled)
        return installed


def unpack(selection: Selection, fetch: FetchSettings) -> Iterator[PackageFile]:
    """Fetch what was selected; gives its files one by one, each checked.

    Raises:
        PackageUnavailableError: a file cannot be had.
        BadPackageError: while iterating: a file is not what it must be.
    """
    wheels = [item for item in selection.files if isinstance(item, LockedWheel)]
    tarballs = [item for item in selection.files if isinstance(item, LockedTarball)]
    places = fetch_wheels(wheels, fetch) if wheels else fetch_tarballs(tarballs, fetch)
    return _read(wheels, tarballs, places)


def _read(
    wheels: Sequence[LockedWheel], tarballs: Sequence[LockedTarball], places: Mapping[str, Path]
) -> Iterator[PackageFile]:
    seen: set[str] = set()
    for wheel in wheels:
        yield from only_once(read_wheel(places[wheel.filename], wheel), seen, wheel.filename)
    for tarball in tarballs:
        yield from only_once(read_tarball(places[tarball.place], tarball), seen, tarball.name)
